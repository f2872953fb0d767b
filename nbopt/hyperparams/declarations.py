"""Declarations: one line for each hyperparameter, in the class where it acts.

A class that does something tunable derives from `Tunable` and declares class attributes::

    class Dropout(Tunable):
        dropout = Float(0.0, low=0.0, high=0.9, ge=0.0, lt=1.0, label="Dropout")

From that one line come the check of a value, the live control, the journal's entries and the search dimension.
``low`` to ``high`` is what a control offers; ``ge``, ``gt``, ``lt`` bound what is legal, often wider.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from itertools import chain
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar, overload
from weakref import WeakKeyDictionary

from nbopt.errors import SYNONYMS, InvalidHyperparam, shorten
from nbopt.hyperparams.words import Words
from nbopt.i18n import _

T = TypeVar("T")


@dataclass(eq=False)
class Hyperparam(Generic[T]):
    """What all kinds of declaration share. Read from an instance, a declaration is the live value.

    Attributes
    ----------
    default : T
        The value when nobody gives one.
    label, help, group : str
        What the panel writes beside the control, its tooltip, and the group it stands in.
    unit : str
        What a number of it counts, as samples or epochs.
    rank : int
        Its place among the few that a panel shows first, from 1 on; 0 for all others.
    needs : str
        The hyperparameter that must be on, above 0 or another than by default for this one to act; "" if it needs none.
    unless : str
        The hyperparameter that acts in the place of this one while it is on, or above 0; "" if there is none.
    when : mapping of str to iterable
        The values of others with which it matters at all, by name, as ``{"depth": range(3, 7)}``: elsewhere a search
        leaves it out.
    was : str
        Its name in earlier versions, which is still understood where values are given; "" if it had no other.
    synonyms : str
        What other libraries call it: names, with blanks between them.
    initial : bool
        Whether it acts before the first step alone: later it cannot be changed.
    """

    default: T
    _words: KW_ONLY
    label: Words = Words()  # noqa: RUF009 - a descriptor
    help: Words = Words()  # noqa: RUF009 - a descriptor
    group: Words = Words()  # noqa: RUF009 - a descriptor
    unit: Words = Words()  # noqa: RUF009 - a descriptor
    rank: int = field(default=0, kw_only=True)
    needs: str = field(default="", kw_only=True)
    unless: str = field(default="", kw_only=True)
    when: Mapping[str, Iterable[Any]] = field(default_factory=dict, kw_only=True)
    was: str = field(default="", kw_only=True)
    synonyms: str = field(default="", kw_only=True)
    initial: bool = field(default=False, kw_only=True)
    name: str = field(default="", init=False)

    def __set_name__(self, owner: type, name: str) -> None:
        if self.name not in ("", name):
            raise TypeError(f"{self.name!r} is declared again as {name!r}")
        self.name = name

    # No __set__: an attribute that `give_values` gives to an instance shadows the declaration, so that the training
    # loop reads a plain one.
    @overload
    def __get__(self, instance: None, owner: type) -> Hyperparam[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Hyperparam[T] | T:
        return self if instance is None else self.default

    @property
    def title(self) -> str:
        """What controls, marks and lists call it."""
        return self.label or self.name

    def check(self, value: Any) -> T:
        """Return ``value`` in canonical form, or raise `InvalidHyperparam`."""
        raise NotImplementedError

    @property
    def offered(self) -> str:
        """What a control offers, in words."""
        return self.legal

    @property
    def legal(self) -> str:
        """What `check` takes, in words."""
        raise NotImplementedError

    def _refuse(self, value: object, rule: str) -> InvalidHyperparam:
        return InvalidHyperparam(
            _("{name} must be {rule}; got {value}.", name=self.name, rule=rule, value=shorten(value))
        )


# A run asks each class hundreds of times. They are kept here and not in the class, whose attributes a script repeats.
_DECLARED: WeakKeyDictionary[type, Mapping[str, Hyperparam[Any]]] = WeakKeyDictionary()


class Tunable:
    """Base of everything that declares hyperparameters."""

    @classmethod
    def declared(cls) -> Mapping[str, Hyperparam[Any]]:
        """Return this class's declarations by name, inherited ones first."""
        found = _DECLARED.get(cls)
        if found is None:
            every = chain.from_iterable(vars(base).items() for base in reversed(cls.__mro__))
            found = MappingProxyType({name: item for name, item in every if isinstance(item, Hyperparam)})
            _DECLARED[cls] = found
        return found

    usual: ClassVar[Mapping[str, Any]] = {}
    """Values of other hyperparameters that people begin with where this is chosen, as the learning rate of SGD."""

    @classmethod
    def minds(cls, other: type[Tunable]) -> bool:
        """Whether `conflict` looks at the values of another class, which it is to be given among those ``chosen``."""
        return False

    @classmethod
    def conflict(cls, values: Mapping[str, Any], chosen: Mapping[str, type[Tunable]]) -> str:
        """Return why the values do not go together, in words; "" if they do.

        Parameters
        ----------
        values : mapping of str to Any
            Those of all hyperparameters.
        chosen : mapping of str to type
            The classes that strategies choose, as that of the ``optimizer``.
        """
        return ""

    def on_change(self, name: str) -> None:
        """React to a new value of the hyperparameter ``name``, which the attribute already has."""


def give_values(part: Tunable, values: Mapping[str, Any], names: Iterable[str] | None = None) -> None:
    """Give a part its values, of all that it declares or of some names; nothing reacts to them.

    Past ``vars(part)``: asked for it, each part would have a dictionary besides, and a population has thousands.
    """
    for name in part.declared() if names is None else names:
        object.__setattr__(part, name, values[name])


def synonyms_of(specs: Iterable[Hyperparam[Any]]) -> dict[str, str]:
    """Return what others call these hyperparameters, and the arguments of a run, and what they are called here."""
    return SYNONYMS | {other: spec.name for spec in specs for other in spec.synonyms.split()}


def variant(spec: Hyperparam[T], **changes: Any) -> Hyperparam[T]:
    """Return a copy of a declaration with some fields changed: one run's own variant of it."""
    written = {name: vars(spec)[name] for name in ("label", "help", "group", "unit")}
    copy = replace(spec, **{**written, **changes})
    copy.name = spec.name
    return copy
