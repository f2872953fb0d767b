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
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nbopt.data.cursor import Cursor
from nbopt.data.noise import EVALUATION, NOISE, Noise, derive_seed
from nbopt.data.samples import count_samples, find_samples
from nbopt.data.sources import AnySource
from nbopt.hyperparams import Hyperparams
from nbopt.i18n import _
from nbopt.objects.keeper import Keeper
from nbopt.record.history import History
from nbopt.record.snapshots import Snapshots
from nbopt.techniques.base import Technique
from nbopt.techniques.context import Context
from nbopt.techniques.inputs.preprocessing import RESCALING
from nbopt.techniques.losses.base import Loss
from nbopt.techniques.losses.choice import LOSS
from nbopt.techniques.metrics.choice import Metric
from nbopt.techniques.metrics.measuring import Measuring
from nbopt.techniques.optimizers.base import Optimizer
from nbopt.techniques.optimizers.groups import Groups
from nbopt.techniques.optimizers.standard import OPTIMIZER
from nbopt.techniques.optimizers.update import Update
from nbopt.techniques.plan import Plan
from nbopt.training.active_hooks import ActiveHooks, tell_carried
from nbopt.training.compile.compiled import Compiled
from nbopt.training.failure import Failure, explain_graph, is_out_of_memory, is_sound
from nbopt.training.hands import Hands
from nbopt.training.loss_buffer import LossBuffer
from nbopt.training.material import Material, find_strangers, tell_of_look, tell_of_strangers
from nbopt.training.outside import functions_of, unchanged
from nbopt.training.rates import set_rate, tell_of_standstill
from nbopt.training.rebuild import rebuild
from nbopt.training.securing import Securing
from nbopt.training.step.buffers import Buffers
from nbopt.training.step.eager import RECENT_BATCHES, Eager, OutputBuffer
from nbopt.training.step.mode import StepModes
from nbopt.training.step.passes import Forward, ForwardPass

_LOOK_SECONDS = 0.1  # between two thoughts about the tier
_WARY_STEPS = 1000  # while another thread may be in the middle of model.eval(), which goes module by module


