"""What a technique says of itself where there is no run, as for a script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbopt.hyperparams.declarations import give_values
from nbopt.i18n import _
from nbopt.techniques.base import Technique


def acts_with(part: Technique, values: Mapping[str, Any]) -> bool:
    """Return whether a technique without a run has an effect where hyperparameters have these values.

    Raises
    ------
    ValueError
        If it does not go by them alone.
    """
    return with_values(part, values).acts


def with_values(part: Technique, values: Mapping[str, Any]) -> Technique:
    """Give a technique without a run values of its hyperparameters; return it."""
    give_values(part, values)
    part.weights = part.context = _NotThere(type(part).__name__)  # type: ignore[assignment]
    return part


class _NotThere:
    """Stands for what a technique has only in a run, and says so when it is used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _refuse(self, *_given: Any) -> Any:
        rule = _("whether it acts has to follow from hyperparameters alone, and not from the weights or the context")
        raise ValueError(_("{name}: for a script, {rule}.", name=self._name, rule=rule))

    __getattr__ = __iter__ = __len__ = __bool__ = __getitem__ = _refuse
