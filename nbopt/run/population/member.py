"""A member of a population: one set of hyperparameters, its journal, its history, and what it trains with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from torch import nn

from nbopt.errors import tell_error
from nbopt.hyperparams import Hyperparams
from nbopt.i18n import _
from nbopt.record.journal import SWITCH, Entry
from nbopt.run.declared import find_loss
from nbopt.run.exports.frozen import frozen_model
from nbopt.run.making import make_history, make_training
from nbopt.run.session.session import Session
from nbopt.run.spec import RunSpec
from nbopt.techniques.metrics.by_output import read_metrics
from nbopt.training import loop
from nbopt.training.begun import Begun
from nbopt.training.device import pick_device
from nbopt.training.many.member import OneOfMany
from nbopt.training.material import Material
from nbopt.training.snapshots.recovery import Recovery
from nbopt.training.stage import NotBegun
from nbopt.training.state import Finished, RunState


class Owner(Protocol):
    """The population that a member belongs to."""

    name: str

    def __len__(self) -> int: ...

    def set(self, *, members: Iterable[int] | None = None, source: str = "code", **changes: Any) -> None:
        """Ask for new values."""

    def stop(self, members: Iterable[int] | None = None, *, wait: bool = True, source: str = "code") -> None:
        """End members."""

    def tell(self, text: str) -> None:
        """Say once what the user should know."""


class Member(Session):
    """One of a population. It is read here; it is steered by the population, which steps all of them.

    Attributes
    ----------
    number : int
        Its place in the population.
    spec : RunSpec
        What a run of its own would be made with.
    initial : dict of str to object
        The hyperparameters' values before its first step.
    until : float
        The step at which it ends in any case.
    slopes : nbopt.run.population.hypergradient.Slopes or None
        What a descent on hyperparameters found last.
    lineage : int
        The member that began as it did: another one, where it is a copy.
    mode : str
        How its steps are done, see `nbopt.training.many.together.Together`.
    """

    until = math.inf
    slopes: Any = None

    material: Material

    def __init__(
        self, population: Owner, number: int, spec: RunSpec, hyperparams: Hyperparams, given: Iterable[str]
    ) -> None:
        self.number = number
        self.spec = spec
        self.model, self.seed, self.device = spec.model, spec.seed, pick_device(spec.device)
        self.metrics = read_metrics(spec.metrics, spec.loss)
        self.techniques = spec.techniques
        loss = find_loss(hyperparams)
        self.material = Material(self.model, loss.modules)
        own = [name for technique in spec.techniques for name in technique.measures]
        self.measures, self.later_measures = ("loss", *loss.measures, *self.metrics), ("lr", *own)
        history = make_history(self.measures, own, loss.measures, spec.val is not None)
        history.live_among(len(population))
        self.initial = dict(hyperparams)
        self._population = population
        self._training: OneOfMany | None = None
        self.mode, self.lineage = "", number
        super().__init__(f"{population.name}[{number}]", hyperparams, NotBegun(), history, given=given)

    # -- training

    @property
    def has_begun(self) -> bool:
        """Whether there is a training yet."""
        return self._training is not None

    @property
    def training(self) -> OneOfMany:
        """What it trains with; made, and data looked at, on first asking."""
        if self._training is None:
            training = make_training(self, self.spec, self.material, self.metrics, self.initial, OneOfMany)
            training.live_among(len(self._population))
            training.proposals.planned = self.changes.steps_to_plan
            training.tiers.planned = training.proposals.steps_ahead
            training.pass_.tell = self.tell
            self.changes.stage = Begun(training)
            self._training = training
        return self._training

    def frozen_model(self, at: str = "now", *, fold: bool = False) -> nn.Module:
        """Return a copy of its model that computes as it does, see `nbopt.Run.frozen_model`."""
        return frozen_model(self, at, fold)

    def requests(self, recover: Callable[[], list[Entry]] | None = None) -> loop.Requests:
        """Return its events from where it is, for whoever pulls them and does the steps; an error ends them.

        Parameters
        ----------
        recover : callable, optional
            Puts trouble right in place of the guard.
        """
        training = self.training
        try:
            recover = recover or Recovery(training, self.changes, self.journal)
            events = loop.requests(training, self.changes, recover)
            if self.until == math.inf:
                yield from events
            else:
                yield from self._until_end(events)
        except Exception as error:  # whatever model, loss or data of the user's raise
            self.fail(error)

    def _until_end(self, events: loop.Requests) -> loop.Requests:
        """Pass on events, up to the step at which the member ends."""
        done: int | None = None
        while True:
            try:
                event = events.send(done)
            except StopIteration:
                return
            training = self.training
            if event is None and training.step >= self.until:
                training.flush()
                yield Finished(training.step, _("repeated to step {step}", step=training.step))
                return
            done = yield event

    def note_tier(self, step: int, tier: str) -> None:
        """Journal how steps are done from ``step`` on, where that is another way than before."""
        if tier != self.mode:
            self.mode = tier
            words = {"": _("by itself"), "together": _("with other members at once")}
            words["whole"] = _("with other members at once, compiled, validations too")
            reason = words.get(tier, _("with other members at once, compiled"))
            self.journal.event(step, SWITCH, {"from": 0, "steps": 0, "reason": reason, "many": tier})

    def room(self) -> float:
        """Return how many steps it may do at most."""
        return self.until - self.step_count

    def fail(self, error: Exception) -> None:
        """End by an exception."""
        self.error = error
        self.become(RunState.FAILED, tell_error(error))

    def finish(self, reason: str) -> None:
        """End as it was to end."""
        if any(restores() for restores in self.training.acting.restores_best):
            self.changes.act("restore_best", "run")
        self.become(RunState.FINISHED, reason)

    def follow(self, running: bool) -> None:
        """Train or rest with its population, unless it has ended."""
        if not self.state.is_ended:
            self.become(RunState.RUNNING if running else RunState.PAUSED)

    def reopen(self) -> bool:
        """Go on where there is something left to do by now; return whether there is."""
        if self.state is not RunState.FINISHED:
            return self.state is not RunState.STOPPED
        self.training.may_end = True
        self.changes.act("reopen", "run")
        if self.training.end_reason():
            return False
        self.become(RunState.PAUSED)
        return True

    # -- what its population does for it

    def set(self, *, source: str = "code", **changes: Any) -> None:
        """Ask for new values of this member; they act from its next step on."""
        self._population.set(source=source, members=[self.number], **changes)

    def stop(self, *, wait: bool = True, source: str = "code") -> None:
        """End it where it is; the others go on."""
        self._population.stop([self.number], wait=wait, source=source)

    def tell(self, text: str) -> None:
        """Say once what the user should know: in its journal, and once for all members as a warning."""
        if text not in self._told:
            self._told |= {text}
            self.journal.event(self.step_count, "note", text)
            self._population.tell(text)

    def __repr__(self) -> str:
        return _(
            "<Member {name!r}: {state}, step {step}>", name=self.name, state=self.state.value, step=self.step_count
        )
