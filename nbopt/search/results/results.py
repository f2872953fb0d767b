"""What a study has found."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbopt.errors import InvalidHyperparam
from nbopt.i18n import _
from nbopt.search.by_hand import ByHand
from nbopt.search.results.front import undominated
from nbopt.search.results.view import html
from nbopt.search.trial import FAILED, Trial


class Results(ByHand):
    """A study that tells what it has found."""

    @property
    def trials(self) -> list[Trial]:
        """All trials in order, running ones included."""
        with self.lock:
            return [*self._trials]

    @property
    def best(self) -> Trial | None:
        """The best complete trial, with its ``values``, ``objective`` and ``run()``; None before the first one.

        Raises
        ------
        InvalidHyperparam
            If the study has several objectives: use `front`.

        Examples
        --------
        >>> study = nbopt.Study(run.model, run.spec.train, 0.2, space=["lr"], epochs=1, trials=3).fit()
        >>> study.best.objective == min(trial.objective for trial in study.trials)
        True
        >>> study.best.run().hyperparams["lr"] == study.best.values["lr"]
        True
        """
        if len(self.objectives) > 1:
            raise InvalidHyperparam(_("with several objectives, no trial is the best in all of them: see study.front."))
        return next(iter(self.ranked()), None)

    @property
    def front(self) -> list[Trial]:
        """The Pareto front: the complete trials that no other trial dominates, sorted by the first objective."""
        with self.lock:
            ranked = self.ranked()
        signs = [1.0 if each.direction == "minimize" else -1.0 for each in self.objectives]
        losses = np.array([trial.objectives for trial in ranked], float).reshape(-1, len(signs)) * signs
        return [trial for trial, is_best in zip(ranked, undominated(losses), strict=True) if is_best]

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` with one row per trial: its values, objectives, state, steps and seconds.

        Examples
        --------
        >>> study = nbopt.Study(run.model, run.spec.train, 0.2, space=["lr"], epochs=1, trials=3).fit()
        >>> study.to_pandas().columns.tolist()
        ['lr', 'val_loss', 'state', 'steps', 'seconds', 'source']
        """
        import pandas as pd

        rows = []
        for trial in self.trials:
            found = trial.objectives or (math.nan,) * len(self.objectives)
            row: dict[str, Any] = {**trial.values}
            row |= {each.name: value for each, value in zip(self.objectives, found, strict=True)}
            rows.append(
                row | {"state": trial.state, "steps": trial.steps, "seconds": trial.seconds, "source": trial.source}
            )
        return pd.DataFrame(rows).rename_axis("trial")

    def to_optuna(self) -> Any:
        """Return the trials that have ended as a read-only ``optuna.Study``, for Optuna's plots and dashboard."""
        return self.record.to_optuna()

    def __repr__(self) -> str:
        return f"<Study {self.name!r}: {self._told}>"

    @property
    def _told(self) -> str:
        failed = sum(trial.state == FAILED for trial in self.trials)
        told = _("{state}, {done} of {count} trials", state=self.state.value, done=self._written, count=self._total)
        return told + (_(", {count} failed", count=failed) if failed else "")

    def _repr_html_(self) -> str:
        best = self.front if len(self.objectives) > 1 else self.ranked()[:1]
        return html(f"{self.name}: {self._told}", self.objectives, self.trials, best)
