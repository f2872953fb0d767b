"""One trial of a study: what it was given, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nbopt.errors import InvalidHyperparam
from nbopt.formatting import brief
from nbopt.i18n import _
from nbopt.store.database import AUTO, Place

RUNNING, COMPLETE, PRUNED, FAILED = "running", "complete", "pruned", "failed"


@dataclass(eq=False)
class Trial:
    """One set of values, and what it measured.

    Attributes
    ----------
    number : int
        Its place in the study, from 0.
    values : dict of str to object
        Of the dimensions of the space.
    state : str
        ``running``, ``complete``, ``pruned`` or ``failed``.
    objectives : tuple of float
        Of a complete trial, one for each objective.
    reports : dict of int to float
        What was measured on the way, by the number of validations.
    steps, seconds : int, float
        Steps trained, and how long that took.
    ended : float
        When it ended, in seconds since 1970.
    source : str
        Who chose the values: the sampler, or a hand.
    note : str
        Why it failed or ended early, in words.
    is_resting : bool
        Whether a hand has it resting while others go on.
    parts : list of tuple
        The objectives of each training that it was judged by: of each fold and seed.
    """

    number: int
    values: dict[str, Any]
    state: str = RUNNING
    objectives: tuple[float, ...] = ()
    reports: dict[int, float] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0
    ended: float = 0.0
    source: str = "sampler"
    note: str = ""
    is_resting: bool = field(default=False, repr=False)
    parts: list[tuple[float, ...]] = field(default_factory=list, repr=False)
    attrs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    distributions: Mapping[str, Any] | None = field(default=None, repr=False)
    space: int = field(default=0, repr=False)
    take_out: Callable[[Trial, str, Place | None], Any] | None = field(default=None, repr=False)
    fit: Callable[[Trial], Any] | None = field(default=None, repr=False)

    @property
    def objective(self) -> float:
        """What is searched for; of a trial that was pruned, the last that it reported; NaN where there is nothing.

        Raises
        ------
        InvalidHyperparam
            In a study of several objectives: those are ``objectives``.
        """
        if len(self.objectives) > 1:
            raise InvalidHyperparam(_("this study has several objectives: see trial.objectives."))
        if self.objectives:
            return self.objectives[0]
        return self.reports[max(self.reports)] if self.reports else math.nan

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""
        return self.state != RUNNING

    def run(self, *, name: str | None = None, store: Place | None = AUTO) -> Any:
        """Return a `nbopt.Run` of its own, at rest where the trial ended, with its journal and its past.

        A trial that is no longer held in memory is trained again, with the same weights, batches and noise.

        Parameters
        ----------
        name, store
            As for `nbopt.Run`.

        Raises
        ------
        ValueError
            Where nbopt did not do the training, as with an objective of your own, or the trial has not ended.
        """
        if self.take_out is None:
            raise ValueError(_("trial {number} has no run that could be taken out.", number=self.number))
        if not self.is_done:
            raise ValueError(_("trial {number} is still under way.", number=self.number))
        return self.take_out(self, name or _("trial {number}", number=self.number), store)

    def refit(self) -> Any:
        """Return an estimator with these values, fitted to all training data of the study.

        Raises
        ------
        ValueError
            In a study of something else.
        """
        if self.fit is None:
            raise ValueError(_("trial {number} is of no estimator: see run().", number=self.number))
        return self.fit(self)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={_short(value)}" for name, value in self.values.items())
        found = ", ".join(map(brief, self.objectives or ((self.objective,) if self.reports else ())))
        return f"<Trial {self.number}: {self.state}{f', {found}' if found else ''}; {values}>"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
