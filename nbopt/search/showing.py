"""What the panel of a study needs besides its verbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbopt.i18n import _
from nbopt.run.session.operable import Ability
from nbopt.run.session.session import Session
from nbopt.run.session.watched import OfOneProcess
from nbopt.search.spaces.space import Space
from nbopt.search.taking import Taking
from nbopt.search.trial import Trial


class Shown(OfOneProcess, Taking):
    """A study that a notebook shows."""

    id: str
    sampler: Any
    pruner: Any
    abilities: frozenset[Ability] = frozenset(("start", "pause", "stop"))

    @property
    def declared(self) -> Space:
        """The space as it was given, before it was narrowed."""
        return self._declared

    @property
    def total(self) -> int:
        """The number of trials that the study will have."""
        return self._total

    @property
    def step_count(self) -> int:
        """The number of trials recorded so far, in the order of their numbers."""
        return self._written

    @property
    def held(self) -> list[tuple[Trial, Any]]:
        """The trials whose run or member is still in memory, each with it, the best one first."""
        with self.lock:
            return [(trial, self._sessions[trial.number]) for trial in self.ranked() if trial.number in self._sessions]

    @property
    def share(self) -> float:
        """The fraction of the trials that has ended, from 0 to 1."""
        return min(1.0, self._written / max(1, self._total))

    def hindrance(self, trial: Trial) -> str:
        """Return the reason why no run can be taken out of a trial now; "" if one can."""
        if trial.take_out is None:
            return _("The trials of this study are not runs of nbopt.")
        return "" if trial.is_done else _("It is still running.")

    def watch(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever something changes, from now on."""
        self.watchers.append(wake)

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Stop calling ``wake``."""
        if wake in self.watchers:
            self.watchers.remove(wake)

    def release_workers(self) -> None:
        """Do nothing: a paused study holds no worker processes."""

    def show(self) -> None:
        """Show the panel below the running cell; outside a notebook, print one line.

        Examples
        --------
        >>> nbopt.Study(run.model, run.spec.train, space=["lr"], objective="loss", trials=2).show()
        <Study ...: created, 0 of 2 trials>
        """
        if (viewer := Session.viewer) is None:
            print(self)
        else:
            viewer.show(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        if (viewer := Session.viewer) is None:
            return {"text/plain": repr(self), "text/html": self._repr_html_()}
        return viewer.study(self)
