"""One trial of a study: its values and its results."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbopt.errors import InvalidHyperparam
from nbopt.formatting import brief
from nbopt.i18n import _
from nbopt.store.database import AUTO, Place

RUNNING, COMPLETE, PRUNED, FAILED = "running", "complete", "pruned", "failed"


@dataclass(eq=False)
class Trial:
    """One set of values and what was measured with it.

    Attributes
    ----------
    number : int
        Its position in the study, from 0.
    values : dict of str to object
        The value of each dimension of the space.
    state : str
        ``running``, ``complete``, ``pruned`` or ``failed``.
    objectives : tuple of float
        The value of each objective; empty unless the trial is complete.
    reports : dict of int to float
        The intermediate values, by the number of validations done.
    steps, seconds : int, float
        How many steps were trained, and how long that took.
    ended : float
        When it ended, in seconds since 1970.
    source : str
        What chose the values: ``sampler`` or, for trials added by hand, what added them.
    note : str
        Why it failed or ended early, in words.
    is_resting : bool
        Whether it was paused by hand while others continue.
    parts : list of tuple
        The objectives of each run, one for each fold and seed.
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
    batch: Sequence[int] | None = field(default=None, repr=False)
    take_out: Callable[[Trial, str, Place | None], Any] | None = field(default=None, repr=False)
    fit: Callable[[Trial], Any] | None = field(default=None, repr=False)

    @property
    def objective(self) -> float:
        """The value of the objective; the last one reported if the trial was pruned, and NaN if there is none.

        Raises
        ------
        InvalidHyperparam
            If the study has several objectives: use ``objectives``.
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
        """Return the trial as a `nbopt.Run`, paused where the trial ended, with its journal and history.

        If the trial is no longer in memory, it is trained again, with the same weights, batches and noise. Where it
        trained at once with others, in a population, the same comes out but for rounding, and the run's journal
        says so.

        Parameters
        ----------
        name, store
            As for `nbopt.Run`.

        Raises
        ------
        ValueError
            If nbopt did not do the training, as with an objective of your own, or if the trial has not ended.
        """
        if self.take_out is None:
            raise ValueError(_("trial {number} has no run: nbopt did not train it.", number=self.number))
        if not self.is_done:
            raise ValueError(_("trial {number} is still running.", number=self.number))
        return self.take_out(self, name or _("trial {number}", number=self.number), store)

    def refit(self) -> Any:
        """Return the estimator with these values, fitted on all training data of the study.

        Raises
        ------
        ValueError
            If the study is not about an estimator.
        """
        if self.fit is None:
            raise ValueError(_("trial {number} did not fit an estimator: see run().", number=self.number))
        return self.fit(self)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={_short(value)}" for name, value in self.values.items())
        found = ", ".join(map(brief, self.objectives or ((self.objective,) if self.reports else ())))
        return f"<Trial {self.number}: {self.state}{f', {found}' if found else ''}; {values}>"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
