"""Which trials are ended early, by the names of Optuna's pruners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbopt.errors import shorten, unknown
from nbopt.i18n import _
from nbopt.search.optional import need

_PRUNERS: dict[str, Callable[[Any, int], Any]] = {
    "none": lambda pruners, most: pruners.NopPruner(),
    "median": lambda pruners, most: pruners.MedianPruner(),
    "percentile": lambda pruners, most: pruners.PercentilePruner(25.0),
    "successive_halving": lambda pruners, most: pruners.SuccessiveHalvingPruner(
        min_resource=1, reduction_factor=_factor(most)
    ),
    "hyperband": lambda pruners, most: pruners.HyperbandPruner(
        min_resource=1, max_resource=max(most, 1), reduction_factor=_factor(most)
    ),
}

PRUNERS = tuple(_PRUNERS)


def _factor(most: int) -> int:
    return 3 if most >= 9 else 2  # so that there are rungs where there are few reports


def check_pruner(pruner: Any, several: bool) -> Any:
    """Return a pruner's name, or one of Optuna's that somebody made.

    Raises
    ------
    UnknownName, TypeError, ValueError
        For what is none, and for a study of several objectives, whose trials cannot be compared on the way.
    """
    pruner = "none" if pruner is None else pruner
    if not isinstance(pruner, str) and not isinstance(pruner, need("optuna").pruners.BasePruner):
        rule = _("pruner must be a name ({names}), None or a pruner of Optuna's", names=", ".join(PRUNERS))
        raise TypeError(_("{rule}; got {value}.", rule=rule, value=shorten(pruner)))
    if isinstance(pruner, str) and pruner not in _PRUNERS:
        raise unknown(_("pruner"), pruner, PRUNERS)
    if several and pruner != "none":
        raise ValueError(_("trials of several objectives cannot be compared on the way: give pruner=None."))
    return pruner


def is_asynchronous(pruner: Any) -> bool:
    """Whether a pruner compares a trial with whoever got as far, under way or not, and so ends most of them early."""
    kinds = need("optuna").pruners
    named = isinstance(pruner, str) and pruner in ("successive_halving", "hyperband")
    return named or isinstance(pruner, (kinds.SuccessiveHalvingPruner, kinds.HyperbandPruner))


def make_pruner(pruner: Any, reports: int) -> Any:
    """Return the pruner of a study whose trials report so many times at most."""
    return _PRUNERS[pruner](need("optuna").pruners, reports) if isinstance(pruner, str) else pruner
