"""A run's live values."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import Any, TypeVar

from nbopt.errors import InvalidHyperparam, shorten, unknown
from nbopt.hyperparams.declarations import Hyperparam, Tunable, give_values, synonyms_of
from nbopt.hyperparams.kinds import Strategy
from nbopt.hyperparams.table import HyperparamTable
from nbopt.i18n import _

T = TypeVar("T")


class Hyperparams(Mapping[str, Any]):
    """A run's live values: a mapping from name to value, with the declarations behind it.

    Holds every declaration the run could use, also those of strategies not chosen now (the momentum of an
    optimizer that may be swapped in): their values are kept until they are needed. `active` tells which ones act.

    Attributes
    ----------
    renamed : dict of str to str
        Names of earlier versions, and what each is called now.
    elsewhere : dict of str to str
        Names that a run may have and this one does not, and what to do to have them.
    """

    def __init__(self) -> None:
        self._specs: dict[str, Hyperparam[Any]] = {}
        self._values: dict[str, Any] = {}
        self._bound: list[Tunable] = []
        self._always: set[str] = set()
        self._kinds: tuple[type[Tunable], ...] = ()
        self._wary: tuple[type[Tunable], ...] = ()  # classes of whose values some do not go together with others
        self.renamed: dict[str, str] = {}
        self.elsewhere: dict[str, str] = {}
        self._brought: dict[str, Any] = {}

    def declare(self, *declarations: Hyperparam[Any] | type[Tunable]) -> None:
        """Add declarations, those of a class, or this run's own variant of one, in the order they are shown."""
        self._specs, self._always = dict(self._specs), set(self._always)  # others may have these, see `another`
        for item in declarations:
            self._kinds += (item,) if isinstance(item, type) else ()
            specs = [item] if isinstance(item, Hyperparam) else item.declared().values()
            if isinstance(item, type) and item.conflict.__func__ is not Tunable.conflict.__func__:  # type: ignore[attr-defined]
                self._wary += (item,)
            for spec in specs:
                self._always.add(spec.name)
                self._add(spec)

    def another(self) -> Hyperparams:
        """Return the same declarations and values for another run; what is bound to these is not bound to those."""
        made = Hyperparams()
        made._specs, made._values = self._specs, dict(self._values)
        made._always, made._wary, made._kinds = self._always, self._wary, self._kinds
        made.renamed, made.elsewhere = dict(self.renamed), self.elsewhere
        return made

    def _add(self, spec: Hyperparam[Any]) -> None:
        self._specs[spec.name] = spec
        self._values[spec.name] = spec.default
        if spec.was:
            self.renamed[spec.was] = spec.name
        if isinstance(spec, Strategy):
            for option in spec.options:
                for inner in spec.classes[option].declared().values():
                    if inner.name not in self._specs:
                        self._add(inner)

    def __getitem__(self, name: str) -> Any:
        if name not in self._values and (name := self.current(name)) not in self._values:
            raise self._unknown(name)
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        """Refuse: values are read here, and changed by `Run.set`."""
        if name not in self._values:
            raise self._unknown(name)
        raise InvalidHyperparam(
            _("values cannot be assigned here: write run.set({name}={value}).", name=name, value=shorten(value))
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def values(self) -> ValuesView[Any]:
        """Return the values, in the order of the names."""
        return self._values.values()  # the mapping's own way looks each name up

    def items(self) -> ItemsView[str, Any]:
        """Return names and values."""
        return self._values.items()

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __repr__(self) -> str:
        return repr(self._table())

    def _repr_html_(self) -> str:
        return self._table()._repr_html_()

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` with one row per hyperparameter: now, default, range, legal, group, help."""
        return self._table().to_pandas()

    def _table(self) -> HyperparamTable:
        return HyperparamTable(self.specs, self._values)

    @property
    def specs(self) -> list[Hyperparam[Any]]:
        """All declarations, in the order they are shown."""
        return list(self._specs.values())

    @property
    def synonyms(self) -> dict[str, str]:
        """What others call these, and what they are called here."""
        return synonyms_of(self.specs)

    def spec(self, name: str) -> Hyperparam[Any]:
        """Return the declaration of ``name``."""
        name = self.current(name)
        if name not in self._specs:
            raise self._unknown(name)
        return self._specs[name]

    def _unknown(self, name: str) -> InvalidHyperparam:
        return unknown(_("hyperparameter"), name, self._specs, self.synonyms, self.elsewhere)

    def label(self, name: str) -> str:
        """Return what controls, marks and lists call ``name``; a name that is not known stays as it is."""
        return self._specs[name].title if name in self._specs else name

    def bring(self, values: Mapping[str, Any]) -> None:
        """Take over what a run's model, loader and optimizer bring along: its defaults from now on."""
        self._brought.update(self.check(values))

    def default(self, name: str) -> Any:
        """Return the value that ``name`` has where nobody gives one: that which the run brings, or the declared one."""
        return self._brought.get(name, self.spec(name).default)

    def owners(self, name: str) -> dict[str, list[str]]:
        """Return the strategies, and of each the options, with which ``name`` acts; none where it always does."""
        found: dict[str, list[str]] = {}
        for strategy, spec in self._specs.items():
            if name not in self._always and isinstance(spec, Strategy):
                if options := [option for option in spec.options if name in spec.classes[option].declared()]:
                    found[strategy] = options
        return found

    @property
    def active(self) -> set[str]:
        """The names that act now: all but those of strategies not chosen."""
        names = set(self._always)
        for name, spec in self._specs.items():
            if isinstance(spec, Strategy):
                names.update(spec.classes[self._values[name]].declared())
        return names

    def check(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``changes`` in canonical form; raise `InvalidHyperparam` if any is not legal.

        A name of earlier versions is taken for today's, with a ``FutureWarning``.
        """
        return {name: self.spec(name).check(value) for name, value in self.rename(changes).items()}

    def rename(self, values: Mapping[str, T]) -> dict[str, T]:
        """Return ``values`` under the names of today, see `current`; raise `InvalidHyperparam` for one given twice."""
        renamed: dict[str, T] = {}
        for given, value in values.items():
            if (name := self.current(given)) in renamed:
                raise InvalidHyperparam(_("{name} is given twice, once by its earlier name.", name=name))
            renamed[name] = value
        return renamed

    def current(self, name: str) -> str:
        """Return ``name`` or, with a ``FutureWarning``, what a hyperparameter is called now that was called so."""
        if name not in self.renamed:
            return name
        now = self.renamed[name]
        warnings.warn(_("{old} is now called {name}.", old=name, name=now), FutureWarning, stacklevel=_outside())
        return now

    @property
    def dependent(self) -> set[str]:
        """The names whose values may not go together, see `check_together`."""
        strategies = {name for name, spec in self._specs.items() if isinstance(spec, Strategy)}
        return strategies.union(*(kind.declared() for kind in self._wary), *map(self._minded, self._wary))

    def _minded(self, kind: type[Tunable]) -> set[str]:
        return {name for other in self._kinds if kind.minds(other) for name in other.declared()}

    def check_together(self, changes: Mapping[str, Any]) -> None:
        """Raise `InvalidHyperparam` if values, with ``changes`` made to them, do not go together."""
        if not self._wary:
            return
        values = {**self._values, **changes}
        strategies = [spec for spec in self.specs if isinstance(spec, Strategy)]
        chosen = {spec.name: spec.classes[values[spec.name]] for spec in strategies}
        for kind in self._wary:
            chosen.update({other.__name__: other for other in self._kinds if kind.minds(other)})
            if reason := kind.conflict(values, chosen):
                raise InvalidHyperparam(f"{reason}.")

    def find_overruled(self, changes: Mapping[str, Any]) -> dict[str, str]:
        """Return those of ``changes`` that others act in the place of, each with the reason."""
        values, found = {**self._values, **changes}, {}
        for name in changes.keys() & self._specs.keys():
            other = self._specs[name].unless
            if other and values[other] and values[name] not in (None, math.inf):  # which leave it to the other
                rule = _("no effect while {other} is {value}", other=other, value=values[other])
                found[name] = _("{rule}, which acts in its place; {other}=0 turns that off", rule=rule, other=other)
        return found

    def assign(self, name: str, value: Any) -> None:
        """Make a checked ``value`` live in every bound part that declares ``name``. Only a run calls this."""
        self._values[name] = value
        for part in self._bound:
            if name in part.declared():
                give_values(part, self._values, [name])
                part.on_change(name)

    def bind(self, part: Tunable) -> None:
        """Give ``part`` the live values, now and whenever one changes."""
        give_values(part, self._values)
        self._bound.append(part)

    def unbind(self, part: Tunable) -> None:
        """Stop telling ``part`` about changes."""
        self._bound.remove(part)


def tell_unused(reasons: Mapping[str, str]) -> None:
    """Warn, where the user called nbopt, of values that were given and do not act, each with the reason."""
    for name in sorted(reasons):
        warnings.warn(f"{name}: {reasons[name]}", stacklevel=_outside())


def _outside() -> int:
    """Return which frame above a warning's is not nbopt's: the line of the user's that it is about."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith("nbopt."):
        frame, level = frame.f_back, level + 1
    return level
