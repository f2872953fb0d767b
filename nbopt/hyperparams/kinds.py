"""The kinds of declaration: numbers, choices, flags and text."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nbopt.errors import InvalidHyperparam, unknown
from nbopt.formatting import number
from nbopt.hyperparams.declarations import Hyperparam, Tunable
from nbopt.hyperparams.words import in_words
from nbopt.i18n import _


@dataclass(eq=False)
class Float(Hyperparam[float]):
    """A real number.

    Attributes
    ----------
    low, high : float
        The range that a control and a search offer.
    log : bool
        Whether that range is walked on a log scale.
    zero : bool
        Whether a log scale has a true zero below ``low``.
    refused : str
        Why it cannot be anything but 0, in words.
    ge, gt, lt : float or None
        Legal values: at least, above, below.

    Examples
    --------
    >>> rate = nbopt.Float(1e-3, low=1e-6, high=1.0, log=True, ge=0.0)
    >>> rate.check(3)
    3.0
    >>> rate.legal
    'a finite number at least 0'
    """

    low: float = field(kw_only=True)
    high: float = field(kw_only=True)
    log: bool = field(default=False, kw_only=True)
    zero: bool = field(default=False, kw_only=True)
    ge: float | None = field(default=None, kw_only=True)
    gt: float | None = field(default=None, kw_only=True)
    lt: float | None = field(default=None, kw_only=True)
    refused: str = field(default="", kw_only=True)

    def check(self, value: Any) -> float:
        """Return ``value`` as a float, if it is legal."""
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise self._refuse(value, self.legal)
        try:
            number = float(value)
        except OverflowError:
            raise self._refuse(value, self.legal) from None
        if not math.isfinite(number) or not _within(number, self.ge, self.gt, self.lt):
            raise self._refuse(value, self.legal)
        _check_on(self.name, number, self.refused)
        return number + 0.0  # -0.0 becomes 0.0

    @property
    def offered(self) -> str:
        """The range, in words."""
        return in_words(self.low, self.high, self.zero, _(", on a log scale") if self.log else "")

    @property
    def legal(self) -> str:
        """The bounds, in words."""
        return _rule(_("a finite number"), self.ge, self.gt, self.lt)


@dataclass(eq=False)
class Int(Hyperparam[int]):
    """A whole number; ``powers`` walks the offered range in powers of two, ``zero`` adds 0 below them.

    ``endless`` makes infinity legal, and None, which stands for it; with ``tenfold``, the control of a run offers up to
    ten times what that is given; ``refused`` says why it cannot be anything but 0, in words.

    Examples
    --------
    >>> nbopt.Int(64, low=1, high=1024, powers=True, ge=1).offered
    '1 to 1024, in powers of 2'
    """

    low: int = field(kw_only=True)
    high: int = field(kw_only=True)
    powers: bool = field(default=False, kw_only=True)
    zero: bool = field(default=False, kw_only=True)
    ge: int | None = field(default=None, kw_only=True)
    endless: bool = field(default=False, kw_only=True)
    tenfold: bool = field(default=False, kw_only=True)
    refused: str = field(default="", kw_only=True)

    def check(self, value: Any) -> int:
        """Return ``value`` as an int, if it is whole and legal; infinity, where that is, as ``math.inf``."""
        if self.endless and (value is None or value == math.inf):
            return math.inf  # type: ignore[return-value]
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise self._refuse(value, self.legal)
        try:
            number = int(value)  # type: ignore[call-overload]
        except (OverflowError, ValueError):  # infinite, not a number
            raise self._refuse(value, self.legal) from None
        # Counters and sizes end up in 64-bit integers.
        if number != value or not _within(number, self.ge, None, 2**63):
            raise self._refuse(value, self.legal)
        _check_on(self.name, number, self.refused)
        return int(number)

    @property
    def offered(self) -> str:
        """The range, in words."""
        return in_words(self.low, self.high, self.zero, _(", in powers of 2") if self.powers else "")

    @property
    def legal(self) -> str:
        """The bounds, in words."""
        return _rule(_("a whole number"), self.ge, None, None) + (_(", or None for no end") if self.endless else "")


@dataclass(eq=False)
class Choice(Hyperparam[str]):
    """One of several names; ``refused`` holds those that would be, but for a reason, in words.

    Examples
    --------
    >>> nbopt.Choice("linear", options=("linear", "cubic")).check("cubic")
    'cubic'
    """

    options: tuple[str, ...] = field(default=(), kw_only=True)
    refused: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    def check(self, value: Any) -> str:
        """Return ``value`` if it is an option."""
        if isinstance(value, str) and value in self.refused:
            raise InvalidHyperparam(_("{name}: {reason}.", name=self.name, reason=self.refused[value]))
        if not isinstance(value, str) or value not in self.options:
            raise unknown(self.name, value, self.options)
        return value

    @property
    def legal(self) -> str:
        """The options."""
        return ", ".join(self.options)


@dataclass(eq=False)
class Strategy(Choice):
    """A choice among `Tunable` classes, each of which may declare hyperparameters of its own.

    Attributes
    ----------
    classes : mapping of str to type
    folded : bool
        Whether a panel folds what these declare, below the choice.
    """

    classes: Mapping[str, type[Tunable]] = field(default_factory=dict, kw_only=True)
    folded: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        self.options = self.options or tuple(self.classes)


@dataclass(eq=False)
class Flag(Hyperparam[bool]):
    """On or off; ``refused`` says why it cannot be on, in words.

    Examples
    --------
    >>> nbopt.Flag(False).check(True)
    True
    """

    refused: str = field(default="", kw_only=True)

    def check(self, value: Any) -> bool:
        """Return ``value`` as a bool, if it is one."""
        if type(value).__name__ in ("bool", "bool_"):  # numpy calls its own bool_ or bool
            _check_on(self.name, value, self.refused)
            return bool(value)
        raise self._refuse(value, self.legal)

    @property
    def legal(self) -> str:
        """Both values."""
        return _("True or False")


@dataclass(eq=False)
class Text(Hyperparam[str]):
    """Words that mean something where they are declared, as a pattern of names.

    Examples
    --------
    >>> from nbopt.hyperparams import Text
    >>> Text("*").check(" head ")
    'head'
    """

    def check(self, value: Any) -> str:
        """Return ``value`` without blanks around it, if it is a string."""
        if not isinstance(value, str):
            raise self._refuse(value, self.legal)
        return value.strip()

    @property
    def legal(self) -> str:
        """What it may be."""
        return _("a string")


def _within(number: float, ge: float | None, gt: float | None, lt: float | None) -> bool:
    return (ge is None or number >= ge) and (gt is None or number > gt) and (lt is None or number < lt)


def _rule(kind: str, ge: float | None, gt: float | None, lt: float | None) -> str:
    bounds: Iterable[tuple[str, float | None]] = (
        (_("at least"), ge),
        (_("above"), gt),
        (_("below"), lt),
    )
    parts = [f"{word} {number(bound)}" for word, bound in bounds if bound is not None]
    return " ".join([kind, _(" and ").join(parts)]).strip()


def _check_on(name: str, value: Any, refused: str) -> None:
    if value and refused:
        raise InvalidHyperparam(_("{name}: {reason}.", name=name, reason=refused))
