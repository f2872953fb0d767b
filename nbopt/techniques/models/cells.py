"""A network of cells, each of an operation of its own: what a search for an architecture looks through."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from nbopt.errors import InvalidHyperparam
from nbopt.hyperparams import Choice, Int
from nbopt.i18n import N_, _
from nbopt.techniques.models.base import ACTIVATION, ACTIVATIONS, DROPOUT, GROUP, Model, width_of

MOST = 6  # cells


def _convolution(channels: int, activation: str, size: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, channels, size, padding=size // 2, bias=False),
        nn.BatchNorm2d(channels),
        ACTIVATIONS[activation](),
    )


def _separable(channels: int, activation: str) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        ACTIVATIONS[activation](),
    )


OPERATIONS: dict[str, Callable[[int, str], nn.Module]] = {
    "conv3x3": lambda channels, activation: _convolution(channels, activation, 3),
    "conv5x5": lambda channels, activation: _convolution(channels, activation, 5),
    "separable": _separable,
    "max_pool": lambda channels, activation: nn.MaxPool2d(3, 1, 1),
    "avg_pool": lambda channels, activation: nn.AvgPool2d(3, 1, 1),
    "skip": lambda channels, activation: nn.Identity(),
}
"""What a cell does to (n, channels, height, width), by name; none of them changes the shape."""


def _cell(number: int, label: str) -> Choice:
    """Return the declaration of a cell's operation."""
    return Choice(
        "conv3x3",
        options=tuple(OPERATIONS),
        label=label,
        group=GROUP,
        help=N_("What this cell does: a convolution, a depthwise separable one, pooling, or nothing."),
        when={} if number == 1 else {"depth": range(number, MOST + 1)},
    )


class Cells(Model):
    """Cells one after the other, then the mean over all places: a space of architectures (Zoph et al. 2018).

    A cell is a convolution, a depthwise separable one (Chollet 2017), a pooling that keeps the size, or nothing. Cells
    beyond the depth are not there, and a search leaves their operations out.

    Examples
    --------
    >>> model = nbopt.models.Cells(inputs=1, outputs=10, depth=2, cell_1="conv5x5", cell_2="separable", width=8)
    >>> model(torch.randn(5, 1, 28, 28)).shape
    torch.Size([5, 10])
    >>> nbopt.models.Cells(inputs=1, outputs=10, depth=2, cell_3="skip")
    Traceback (most recent call last):
    ...
    nbopt.errors.InvalidHyperparam: cell_3 matters only where depth is one of 3, 4, 5, 6; depth is 2.
    """

    depth = Int(3, low=1, high=MOST, ge=1, label=N_("Depth"), group=GROUP, help=N_("Number of cells."))
    cell_1 = _cell(1, N_("Cell 1"))
    cell_2 = _cell(2, N_("Cell 2"))
    cell_3 = _cell(3, N_("Cell 3"))
    cell_4 = _cell(4, N_("Cell 4"))
    cell_5 = _cell(5, N_("Cell 5"))
    cell_6 = _cell(6, N_("Cell 6"))
    reductions = Int(
        1,
        low=0,
        high=2,
        ge=0,
        label=N_("Reductions"),
        group=GROUP,
        help=N_("How often, evenly between the cells, the image is halved and the channels doubled."),
    )
    width = width_of(16)
    activation = ACTIVATION
    dropout = DROPOUT

    def build(self, inputs: int, outputs: int) -> None:
        """Make the layers."""
        if self.depth > MOST:
            raise InvalidHyperparam(_("depth must be at most {most}; got {depth}.", most=MOST, depth=self.depth))
        channels = self.width
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            ACTIVATIONS[self.activation](),
        ]
        before = [self.depth * (k + 1) // (self.reductions + 1) for k in range(self.reductions)]
        for cell in range(self.depth):
            for _reduction in range(before.count(cell)):
                layers += [nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(channels, 2 * channels, 1)]
                channels *= 2
            layers.append(OPERATIONS[getattr(self, f"cell_{cell + 1}")](channels, self.activation))
        self.layers = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(self.dropout), nn.Linear(channels, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Turn (n, inputs, height, width) into (n, outputs)."""
        out: Tensor = self.head(self.layers(x).mean((2, 3)))
        return out
