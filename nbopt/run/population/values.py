"""Which values the members of a population have, and which hyperparameters are one for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from nbopt.data.cursor import Cursor
from nbopt.errors import InvalidHyperparam, shorten
from nbopt.hyperparams import Hyperparams, Int
from nbopt.i18n import _
from nbopt.techniques.base import defines
from nbopt.techniques.catalogue import known_of
from nbopt.techniques.losses.choice import LOSS
from nbopt.techniques.optimizers.standard import OPTIMIZER
from nbopt.training.prepare import check_seed
from nbopt.training.step.pace import Pace

SEED = "seed"
_SHAPES = ("lay_out", "replace_step", "largest_part", "change_every_pass")


def find_shared(techniques: Sequence[Any] = ()) -> set[str]:
    """Return the hyperparameters that are one for all members: they decide what is computed, not with which numbers."""
    found = {OPTIMIZER.name, LOSS.name, *Cursor.declared(), *Pace.declared()}
    for item in known_of(techniques):
        kind = item if isinstance(item, type) else type(item)
        if any(defines(kind, hook) for hook in _SHAPES):
            found |= kind.declared().keys()
    return found


def has_items(value: Any) -> bool:
    """Whether a value is a list, a tuple or an array; text is none."""
    return bool(getattr(value, "ndim", 0)) or (isinstance(value, Sequence) and not isinstance(value, (str, bytes)))


def is_series(value: Any) -> bool:
    """Whether a value given for a hyperparameter is one for each member."""
    if isinstance(value, Mapping) or callable(value) or not has_items(value):
        return False
    return bool(value.ndim == 1) if hasattr(value, "ndim") else not any(map(has_items, value))


def check_for_all(optimizer: Any, **flags: Any) -> None:
    """Raise InvalidHyperparam for an optimizer for each member, and for flags that are neither True nor False."""
    if is_series(optimizer):
        raise refuse("optimizer", [*optimizer])
    for name, value in flags.items():
        if type(value).__name__ not in ("bool", "bool_"):
            raise InvalidHyperparam(_("{name} must be True or False; got {value!r}.", name=name, value=value))


def as_rows(
    given: Mapping[str, Any], shared: set[str], combine: bool | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what is the same for all members, and for each member what it has of its own.

    Parameters
    ----------
    given : mapping of str to object
        Values, and sequences of one for each member.
    shared : set of str
        What has to be the same for all.
    combine : bool, optional
        Whether there is a member for every combination of values; by default where sequences differ in length.

    Raises
    ------
    InvalidHyperparam
        For a sequence of what is one for all, an empty one, or lengths that differ.
    """
    for name, value in given.items():
        if hasattr(value, "__array__") and value.ndim > 1:
            told = _("{name}: give a sequence of one value for each member", name=name)
            raise InvalidHyperparam(_("{told}; got an array of shape {shape}.", told=told, shape=tuple(value.shape)))
    series = {name: _listed(value) for name, value in given.items() if is_series(value)}
    for name, values in series.items():
        if name in shared and any(value != values[0] for value in values):
            raise refuse(name, values)
        if not values:
            raise InvalidHyperparam(_("{name}: give at least one value, for one member.", name=name))
    lengths = {name: len(values) for name, values in series.items()}
    if combine is None:
        combine = len(set(lengths.values())) > 1
    if not combine and len(set(lengths.values())) > 1:
        told = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        way = _("give as many of each, or combine=True for every combination")
        raise InvalidHyperparam(
            _("one value for each member, but the lengths differ ({told}): {way}.", told=told, way=way)
        )
    choose: Any = product(*series.values()) if combine else zip(*series.values(), strict=True)
    rows = [dict(zip(series, row, strict=True)) for row in choose] if series else [{}]
    return {name: value for name, value in given.items() if name not in series}, rows


def refuse(name: str, values: Sequence[Any]) -> InvalidHyperparam:
    """Return the error for a hyperparameter that cannot differ between members."""
    shown = ", ".join(map(repr, values[:3])) + (", ..." if len(values) > 3 else "")
    rule = _(
        "it is one for all members of a population, as it decides what a step computes, and not with which numbers"
    )
    way = _("make a population for each value, or compare single runs")
    return InvalidHyperparam(
        _("{name}: {rule}; got {shown}. Give one value, or {way}.", name=name, rule=rule, shown=shown, way=way)
    )


def check_rows(hyperparams: Hyperparams, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the members' own values in canonical form; raise InvalidHyperparam, with the member, for one not legal."""
    found = []
    for number, row in enumerate(rows):
        try:
            own = hyperparams.check(row)
            hyperparams.check_together(own)
        except InvalidHyperparam as error:
            if len(rows) > 1:
                error.add_note(_("nbopt: of member {number}", number=number))
            raise
        found.append(own)
    return found


def _listed(values: Any) -> list[Any]:
    return list(values.tolist() if hasattr(values, "tolist") else values)


def check_seeds(seeds: Any) -> list[int]:
    """Return the seeds that are asked for; raise InvalidHyperparam for what is none."""
    count = Int(1, low=1, high=1, ge=1)
    count.name = "seeds"
    if not is_series(seeds):
        return list(range(count.check(seeds)))
    found = [check_seed(seed) for seed in seeds]
    if not found or len(set(found)) < len(found):
        rule = _("seeds must be a number of them, or a sequence of different ones")
        raise InvalidHyperparam(_("{rule}; got {seeds}.", rule=rule, seeds=shorten(seeds)))
    return found