class Bound(NamedTuple):
    """Where a run is going back to, while it does: to ``step``, or where a rewind journaled since says.

    Attributes
    ----------
    step : int
    entries : int
        Entries of the journal when it set out.
    """

    step: int
    entries: int


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
        Whether something is under way: what an interrupt leaves so, `Driver.put_right` does again.
    bound : Bound or None
        Where the run is going back to.
    edits : list of dict
        What was made of the model's shape, as the journal has it.
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
        self._wary = 0
        self.is_tuned = False  # whether the user changed what trains, and it was not journaled yet
        self.params = list(self.material.parameters.values())
        self.groups = Groups(self.params, optimizer)
        self.groups.resting = self.find_resting()
        self.restored_at = -1
        self._may_end = True  # whether anything happened since `end_reason` was asked that could be a reason
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
        self.eager = Eager(
            self.pass_,
            self.params,
            self.noise,
            self.step_seed,
            self.recent,
        )
        self.loss: Loss
        self.optimizer: Optimizer
        self._choose_loss()
        self._choose_optimizer()
        self._strangers = find_strangers([*functions_of(self.loss), self.pass_.forward], material)
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

    # -- changes

    def changed(self, name: str) -> str:
        """React to a change, which has reached its part; return what a swap took over, in words."""
        self._may_end = True
        scheduled, grouped, size = self.acting.change_rate, self.acting.change_groups, self.acting.part_size
        carried = self.acting.changed(name)
        if self.acting.part_size != size:
            self.eager.split.renew()
        if name in self.loss.declared() or name in RESCALING:
            self.measure_anew("loss" if self.loss.is_judged_anew(name) else "scale")
        if name == "optimizer":
            before = self.optimizer
            self._choose_optimizer()
            if before is not self.optimizer:
                carried = tell_carried(*self.optimizer.take_over(before))
                if self.optimizer.full_batch:
                    carried = "; ".join(filter(None, [_("each step takes all samples of an epoch"), carried]))
                self.hyperparams.unbind(before)
                rebuild(self)
        elif name == "loss":
            self.hyperparams.unbind(self.loss)
            self._choose_loss()
            self.eager.split.renew()
            self.measure_anew("loss")
        elif name == "batch_size":
            self.end_epoch(self.cursor.resize())
            if any(part.traits.reduction == "sum" for part in self.loss.parts.values()):  # on another scale now
                self.measure_anew("loss")
        elif name in ("lr", "weight_decay"):
            carried = self.optimizer.explain(name)
        elif self.acting.is_of("lay_out", name) or self.acting.is_of("replace_step", name):
            rebuild(self)
        if grouped and not self.acting.change_groups:
            self.optimizer.renew()
        elif scheduled and not self.acting.change_rate:
            self.optimizer.set_rate(self.optimizer.lr)
        tell_of_standstill(self)
        self.tiers.note_change()
        return carried

    def _choose_loss(self) -> None:
        spec: Any = self.hyperparams.spec(LOSS.name)
        self.loss = spec.classes[self.hyperparams["loss"]]()
        self.hyperparams.bind(self.loss)
        self.acting.include("loss", self.loss)
        self.pass_.use(self.loss)

    def measure_anew(self, why: str = "scale") -> None:
        """Take note that losses have another size from the next batch on, see `Hooks.losses_change`."""
        for note in self.acting.losses_change:
            note(why)
        if why == "loss":  # those before are not comparable: the next validation is the best so far
            self.best_weights = {}
        self.pass_.look_again()

    def _choose_optimizer(self) -> None:
        spec: Any = self.hyperparams.spec(OPTIMIZER.name)
        kind = spec.classes[self.hyperparams["optimizer"]]
        if type(getattr(self, "optimizer", None)) is kind:
            return
        if kind.full_batch and self.cursor.epoch_size is None:
            rule = _("it takes all samples at once, which batches from a stream do not allow")
            raise ValueError(f"{kind.__name__}: {rule}.")
        optimizer: Optimizer = kind()
        self.hyperparams.bind(optimizer)
        self.torch_optimizer = optimizer.build(self.groups)
        self.optimizer = optimizer
        self.cursor.whole = kind.full_batch

    def choose_step(self) -> None:
        """Have steps done on weights, and by an optimizer, as they are now."""
        own = (replace(self.eager.gradients, self.torch_optimizer, self.params) for replace in self.acting.replace_step)
        found = next(filter(None, own), None)
        self.leaves_out = found is not None and found.leaves_out
        self._gradients: Callable[[Any, int, bool], Tensor]
        self._update: Callable[[], None]
        if found is None:
            self._gradients, self._update = self.eager.gradients, Update(self.torch_optimizer)
        else:
            self._gradients, self._update = found.gradients, found.update

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

    # -- one step

    def train_step(self) -> int:
        """Do the next step, or as many as a compiled call does; return how many, 0 if memory ran out."""
        self.half_done = True
        if not self.step:
            for act in self.acting.before_first_step:
                act()
        if self.model.training is not self.material.mode:
            self._wary = _WARY_STEPS
        if self._wary:
            self._wary -= 1
            self.material.put_back()
        compiled = self.tiers.ready() if self.tiers.steps else None
        return self._step() if compiled is None else self._call(compiled)

    def _call(self, compiled: Compiled) -> int:
        """Do the steps of a compiled call."""
        count = self.tiers.steps
        keep = bool(self.metrics) and self._is_measured_within(RECENT_BATCHES + count)
        x, y = self.cursor.peek(count)
        losses, *outputs = compiled(x, y)
        if keep:
            for output, target in zip(outputs[0], y.chunk(count), strict=True):
                self.recent.keep(output, target)
        for loss in losses:
            for note in self.acting.after_step:
                note(loss)
            self.meter.take(loss)
        self._advance(count)
        return count

    def _is_measured_within(self, steps: int) -> bool:
        """Whether the metrics of what is trained on may be asked for after so many steps."""
        return self.plan.ahead(self.step) <= steps or self.cursor.ends_within(steps)

    def _step(self) -> int:
        """Do one step, one operation after the other."""
        batch: Any = None
        step = self.step
        keep = bool(self.metrics) and self._is_measured_within(RECENT_BATCHES)
        full, acting, drawn_from = self.optimizer.repeats, self.acting, self.noise.states
        if self.buffers.moving:
            self.buffers.keep()
        try:
            batch = self.cursor.peek()
            loss = self._full_step(batch, keep) if full else self._gradients(batch, step, keep)
        except Exception as error:
            # Nothing has been updated yet; buffers may have been.
            self.half_done = batch is not None and (full or next(self.model.buffers(), None) is not None)
            leaf = find_samples(batch) if is_out_of_memory(error) and batch is not None else None
            less = {} if leaf is None else self._need_less(count_samples(batch, leaf))
            if not less:
                explain_graph(error)
                raise
            self.loss.discard()
            self.buffers.put_back()
            self.noise.states = drawn_from
            self.trouble = Failure(step, str(error), memory=True, less=less)
            self.half_done = False
            return 0
        if self.model.training is not self.material.mode:
            tell_of_look(step, self.pass_.tell)
        if self._strangers:
            tell_of_strangers(self._strangers, self.pass_.tell)
            self._strangers = []
        if not full:
            for act in acting.after_gradients:
                act()
            if acting.change_rate:
                set_rate(self)
            self._update()
        for note in acting.after_step:
            note(loss)

        self.meter.take(loss)
        self._advance(1)
        return 1

    def _need_less(self, samples: int) -> dict[str, Any]:
        """Return changes by which a step on so many samples needs less memory."""
        return next(filter(None, (need_less(samples) for need_less in self.acting.need_less)), {})

    def _advance(self, count: int) -> None:
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
            self.validation_due = self._may_end = True
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
            self.validation_due = self._may_end = True

    def _full_step(self, batch: Any, keep: bool) -> Tensor:
        def evaluate(differentiate: Callable[[Tensor], Any] | None = None) -> Tensor:
            loss = self.eager.gradients(batch, self.step, keep, differentiate, graph=differentiate is not None)
            self.loss.note_evaluation()
            for act in self.acting.after_gradients:
                act()
            return loss

        self.hyperparams.check_together({})
        set_rate(self)
        return self.optimizer.full_step(evaluate)

    # -- ends

    def end_reason(self) -> str:
        """Return why the run is over, or ""."""
        if not self._may_end:  # nothing happened since it was last asked
            return ""
        for reason in (end_reason() for end_reason in self.acting.end_reason):
            if reason:
                return reason
        if self.plan.is_over(self.step, self.cursor.epoch):
            return self.plan.end_reason()
        self._may_end = False
        return ""

    # -- what was measured

    def forget_unmeasured(self, seconds: float) -> None:
        """Drop what was not measured yet, and set the run's clock: the run is somewhere else now."""
        self._may_end = True
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
            self.pass_.tell(
                _("so many steps are done that the history keeps, of the older losses, the extremes alone.")
            )
            self.history.is_thinned = False
        if wrong is not None:
            step, loss = wrong
            text = _("loss {loss:g} in step {step}", loss=loss, step=step)
            self.trouble = Failure(step, text, memory=False, loss=loss)
        self.half_done = before
        if news and self.trouble is None:
            self.securing.take_if_due()
