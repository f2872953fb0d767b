"""The material of a run once data and model are known: what a step does, what a validation does.

Knows nothing of threads, pauses or notebooks. `nbopt.training.loop` calls it in order; whatever a later `events()`
needs to go on after an interruption is here, none of it in the generator.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, ClassVar

from nbopt.training.active_hooks import tell_carried
from nbopt.training.changes.hands import Hands
from nbopt.training.changes.proposals import Proposals
from nbopt.training.changes.reactions import choose_loss, choose_optimizer
from nbopt.training.core import Core
from nbopt.training.snapshots.outside import unchanged
from nbopt.training.snapshots.securing import Securing
from nbopt.training.state import Bound
from nbopt.training.step.mode import StepModes
from nbopt.training.stepper import Stepper
from nbopt.training.structure.rebuild import rebuild
from nbopt.training.user_code.modes import find_modes


class Training(Core):
    """Model, data and parts of one run, ready to step.

    Parameters
    ----------
    *args, **kwargs
        See `Core`.

    Attributes
    ----------
    bound : Bound or None
        Where the run is going back to.
    stepper : Stepper
    tiers : StepModes
    securing : Securing
    hands : Hands
    evaluate_together : callable or None
        ``evaluate_together(cut, index)`` returns what a validation batch, which ``cut()`` returns, gives, where that is
        found with that of others; or None.
    proposals : Proposals
    visits : deque
        What others want done between two steps.
    """

    tiers_of: ClassVar[type[StepModes]] = StepModes
    evaluate_together: Callable[[Callable[[], Any], int], Any] | None = None
    stepper: Stepper
    tiers: StepModes
    securing: Securing

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bound: Bound | None = None
        self.visits: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self.securing = Securing(self)
        self.proposals = Proposals(self)
        choose_loss(self)
        choose_optimizer(self)
        self.stepper = Stepper(self)
        self.train_step = self.stepper.train_step
        self.eager.split.unchanged = lambda: unchanged(self, buffers=False)
        self.tiers = self.tiers_of(self)
        rebuild(self)
        self.hands = Hands(self)

    @property
    def is_half_way(self) -> bool:
        """Whether an interrupt left a step, a change or a way back unfinished; asked where nobody pulls."""
        return self.half_done or self.bound is not None

    # -- what trains

    def receive(self) -> None:
        """Do what was asked for to be done between two steps; it changes nothing of the training."""
        act, visit = self.visits.popleft()
        try:
            visit.set_result(act())
        except BaseException as error:  # whatever the user's model raises: it is for who asked
            visit.set_exception(error)

    def go_on(self) -> None:
        """Look, after a rest, what the user changed by hand."""
        if find_modes():  # those of who goes on, which compiled steps do not have
            self.tiers.note_change()
        if self.hands.look():
            rebuild(self)
        self.notice()

    def tune(self, change: Mapping[str, Any]) -> str:
        """Train just what ``change`` says from now on; return what that took over, in words."""
        if change.get("touched"):
            self.hands.take()
        self.material.apply(change)
        return tell_carried([], rebuild(self))

    # -- ends

    def end_reason(self) -> str:
        """Return why the run is over, or ""."""
        if not self.may_end:  # nothing happened since it was last asked
            return ""
        for reason in (end_reason() for end_reason in self.acting.end_reason):
            if reason:
                return reason
        if self.plan.is_over(self.step, self.cursor.epoch):
            return self.plan.end_reason()
        self.may_end = False
        return ""

    def forget_unmeasured(self, seconds: float) -> None:
        """Drop what was not measured yet, and set the run's clock: the run is somewhere else now."""
        self.may_end = True
        self.hands.forget()
        self.proposals.forget()
        self.context.forget()
        self.meter.forget(seconds)
        self.recent.clear()
        self.trouble = None
        self.restored_at = -1
