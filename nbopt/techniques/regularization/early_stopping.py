"""Early stopping on the validation loss, with the best weights restored at the end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from nbopt.hyperparams import Flag, Float, Int
from nbopt.i18n import N_, _
from nbopt.objects.plain import is_count, is_number
from nbopt.techniques.base import Technique
from nbopt.techniques.context import Setting
from nbopt.techniques.own_lines import OwnLines, Told

_GROUP = N_("Early stopping")


class EarlyStopping(Technique):
    """Ends a run once the validation loss has not improved in ``patience`` validations (Prechelt 1998).

    Attributes
    ----------
    best : float
        Lowest validation loss so far; infinite before the first validation.
    best_step : int or None
        The step it was measured at.
    waited : int
        Validations since the loss was last better by more than ``min_delta``.
    bar : float
        The loss when patience last started anew.
    """

    early_stopping = Flag(
        False,
        label=N_("Stop early"),
        group=_GROUP,
        rank=4,
        help=N_("End the run when patience runs out, and restore the best weights."),
        synonyms="early_stop earlystopping stop_early callbacks",
    )
    patience = Int(
        5,
        low=1,
        high=50,
        ge=1,
        label=N_("Patience"),
        group=_GROUP,
        help=N_("Validations without improvement before the run ends."),
        unit=N_("validations"),
        rank=5,
        needs="early_stopping",
        synonyms="early_stopping_patience n_iter_no_change",
    )
    min_delta = Float(
        0.0,
        low=1e-6,
        high=1.0,
        log=True,
        zero=True,
        ge=0.0,
        label=N_("Minimum improvement"),
        group=_GROUP,
        needs="early_stopping",
        help=N_("How much lower a validation loss must be to count as better: min_delta."),
        synonyms="tol early_stopping_threshold",
    )

    memory: ClassVar[tuple[str, ...]] = ("judged",)
    compiles = True
    off: ClassVar[Mapping[str, Any]] = {"early_stopping": False}

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the best: the loss measured from now on is another one."""
        self.best = math.inf
        self.best_step: int | None = None
        self.bar = math.inf
        self.waited = 0

    @classmethod
    def imply(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Switch it on where any of its settings is given."""
        return {"early_stopping": True} if given.keys() & {"patience", "min_delta"} else {}

    @classmethod
    def own_lines(cls, told: Told) -> OwnLines:
        """Patience is a few lines of the loop, which belong to any validation."""
        return OwnLines()

    @classmethod
    def unfit_for(cls, setting: Setting) -> str:
        """Without a validation there is no loss to judge by."""
        return "" if setting.validates else _("there is no validation loss without val")

    def judge(self, val_loss: float, step: int) -> bool:
        """Take a validation loss; return whether it is the lowest so far.

        The best weights are those of the lowest loss; ``min_delta`` only decides whether patience starts anew.
        """
        if val_loss < self.bar - self.min_delta:
            self.bar = val_loss
            self.waited = 0
        else:
            self.waited += 1
        lowest = val_loss < self.best
        if lowest:
            self.best, self.best_step = val_loss, step
        return lowest

    def losses_change(self, why: str) -> None:
        """Forget the best where another loss is measured."""
        if why == "loss":
            self.reset()

    @property
    def due(self) -> bool:
        """Whether the run should end now."""
        return self.early_stopping and self.waited >= self.patience

    @property
    def left(self) -> int:
        """Validations left before the run ends."""
        return max(0, self.patience - self.waited)

    def end_reason(self) -> str:
        """End the run once patience is used up."""
        if not self.due:
            return ""
        return _("stopped early: validation loss did not improve in {count} validations", count=self.patience)

    def restores_best(self) -> bool:
        """Do so where it may end the run."""
        return self.early_stopping

    def reopen(self) -> bool:
        """Give patience a fresh start, where it is used up."""
        due = self.due
        self.waited = 0 if due else self.waited
        return due

    @property
    def facts(self) -> list[tuple[str, str]]:
        """The patience left."""
        if not self.early_stopping or self.best_step is None:
            return []
        return [(_("patience left"), f"{self.left} / {self.patience}")]

    # -- snapshots

    @property
    def judged(self) -> list[Any]:
        """What it knows, as JSON can hold it: best, best step, validations waited, bar."""
        return [_finite(self.best), self.best_step, self.waited, _finite(self.bar)]

    @judged.setter
    def judged(self, judged: list[Any]) -> None:
        best, self.best_step, self.waited, bar = judged
        self.best, self.bar = (math.inf if number is None else number for number in (best, bar))

    @classmethod
    def recall(cls, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Return its memory from a snapshot of an earlier version."""
        return {"judged": facts["stopping"]} if "stopping" in facts else {}

    @classmethod
    def is_memory(cls, memory: Mapping[str, Any]) -> bool:
        """Whether these are numbers, and counts of steps and validations."""
        best, best_step, waited, bar = memory["judged"]
        numbers = all(number is None or is_number(number) for number in (best, bar))
        return numbers and (best_step is None or is_count(best_step)) and is_count(waited)


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
