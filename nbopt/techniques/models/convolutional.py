"""Convolutions, for images and series."""

from __future__ import annotations

from torch import Tensor, nn

from nbopt.hyperparams import Int
from nbopt.i18n import N_
from nbopt.techniques.models.base import ACTIVATION, ACTIVATIONS, DROPOUT, GROUP, Model, depth_of, width_of


class CNN(Model):
    """Convolutions with strides, then the mean over all places (LeCun et al. 1998; Springenberg et al. 2015).

    Examples
    --------
    >>> nbopt.models.CNN(inputs=3, outputs=10)(torch.randn(5, 3, 32, 32)).shape
    torch.Size([5, 10])
    >>> nbopt.models.CNN(inputs=1, outputs=2, dimensions=1)(torch.randn(5, 1, 100)).shape
    torch.Size([5, 2])
    """

    depth = depth_of(3, N_("Convolutions; each after the first halves the image and doubles the channels."))
    width = width_of(16)
    activation = ACTIVATION
    dropout = DROPOUT
    dimensions = Int(
        2, low=1, high=2, ge=1, label=N_("Dimensions"), group=GROUP, help=N_("1 for series, 2 for images.")
    )

    def build(self, inputs: int, outputs: int) -> None:
        """Make the layers."""
        convolution, norm = (nn.Conv1d, nn.BatchNorm1d) if self.dimensions == 1 else (nn.Conv2d, nn.BatchNorm2d)
        layers: list[nn.Module] = []
        channels = self.width
        for layer in range(self.depth):
            layers.append(convolution(inputs, channels, 3, stride=1 if layer == 0 else 2, padding=1, bias=False))
            layers += [norm(channels), ACTIVATIONS[self.activation]()]
            inputs, channels = channels, 2 * channels
        self.layers = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(self.dropout), nn.Linear(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Turn (n, inputs, height, width), or (n, inputs, length), into (n, outputs)."""
        out: Tensor = self.head(self.layers(x).flatten(2).mean(2))
        return out


class Residual(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016, figure 2).

    Examples
    --------
    >>> nbopt.models.Residual(16, 32, 2, "relu")(torch.randn(5, 16, 8, 8)).shape
    torch.Size([5, 32, 4, 4])
    """

    def __init__(self, inputs: int, outputs: int, stride: int, activation: str) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            ACTIVATIONS[activation](),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        alike = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if alike else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """Turn (n, inputs, height, width) into (n, outputs, height / stride, width / stride)."""
        out: Tensor = self.activation(self.path(x) + self.shortcut(x))
        return out


class ResNet(Model):
    """A residual network for small images (He et al. 2016, section 4.2).

    Examples
    --------
    >>> nbopt.models.ResNet(inputs=3, outputs=10)(torch.randn(5, 3, 32, 32)).shape
    torch.Size([5, 10])
    """

    depth = depth_of(3, N_("Stages of two blocks; each after the first halves the image and doubles the channels."))
    width = width_of(16)
    activation = ACTIVATION
    dropout = DROPOUT

    def build(self, inputs: int, outputs: int) -> None:
        """Make the layers."""
        channels = self.width
        blocks: list[nn.Module] = [Residual(inputs, channels, 1, self.activation)]
        for stage in range(self.depth):
            wider = channels if stage == 0 else 2 * channels
            blocks.append(Residual(channels, wider, 1 if stage == 0 else 2, self.activation))
            blocks.append(Residual(wider, wider, 1, self.activation))
            channels = wider
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.Dropout(self.dropout), nn.Linear(channels, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Turn (n, inputs, height, width) into (n, outputs)."""
        out: Tensor = self.head(self.blocks(x).mean((2, 3)))
        return out
