"""The material of a run once data and model are known: what a step does, what a validation does.

Knows nothing of threads, pauses or notebooks. `nbopt.training.loop` calls it in order; whatever a later `events()`
needs to go on after an interruption is here, none of it in the generator.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import torch
from torch import nn

from nbopt.data.cursor import Cursor
from nbopt.data.noise import EVALUATION, NOISE, Noise, derive_seed
from nbopt.data.sources import AnySource
from nbopt.formatting import brief, count
from nbopt.hyperparams import Hyperparams
from nbopt.i18n import _
from nbopt.objects.keeper import Keeper
from nbopt.record.history import History
from nbopt.record.snapshots import Snapshots
from nbopt.techniques.base import Technique
from nbopt.techniques.context import Context
from nbopt.techniques.losses.base import Loss
from nbopt.techniques.losses.choice import LOSS
from nbopt.techniques.metrics.choice import Metric
from nbopt.techniques.metrics.measuring import Measuring
from nbopt.techniques.optimizers.base import Optimizer
from nbopt.techniques.optimizers.groups import Groups
from nbopt.techniques.plan import Plan
from nbopt.training.active_hooks import ActiveHooks, tell_carried
from nbopt.training.failure import Failure, is_sound
from nbopt.training.hands import Hands
from nbopt.training.loss_buffer import LossBuffer
from nbopt.training.material import Material
from nbopt.training.outside import unchanged
from nbopt.training.reactions import choose_loss, choose_optimizer
from nbopt.training.rebuild import rebuild
from nbopt.training.securing import Securing
from nbopt.training.state import Bound
from nbopt.training.step.buffers import Buffers
from nbopt.training.step.eager import Eager, OutputBuffer
from nbopt.training.step.mode import StepModes
from nbopt.training.step.passes import Forward, ForwardPass
from nbopt.training.stepper import Stepper

_LOOK_SECONDS = 0.1  # between two thoughts about the tier


class Training:
    """Model, data and parts of one run, ready to step.

    Attributes
    ----------
    step : int
        Steps completed.
    validation_due : bool
        Whether an epoch, or what is to be validated of one, is complete and not yet judged.
    trouble : Trouble or None
        What has to be put right before the next step.
    material : Material
    groups : Groups
    half_done : bool
        Whether something is under way: what an interrupt leaves so, `Worker.put_right` does again.
    bound : Bound or None
        Where the run is going back to.
    edits : list of dict
        What was made of the model's shape, as the journal has it.
    may_end : bool
        Whether anything happened since `end_reason` was asked that could be a reason.
    stepper : Stepper
    restored_at : int
        The step after which the best weights were put back last; -1 for none.
    """

    def __init__(
        self,
        train: AnySource,
        val: AnySource | None,
        hyperparams: Hyperparams,
        history: History,
        metrics: dict[str, Metric],
        material: Material,
        forward: Forward | None,
        optimizer: torch.optim.Optimizer | None,
        seed: int,
        device: torch.device,
        techniques: Sequence[Technique] = (),
    ) -> None:
        self.model = model = material.model
        self.val = val
        self.hyperparams = hyperparams
        self.history = history
        self.step = 0
        self.validation_due = False
        self.trouble: Failure | None = None
        self.half_done = False
        self.bound: Bound | None = None
        self.best_weights: dict[str, Any] = {}  # a state_dict
        self.edits: list[dict[str, Any]] = []
        self.keeper = Keeper()
        self.snapshots = Snapshots()
        self.securing = Securing(self)
        self.metrics = metrics
        self.device = device
        self.noise = Noise(device)
        self.evaluation_seed = derive_seed(seed, EVALUATION)
        self.measuring = Measuring(metrics)
        self.recent = OutputBuffer(self.measuring.places)
        self.material = material
        self.buffers = Buffers([model, *material.others.values()])
        self.parts_compared = False  # whether samples that are evaluated in parts were found independent
        self.most_evaluated = 0  # samples that a validation may evaluate at once; 0: as many as its batches have
        material.settle()
        self.visits: deque[tuple[Callable[[], Any], Future[Any]]] = deque()  # what others want done between two steps
        self.is_tuned = False  # whether the user changed what trains, and it was not journaled yet
        self.params = list(self.material.parameters.values())
        self.groups = Groups(self.params, optimizer)
        self.groups.resting = self.find_resting()
        self.restored_at = -1
        self.may_end = True
        self._look_at = 0.0

        self.cursor = Cursor(train, seed)
        self.plan = Plan()
        for part in (self.cursor, self.plan):
            hyperparams.bind(part)
        self.step_seed = derive_seed(seed, NOISE)
        measures = [name for technique in techniques for name in technique.measures]
        kinds: Any = hyperparams.spec(LOSS.name)
        measures += [name for kind in kinds.classes.values() for name in kind.measures]
        self.techniques = techniques
        self.context = Context(model, device, seed, self, measures)
        self.acting = ActiveHooks(hyperparams, self.find_trained(), train, self.context, techniques)
        self.judge = self.acting.judging
        self.meter = LossBuffer(history, self.acting)
        self.pass_ = ForwardPass(model, forward, (train, val), self.acting, self.measuring, self.noise)
        self.eager = Eager(self.pass_, self.params, self.noise, self.step_seed, self.recent)
        self.loss: Loss
        self.optimizer: Optimizer
        self.torch_optimizer: torch.optim.Optimizer
        choose_loss(self)
        choose_optimizer(self)
        self.stepper = Stepper(self)
        self.train_step = self.stepper.train_step
        self.eager.split.unchanged = lambda: unchanged(self, buffers=False)
        self.tiers = StepModes(self)
        rebuild(self)
        self.hands = Hands(self)

    @property
    def is_half_way(self) -> bool:
        """Whether an interrupt left a step, a change or a way back unfinished; asked where nobody pulls."""
        return self.half_done or self.bound is not None

    @property
    def share(self) -> float:
        """The part of the run that is done, from 0 to 1."""
        return self.plan.share(self.step, self.cursor.progress)

    # -- changes: see `nbopt.training.reactions`

    def measure_anew(self, why: str = "scale") -> None:
        """Take note that losses have another size from the next batch on, see `Hooks.losses_change`."""
        for note in self.acting.losses_change:
            note(why)
        if why == "loss":  # those before are not comparable: the next validation is the best so far
            self.best_weights = {}
        self.pass_.look_again()

    # -- what trains

    def find_resting(self) -> set[int]:
        """Return the ids of the weights that do not train."""
        return {id(self.material.parameters[name]) for name in self.material.resting}

    def find_trained(self) -> list[nn.Parameter]:
        """Return the weights that steps move, in the model's order: those of the optimizer that are not frozen."""
        held = {id(weight) for group in self.groups.trained for weight in group}
        return [weight for weight in self.params if id(weight) in held]

    def receive(self) -> None:
        """Do what was asked for to be done between two steps; it changes nothing of the training."""
        act, visit = self.visits.popleft()
        try:
            visit.set_result(act())
        except BaseException as error:  # whatever the user's model raises: it is for who asked
            visit.set_exception(error)

    def go_on(self) -> None:
        """Look, after a rest, what the user changed by hand."""
        if self.hands.look():
            rebuild(self)
        self.notice()

    def notice(self) -> None:
        """Look whether the user froze or unfroze weights."""
        self.is_tuned = self.find_tuning() is not None

    def find_tuning(self) -> dict[str, Any] | None:
        """Return what the user changed in model and optimizer since they were last looked at; None if nothing."""
        change, touched = self.material.find_change(), self.hands.found
        if touched:
            change = change or {**self.material.place(), "reason": ""}
            change.update(reason="; ".join(filter(None, [change["reason"], touched])), touched=True)
        return change

    def tune(self, change: Mapping[str, Any]) -> str:
        """Train just what ``change`` says from now on; return what that took over, in words."""
        if change.get("touched"):
            self.hands.take()
        self.material.apply(change)
        return tell_carried([], rebuild(self))

    # -- between two steps

    def advance(self, count: int) -> None:
        """Take note that ``count`` steps are done: go on to the next batch, and look at what is due."""
        self.step += count
        try:
            done = self.cursor.advance()
        except Exception:  # the next batch could not be had: this step is done
            self.half_done = False
            raise
        if done:
            self.end_epoch(done)
        plan = self.plan
        if (plan.validate_every or plan.steps) and plan.validates_step(self.step):  # most runs have neither
            self.validation_due = self.may_end = True
        self.half_done = False
        now = time.perf_counter()
        if now >= self.meter.due:
            self.flush()
        if now >= self._look_at:  # not with the losses: validations move them too, and would put this off
            self._look_at = now + _LOOK_SECONDS
            self.buffers.look()
            self.notice()
            self.tiers.look()

    def end_epoch(self, done: bool) -> None:
        """Take note that an epoch is complete, if it is ``done``."""
        if done and self.plan.validates_epoch(self.step, self.cursor.epoch):
            self.validation_due = self.may_end = True

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

    # -- what was measured

    def forget_unmeasured(self, seconds: float) -> None:
        """Drop what was not measured yet, and set the run's clock: the run is somewhere else now."""
        self.may_end = True
        self.hands.forget()
        self.context.forget()
        self.meter.forget(seconds)
        self.recent.clear()
        self.trouble = None
        self.restored_at = -1

    def flush(self) -> None:
        """Move the losses measured since the last flush to the history; look at them, and take a snapshot if due."""
        news = self.meter.waiting
        before, self.half_done = self.half_done, True
        wrong = self.meter.flush(self.step, self.cursor.progress, partial(is_sound, self))
        self.context.hand_over(self.history.append)
        if self.history.is_thinned:
            text = _("so many steps are done that the history keeps, of the older losses, the extremes alone.")
            self.pass_.tell(text)
            self.history.is_thinned = False
        if wrong is not None:
            step, loss = wrong
            text = _("loss {loss} in step {step}", loss=brief(loss), step=count(step))
            self.trouble = Failure(step, text, memory=False, loss=loss)
        self.half_done = before
        if news and self.trouble is None:
            self.securing.take_if_due()
