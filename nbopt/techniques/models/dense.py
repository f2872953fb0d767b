"""Dense layers on flattened samples."""

from __future__ import annotations

from torch import Tensor, nn

from nbopt.i18n import N_
from nbopt.techniques.models.base import ACTIVATION, ACTIVATIONS, DROPOUT, Model, depth_of, width_of


class Linear(Model):
    """One layer on the flattened sample: linear or (multinomial) logistic regression (Cox 1958).

    Examples
    --------
    >>> nbopt.models.Linear(inputs=64, outputs=10)(torch.randn(5, 8, 8)).shape
    torch.Size([5, 10])
    """

    def build(self, inputs: int, outputs: int) -> None:
        """Make the layer."""
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Turn (n, ...) with ``inputs`` numbers a sample into (n, outputs)."""
        out: Tensor = self.layers(x)
        return out


class MLP(Linear):
    """Multilayer perceptron on the flattened sample (Rumelhart et al. 1986).

    Examples
    --------
    >>> nbopt.models.MLP(inputs=64, outputs=10, depth=3, width=128, activation="gelu")(torch.randn(5, 64)).shape
    torch.Size([5, 10])
    """

    depth = depth_of(2, N_("Hidden layers."))
    width = width_of(64)
    activation = ACTIVATION
    dropout = DROPOUT

    def build(self, inputs: int, outputs: int) -> None:
        """Make the layers."""
        layers: list[nn.Module] = [nn.Flatten()]
        for _layer in range(self.depth):
            layers += [nn.Linear(inputs, self.width), ACTIVATIONS[self.activation](), nn.Dropout(self.dropout)]
            inputs = self.width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, outputs))
