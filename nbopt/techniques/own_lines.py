"""What a script says in the place of a technique's class, where lines in its loop are plainer than a class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, NamedTuple, Protocol

from nbopt.hyperparams import Hyperparams


class Told(Protocol):
    """What a script is to repeat of a run, as far as techniques ask: see `nbopt.export.summary.RunSummary`."""

    @property
    def hyperparams(self) -> Hyperparams:
        """Their declarations."""

    @property
    def start(self) -> Mapping[str, Any]:
        """The values that the first step used."""

    @property
    def inert(self) -> Set[str]:
        """Hyperparameters that could not act."""

    @property
    def untouched(self) -> Set[str]:
        """Hyperparameters of which the first step used what the model brought."""

    @property
    def steps(self) -> int | None:
        """Where the run was left; None if it came, or will come, to its own end."""

    @property
    def done(self) -> int:
        """Steps done."""

    @property
    def train(self) -> Any:
        """The source of the training data."""

    @property
    def forward(self) -> Any:
        """The user's own forward pass, if there is one."""

    @property
    def split(self) -> Mapping[str, Any]:
        """What was found out of batches in parts."""

    def values_of(self, name: str) -> list[Any]:
        """Return all values that a hyperparameter had, the first one first."""


class OwnLines(NamedTuple):
    """Lines of a script in the place of a technique.

    A hyperparameter of the technique, ``hyper.name``, becomes a constant where it does not change; in upper case, it is
    the value at the start. A line that asks whether something is ``in changes`` is left out where it never is.

    Attributes
    ----------
    lines : mapping of str to str
        By the place where they stand, a ``$word`` of `nbopt.export.script.template` or `pieces`; they may hold such
        words.
    known : mapping of str to bool
        What there is and what holds, see `nbopt.export.script.prune`.
    uses : sequence of callable
        Functions that a script is to hold for the lines, beside those of `nbopt.export.script.plain`.
    """

    lines: Mapping[str, str] = {}
    known: Mapping[str, bool] = {}
    uses: Sequence[Callable[..., Any]] = ()
