"""What a panel asks of a study beside its verbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbopt.i18n import _
from nbopt.run.operable import Ability
from nbopt.run.session import Session
from nbopt.search.space import Space
from nbopt.search.taking import Taking
from nbopt.search.trial import Trial


class Shown(Taking):
    """A study that a notebook shows."""

    id: str
    sampler: Any
    pruner: Any
    abilities: frozenset[Ability] = frozenset(("start", "pause", "stop"))

    @property
    def declared(self) -> Space:
        """The space as it was before any hand narrowed it."""
        return self._declared

    @property
    def total(self) -> int:
        """How many trials there are to be."""
        return self._total

    @property
    def step_count(self) -> int:
        """How many trials have ended, of the first ones without a gap."""
        return self._written

    @property
    def held(self) -> list[tuple[Trial, Any]]:
        """The best trials, each with the run or member that is held in memory, the best one first."""
        with self.lock:
            return [(trial, self._sessions[trial.number]) for trial in self.ranked() if trial.number in self._sessions]

    @property
    def share(self) -> float:
        """The part of the trials that has ended, from 0 to 1."""
        return min(1.0, self._written / max(1, self._total))

    def hindrance(self, trial: Trial) -> str:
        """Return why a trial has no run that could be taken out now, in words; "" where it has one."""
        if trial.take_out is None:
            return _("Trials of this study are no runs of nbopt.")
        return "" if trial.is_done else _("It is still under way.")

    def watch(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` from now on whenever something changed."""
        self.watchers.append(wake)

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Stop calling ``wake``."""
        if wake in self.watchers:
            self.watchers.remove(wake)

    def release_workers(self) -> None:
        """Nothing is held that costs while it rests."""

    def show(self) -> None:
        """Show the panel again, under the running cell; outside a notebook, print one line.

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
