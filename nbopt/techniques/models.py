"""Model families to start from: each a few lines of torch, with depth, width and activation declared.

Public as ``nbopt.models``::

    model = nbopt.models.MLP(inputs=64, outputs=10, depth=2, width=128, activation="gelu")

Read one, copy it, change it: there is nothing else to know. Weights are drawn from torch's generator.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nbopt.errors import unknown
from nbopt.hyperparams import Choice, Float, Int, Tunable
from nbopt.i18n import _
from nbopt.techniques.drawn_weights import initialize as initialize
from nbopt.techniques.drawn_weights import load_weights as load_weights

_GROUP = _("Model")
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
}


def _depth(default: int, text: str) -> Int:
    return Int(default, low=1, high=8, ge=1, label=_("Depth"), group=_GROUP, help=text)


def _width(default: int) -> Int:
    text = _("Units of a hidden layer, or channels of the first one.")
    return Int(default, low=8, high=512, powers=True, ge=1, label=_("Width"), group=_GROUP, help=text)


ACTIVATION = Choice(
    "relu",
    options=tuple(ACTIVATIONS),
    label=_("Activation"),
    group=_GROUP,
    help=_("What follows each layer."),
)
DROPOUT = Float(
    0.0,
    low=0.0,
    high=0.9,
    ge=0.0,
    lt=1.0,
    label=_("Dropout"),
    group=_GROUP,
    help=_("Probability of the dropout layers, which a run can change."),
)


class Model(nn.Module, Tunable):
    """Base of the families.

    Parameters
    ----------
    inputs : int
        Features of a sample or of a time step; channels of an image.
    outputs : int
        Scores, or numbers to predict.
    **settings
        What the family declares.

    Raises
    ------
    InvalidHyperparam
        For an unknown name or an illegal value.

    Examples
    --------
    >>> sorted(nbopt.models.FAMILIES)
    ['cnn', 'gru', 'linear', 'lstm', 'mlp', 'resnet', 'transformer']
    >>> nbopt.models.MLP(inputs=4, outputs=3, widht=8)
    Traceback (most recent call last):
    ...
    nbopt.errors.UnknownName: unknown setting of MLP 'widht'. Did you mean 'width'? Allowed: depth, width, activation, dropout.
    """

    def __init__(self, inputs: int, outputs: int, **settings: Any) -> None:
        super().__init__()
        declared = self.declared()
        for name, value in settings.items():
            if name not in declared:
                raise unknown(_("setting of {kind}", kind=type(self).__name__), name, declared)
            self.__dict__[name] = declared[name].check(value)
        self.build(inputs, outputs)

    def build(self, inputs: int, outputs: int) -> None:
        """Make the layers."""
        raise NotImplementedError


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

    depth = _depth(2, _("Hidden layers."))
    width = _width(64)
    activation = ACTIVATION
    dropout = DROPOUT

    def build(self, inputs: int, outputs: int) -> None:
        """Make the layers."""
        layers: list[nn.Module] = [nn.Flatten()]
        for _layer in range(self.depth):
            layers += [nn.Linear(inputs, self.width), ACTIVATIONS[self.activation](), nn.Dropout(self.dropout)]
            inputs = self.width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, outputs))


class CNN(Model):
    """Convolutions with strides, then the mean over all places (LeCun et al. 1998; Springenberg et al. 2015).

    Examples
    --------
    >>> nbopt.models.CNN(inputs=3, outputs=10)(torch.randn(5, 3, 32, 32)).shape
    torch.Size([5, 10])
    >>> nbopt.models.CNN(inputs=1, outputs=2, dimensions=1)(torch.randn(5, 1, 100)).shape
    torch.Size([5, 2])
    """

    depth = _depth(3, _("Convolutions; each after the first halves the image and doubles the channels."))
    width = _width(16)
    activation = ACTIVATION
    dropout = DROPOUT
    dimensions = Int(2, low=1, high=2, ge=1, label=_("Dimensions"), group=_GROUP, help=_("1 for series, 2 for images."))

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

    depth = _depth(3, _("Stages of two blocks; each after the first halves the image and doubles the channels."))
    width = _width(16)
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


class GRU(Model):
    """Gated recurrent units over a series (Cho et al. 2014), read in both directions, their mean over time.

    Examples
    --------
    >>> nbopt.models.GRU(inputs=2, outputs=4)(torch.randn(5, 100, 2)).shape
    torch.Size([5, 4])
    """

    depth = _depth(1, _("Layers of units."))
    width = _width(32)
    dropout = DROPOUT
    cell: type[nn.RNNBase] = nn.GRU

    def build(self, inputs: int, outputs: int) -> None:
        """Make the layers."""
        between = self.dropout if self.depth > 1 else 0.0
        cell: Any = self.cell
        self.units = cell(inputs, self.width, self.depth, batch_first=True, dropout=between, bidirectional=True)
        self.head = nn.Sequential(nn.Dropout(self.dropout), nn.Linear(2 * self.width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Turn (n, time, inputs), or (n, time) of single numbers, into (n, outputs)."""
        states, _last = self.units(x if x.ndim == 3 else x[:, :, None])
        out: Tensor = self.head(states.mean(1))
        return out


class LSTM(GRU):
    """Long short-term memory over a series (Hochreiter and Schmidhuber 1997), as `GRU`.

    Examples
    --------
    >>> nbopt.models.LSTM(inputs=2, outputs=4)(torch.randn(5, 100, 2)).shape
    torch.Size([5, 4])
    """

    cell = nn.LSTM


class Transformer(Model):
    """A small encoder over a series (Vaswani et al. 2017), norms first, with learnt positions, its mean over time.

    Examples
    --------
    >>> nbopt.models.Transformer(inputs=2, outputs=4)(torch.randn(5, 100, 2)).shape
    torch.Size([5, 4])
    """

    depth = _depth(2, _("Layers of attention."))
    width = _width(32)
    dropout = DROPOUT
    heads = Int(4, low=1, high=8, powers=True, ge=1, label=_("Heads"), group=_GROUP, help=_("They share the width."))
    length = Int(128, low=8, high=1024, powers=True, ge=1, label=_("Length"), group=_GROUP, help=_("Time at most."))

    def build(self, inputs: int, outputs: int) -> None:
        """Make the layers."""
        if self.width % self.heads:
            rule = _("width must be a multiple of heads")
            raise ValueError(_("{rule}; got {width} and {heads}.", rule=rule, width=self.width, heads=self.heads))
        self.embed = nn.Linear(inputs, self.width)
        self.place = nn.Parameter(0.02 * torch.randn(self.length, self.width))
        layer = nn.TransformerEncoderLayer(
            *(self.width, self.heads, 4 * self.width, self.dropout), "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, self.depth, enable_nested_tensor=False)
        self.head = nn.Linear(self.width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Turn (n, time, inputs), or (n, time) of single numbers, into (n, outputs)."""
        x = self.embed(x if x.ndim == 3 else x[:, :, None])
        out: Tensor = self.head(self.layers(x + self.place[: x.shape[1]]).mean(1))
        return out


FAMILIES: dict[str, type[Model]] = {
    "linear": Linear,
    "mlp": MLP,
    "cnn": CNN,
    "resnet": ResNet,
    "gru": GRU,
    "lstm": LSTM,
    "transformer": Transformer,
}
