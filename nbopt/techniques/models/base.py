"""What model families share."""

from __future__ import annotations

from typing import Any

from torch import nn

from nbopt.errors import InvalidHyperparam, unknown
from nbopt.hyperparams import Choice, Float, Int, Tunable
from nbopt.i18n import N_, _

GROUP = N_("Model")
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
}


def depth_of(default: int, text: str) -> Int:
    """Return the declaration of a depth."""
    return Int(default, low=1, high=8, ge=1, label=_("Depth"), group=GROUP, help=text)


def width_of(default: int) -> Int:
    """Return the declaration of a width."""
    text = _("Units of a hidden layer, or channels of the first one.")
    return Int(default, low=8, high=512, powers=True, ge=1, label=_("Width"), group=GROUP, help=text)


ACTIVATION = Choice(
    "relu",
    options=tuple(ACTIVATIONS),
    label=N_("Activation"),
    group=GROUP,
    help=N_("What follows each layer."),
)
DROPOUT = Float(
    0.0,
    low=0.0,
    high=0.9,
    ge=0.0,
    lt=1.0,
    label=N_("Dropout"),
    group=GROUP,
    help=N_("Probability of the dropout layers, which a run can change."),
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
    ['cells', 'cnn', 'gru', 'linear', 'lstm', 'mlp', 'resnet', 'transformer']
    >>> nbopt.models.MLP(inputs=4, outputs=3, widht=8)
    Traceback (most recent call last):
    ...
    nbopt.errors.UnknownName: unknown setting of MLP 'widht'. Did you mean 'width'? Allowed: ...
    """

    def __init__(self, inputs: int, outputs: int, **settings: Any) -> None:
        super().__init__()
        declared = self.declared()
        for name, value in settings.items():
            if name not in declared:
                raise unknown(_("setting of {kind}", kind=type(self).__name__), name, declared)
            self.__dict__[name] = declared[name].check(value)
        for name in settings:
            for other, allowed in declared[name].when.items():
                if getattr(self, other) not in allowed:
                    values, now = ", ".join(map(str, allowed)), getattr(self, other)
                    told = _("{own} matters only where {name} is one of {values}", own=name, name=other, values=values)
                    raise InvalidHyperparam(_("{told}; {name} is {now}.", told=told, name=other, now=now))
        self.build(inputs, outputs)

    def build(self, inputs: int, outputs: int) -> None:
        """Make the layers."""
        raise NotImplementedError
