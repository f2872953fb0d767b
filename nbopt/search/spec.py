"""`StudySpec`: what a study is made with, as one value, and as the record holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from torch import nn

from nbopt.hyperparams import Choice, Flag, Float, Hyperparam, Int
from nbopt.i18n import _
from nbopt.run.spec import RunSpec
from nbopt.search.spaces.dimension import Dimension, OneOf
from nbopt.search.spaces.encoding import encode, encode_each, is_plain, text_of
from nbopt.search.spaces.space import Space

_KINDS: dict[str, type[Hyperparam[Any]]] = {"Float": Float, "Int": Int, "Choice": Choice, "Flag": Flag, "OneOf": OneOf}
_FIELDS = ("default", "low", "high", "log", "zero", "ge", "gt", "lt", "powers", "endless", "options")
_WORDS = ("loss", "optimizer", "metrics")


@dataclass(frozen=True)
class StudySpec:
    """What a study is made with; `Study.of` makes one.

    Parameters
    ----------
    build : object
    run : RunSpec
        What the runs of trials have in common; its model is ``build``.
    space, objective, direction, sampler, pruner, trials, executor, slots, seed, name, store, cv, repeats
        As given to `nbopt.Study`.
    id : str, optional
        Of a study that is opened again.
    first : int
        How many trials the first batch has, if another number than those that follow.
    """

    build: Any
    run: RunSpec
    space: Any = None
    objective: Any = "val_loss"
    direction: Any = None
    sampler: Any = "tpe"
    pruner: Any = None
    trials: int | None = None
    executor: Any = "auto"
    slots: int | None = None
    seed: int = 0
    name: str | None = None
    store: Any = None
    id: str | None = None
    cv: Any = None
    repeats: int = 1
    first: int = 0

    def describe(self, space: Space) -> dict[str, Any]:
        """Return it as JSON can hold it: what cannot be held is named, and has to be given again."""
        kept = ("direction", "trials", "slots", "first", "seed", "name", "repeats")
        own = {name: getattr(self, name) for name in ("objective", "sampler", "pruner", "executor", "cv")}
        run = {name: getattr(self.run, name) for name in _WORDS}
        hyperparams = {name: value for name, value in self.run.hyperparams.items() if _is_plain(value)}
        missing = [name for name, value in {**own, **run}.items() if not _is_plain(value)]
        missing += [name for name in ("forward", "techniques") if getattr(self.run, name) is not None]
        missing += [] if all(map(_is_held, space.values())) else ["space"]
        return {
            **{name: getattr(self, name) for name in kept},
            **{name: value for name, value in {**own, **run}.items() if _is_plain(value)},
            "hyperparams": hyperparams,
            "missing": missing + [name for name in self.run.hyperparams if name not in hyperparams],
            "share": self.run.val if isinstance(self.run.val, float) else None,
            "built": self.build is not None,
            "space": [describe_dimension(dimension) for dimension in space.values()],
        }

    @classmethod
    def of_record(cls, made: Mapping[str, Any], given: Mapping[str, Any]) -> Self:
        """Return what a stored study was made with, and what is ``given`` again."""
        own = {field.name for field in fields(cls)} - {"run", "build", "id", "store"}
        values = {name: made[name] for name in own & made.keys()}
        values["space"] = Space([read_dimension(each) for each in made["space"]])
        run = {name: made[name] for name in _WORDS if name in made}
        again = {name: value for name, value in given.items() if value is not None}
        val = again.pop("val", made["share"])
        run |= {name: again.pop(name) for name in (*_WORDS, "forward", "techniques", "device") if name in again}
        build, train = again.pop("build", None), again.pop("train", None)
        if "executor" in again and again["executor"] != made.get("executor"):
            values["slots"] = None
        values |= {name: again.pop(name) for name in list(again) if name in own}
        hyperparams = {**made["hyperparams"], **again}
        return cls(build, RunSpec(build, train, val, seed=made["seed"], hyperparams=hyperparams, **run), **values)

    def put(self, **others: Any) -> Self:
        """Return the same with some fields changed."""
        return replace(self, **others)


def describe_dimension(dimension: Dimension) -> dict[str, Any]:
    """Return a dimension as JSON can hold it."""
    spec = dimension.spec
    kind = next(name for name, each in _KINDS.items() if isinstance(spec, each))
    known = {name: getattr(spec, name) for name in _FIELDS if hasattr(spec, name)}
    known = {name: plain(value) for name, value in known.items()}
    if "options" in known:
        known["options"] = encode_each(dimension, Dimension.of(spec).options)
        known["default"] = encode(dimension, spec.default)
    if dimension.when:
        known["when"] = {name: plain(allowed) for name, allowed in dimension.when.items()}
    bounds = {"options": encode_each(dimension, dimension.options), "low": dimension.low, "high": dimension.high}
    return {"name": spec.name, "kind": kind, "spec": known, **bounds}


def read_dimension(told: Mapping[str, Any]) -> Dimension:
    """Return the dimension that is told of so."""
    known = dict(told["spec"])
    if "options" in known:
        known["options"] = tuple(known["options"])
    spec = _KINDS[told["kind"]](known.pop("default"), **known)
    spec.name = told["name"]
    return replace(Dimension.of(spec), options=tuple(told["options"]), low=told["low"], high=told["high"])


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: what it cannot hold, as its text."""
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value if is_plain(value) else text_of(value)


def _is_held(dimension: Dimension) -> bool:
    """Whether JSON can hold all values of a dimension, and of those that it depends on, as they are."""
    held = [*dimension.options, *(value for allowed in dimension.when.values() for value in allowed)]
    return all(map(is_plain, held))


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_plain(each) for name, each in value.items())
    return is_plain(value)


def check_count(name: str, value: Any) -> int:
    """Return a number of trials or the like; raise `InvalidHyperparam` for anything but an integer of at least 1."""
    number = Int(1, low=1, high=1, ge=1)
    number.name = name
    return number.check(value)


def name_of(what: Any) -> str:
    """Return what a study is called that is not named."""
    what = getattr(what, "func", what)
    if isinstance(what, nn.Module):
        return type(what).__name__
    name = str(getattr(what, "__name__", type(what).__name__))
    return _("study") if what is None or name == "<lambda>" else name
