"""The trial as an objective of the user's sees it, in Optuna's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nbopt.errors import shorten
from nbopt.i18n import _
from nbopt.search.executors.jobs import Pruned
from nbopt.search.spaces.encoding import is_plain


class Proposer:
    """Hands out the values of a trial: those of the study's space, and others as the objective asks for them.

    What is not named here, as ``set_user_attr``, is that of Optuna's own trial.

    Parameters
    ----------
    number : int
    values : dict of str to object
        Those of the space.
    asked : optuna.trial.Trial
    note : callable
        ``note(number, step, value) -> bool``: whether it is to be pruned after what it reported.
    is_stored : bool
        Whether a file is to hold what it suggests.

    Attributes
    ----------
    number : int
    values : dict of str to object
    """

    def __init__(
        self,
        number: int,
        values: dict[str, Any],
        asked: Any,
        note: Callable[[int, int, float], bool],
        is_stored: bool,
    ) -> None:
        self.number, self.values, self._is_stored = number, values, is_stored
        self._asked, self._note, self._prunes = asked, note, False

    @property
    def params(self) -> dict[str, Any]:
        """All values so far."""
        own = {name: value for name, value in self._asked.params.items() if name not in self.values}
        return {**self.values, **own}

    def suggest_float(self, name: str, low: float, high: float, **how: Any) -> float:
        """Return a real number."""
        return float(self.values[name] if name in self.values else self._asked.suggest_float(name, low, high, **how))

    def suggest_int(self, name: str, low: int, high: int, **how: Any) -> int:
        """Return a whole number."""
        return int(self.values[name] if name in self.values else self._asked.suggest_int(name, low, high, **how))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of several: numbers, texts, True, False or None, where the study is stored."""
        if name in self.values:
            return self.values[name]
        if self._is_stored and (odd := [each for each in choices if not is_plain(each)]):
            way = _("suggest names, and look up what they stand for; or store=None")
            told = _("{name}: no file holds {value} as a choice", name=name, value=shorten(odd[0]))
            raise TypeError(_("{told}: {way}.", told=told, way=way))
        return self._asked.suggest_categorical(name, choices)

    def report(self, value: float, step: int) -> None:
        """Tell what was measured on the way."""
        self._prunes = self._note(self.number, step, float(value))

    def should_prune(self) -> bool:
        """Whether it is to end, after what it reported last: raise `prune` or ``optuna.TrialPruned`` then."""
        return self._prunes

    def prune(self) -> Pruned:
        """Return the exception that ends a trial: ``raise trial.prune()``."""
        return Pruned()

    def __getitem__(self, name: str) -> Any:
        return self.params[name]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._asked, name)


def objective(trial: Any) -> float:
    """Stand for the objective of a study that is asked for trials, and told what came of them."""
    told = _("this study has no objective to carry out its trials")
    raise RuntimeError(_("{told}: call study.ask(), and study.tell(trial, result).", told=told))


def as_tuple(found: Any) -> tuple[float, ...]:
    """Return what an objective returned as one number for each."""
    if isinstance(found, Mapping):
        found = list(found.values())
    return tuple(map(as_number, found)) if isinstance(found, (tuple, list)) else (as_number(found),)


def as_number(found: Any) -> float:
    """Return what an objective returned as a number; raise TypeError, in words, if it is none.

    Examples
    --------
    >>> as_number(None)
    Traceback (most recent call last):
    TypeError: the objective must return a number; it returned None.
    """
    try:
        return float(found)
    except (TypeError, ValueError):
        told = shorten(found)
        raise TypeError(_("the objective must return a number; it returned {value}.", value=told)) from None
