"""How long a run is, and when it is validated: in epochs, or in steps, which a stream without an end has too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nbopt.hyperparams import Int, Tunable
from nbopt.i18n import N_, _

_GROUP = N_("Batches")


class Plan(Tunable):
    """The one place that knows where in its course a run is.

    Where ``steps`` is given it is the run's length, and the share of the run done is counted in steps; otherwise in
    epochs, the current one in part.
    """

    epochs = Int(
        20,
        low=1,
        high=200,
        ge=1,
        endless=True,
        tenfold=True,
        unless="steps",
        label=N_("Epochs"),
        group=_GROUP,
        help=N_(
            "Passes over the training data; None, or inf: until it is stopped. Raise it to train on a finished run."
        ),
        synonyms="n_epochs num_epochs max_epochs nb_epochs nb_epoch n_epoch epoch num_train_epochs",
    )
    steps = Int(
        0,
        low=32,
        high=2**20,
        powers=True,
        zero=True,
        ge=0,
        label=N_("Total steps"),
        group=_GROUP,
        help=N_("Length of the run in steps, instead of epochs; 0: epochs decide."),
    )
    validate_every = Int(
        0,
        low=1,
        high=2**16,
        powers=True,
        zero=True,
        ge=0,
        label=N_("Validate every"),
        group=_GROUP,
        unit=N_("steps"),
        help=N_("Steps between two validations; 0: once an epoch. The run always ends with one."),
    )

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Plan:
        """Return the plan that a run with these hyperparameters has; without them, it goes on for ever."""
        plan = cls()
        vars(plan).update({"epochs": math.inf, "steps": 0, "validate_every": 0})
        vars(plan).update({name: values[name] for name in cls.declared() if name in values})
        return plan

    @classmethod
    def conflict(cls, values: Mapping[str, Any], chosen: Mapping[str, type[Tunable]]) -> str:
        """Say what moves by the length of a run that has none."""
        if cls.of(values).has_end:
            return ""
        for name, kind in chosen.items():
            if "moves_by" in vars(kind) and kind().moves_by == "length":  # type: ignore[attr-defined]
                told = _("{name}={value!r} moves by the part of the run that is done", name=name, value=values[name])
                return _("{told}: without an end there is none. Give epochs or steps", told=told)
        return ""

    @property
    def has_end(self) -> bool:
        """Whether it is known how long the run is."""
        return bool(self.steps) or self.epochs < math.inf

    def share(self, step: int, progress: float) -> float:
        """Return the part of the run that is done, from 0 to 1.

        Parameters
        ----------
        step : int
            Steps done.
        progress : float
            Epochs done, the current one counted in part.
        """
        return self.shares(step, [progress])[0]

    def shares(self, first: int, progress: Sequence[float]) -> list[float]:
        """Return `share` for steps one after the other, the first with ``first`` steps done."""
        steps, epochs = self.steps, self.epochs
        if steps:
            return [min(1.0, (first + k) / steps) for k in range(len(progress))]
        return [min(1.0, done / epochs) for done in progress]

    def is_over(self, step: int, epoch: int) -> bool:
        """Return whether the run has the length it is to have after ``step`` steps and ``epoch`` whole epochs."""
        return step >= self.steps if self.steps else epoch >= self.epochs

    def validates_epoch(self, step: int, epoch: int) -> bool:
        """Return whether the end of epoch number ``epoch``, counted from 1, is to be validated."""
        return not self.validate_every or self.is_over(step, epoch)

    def validates_step(self, step: int) -> bool:
        """Return whether a validation is due after ``step`` steps, wherever in an epoch that is."""
        return bool(self.validate_every and not step % self.validate_every) or bool(self.steps and step >= self.steps)

    def ahead(self, step: int) -> float:
        """Return how many steps after ``step`` may be done before `validates_step` holds; infinite without one."""
        every = self.validate_every - step % self.validate_every if self.validate_every else math.inf
        return min(every, max(1, self.steps - step)) if self.steps else every

    def end_reason(self) -> str:
        """Return in words why a run that is over is over."""
        if self.steps:
            return _("all {count} steps done", count=self.steps)
        return _("all {count} epochs done", count=self.epochs)

    def explain_end(self, reason: str) -> str:
        """Return in words what makes a run go on that is over for ``reason``."""
        unit = "steps" if self.steps else "epochs"
        return _("the run is complete ({reason}). Set {unit} higher to go on.", reason=reason, unit=unit)

    @property
    def of_epochs(self) -> str:
        """What stands behind the number of epochs done: ``/20``; "" where steps are counted, and without an end."""
        return f"/{self.epochs}" if self.has_end and not self.steps else ""

    @property
    def of_steps(self) -> str:
        """What stands behind the number of steps done: ``/1000``; "" where epochs are counted."""
        return f"/{self.steps}" if self.steps else ""
