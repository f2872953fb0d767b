"""How a run's next step is done: eagerly, by what was compiled, or by an optimizer that evaluates several times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from nbopt.data.samples import count_samples, find_samples
from nbopt.techniques.optimizers.groups import own_zero_grad
from nbopt.techniques.optimizers.update import Update
from nbopt.training.core import Call, Core
from nbopt.training.failure import Failure, explain_graph, is_out_of_memory
from nbopt.training.material import tell_of_look, tell_of_thaw
from nbopt.training.rates import set_rate
from nbopt.training.step.drawn import find_drawing, seeded
from nbopt.training.step.eager import RECENT_BATCHES
from nbopt.training.step.passes import call_on_pair
from nbopt.training.user_code.callables import functions_of
from nbopt.training.user_code.strangers import find_strangers, tell_of_strangers

_WARY_STEPS = 1000  # while another thread may be in the middle of model.eval(), which goes module by module


class Stepper:
    """Does the steps of a run, one after the other.

    Parameters
    ----------
    training : Core

    Attributes
    ----------
    leaves_out : bool
        Whether it does no update where gradients are no numbers.
    update : callable
        Updates the weights by their gradients.
    """

    leaves_out: bool
    update: Callable[[], None]

    def __init__(self, training: Core) -> None:
        self._training = training
        self._wary = 0
        functions = functions_of(training.loss)
        functions += [] if training.pass_.forward is call_on_pair else [training.pass_.forward]
        self._strangers = tuple(find_strangers(functions, training.material))

    def choose(self) -> None:
        """Have steps done on weights, and by an optimizer, as they are now; called before the first."""
        training = self._training
        gradients, optimizer = training.eager.gradients, training.torch_optimizer
        training.eager.zero_grad = own_zero_grad(optimizer)
        own = (replace(gradients, optimizer, training.params) for replace in training.acting.replace_step)
        found = next(filter(None, own), None)
        self.leaves_out = found is not None and found.leaves_out
        self._gradients: Callable[[Any, int, bool], Tensor] = gradients if found is None else found.gradients
        self.update = Update(optimizer, training.groups.resting) if found is None else found.update
        self._resting = tuple(weight for weight in training.params if id(weight) in training.groups.resting)
        drawing = find_drawing(optimizer)
        training.eager.update_draws = bool(drawing)
        training.noise.draw_too(drawing)
        if drawing:
            self.update = seeded(self.update, training)

    def train_step(self) -> int:
        """Do the next step, or some by what was compiled; return how many, 0 if memory ran out."""
        self.begin()
        tiers = self._training.tiers
        ready = tiers.ready() if tiers.steps else None
        return self._step() if ready is None else self._call(*ready)

    def begin(self) -> None:
        """Make the run ready for a step, whoever does it."""
        training = self._training
        training.half_done = True
        if not training.step:
            for act in training.acting.before_first_step:
                act()
        for ready in training.acting.before_step:
            ready()
        if training.model.training is not training.material.mode:
            self._wary = _WARY_STEPS
        if self._wary:
            self._wary -= 1
            training.material.put_back()

    def take(self, losses: Tensor) -> int:
        """Take note of steps that were done, of which these are the losses (steps,); return how many."""
        training, count = self._training, len(losses)
        if training.acting.after_step:
            for loss in losses.unbind():
                for note in training.acting.after_step:
                    note(loss)
        training.meter.take_row(losses)
        training.advance(count)
        return count

    def _call(self, compiled: Call, count: int) -> int:
        """Do steps by what was compiled."""
        training = self._training
        each = training.tiers.steps
        keep = bool(training.metrics) and self.is_measured_within(RECENT_BATCHES + count)
        batches = training.cursor.peek_each(count, each)
        losses, outputs = compiled(batches)
        if keep:
            for found, (_x, y) in zip(outputs, batches, strict=True):
                for output, target in zip(found, y.chunk(each), strict=True):
                    training.recent.keep(output, target)
        return self.take(losses)

    def is_measured_within(self, steps: int) -> bool:
        """Whether the metrics of what is trained on may be asked for after so many steps."""
        training = self._training
        return training.plan.ahead(training.step) <= steps or training.cursor.ends_within(steps)

    def _step(self) -> int:
        """Do one step, one operation after the other."""
        training = self._training
        batch: Any = None
        step = training.step
        keep = bool(training.metrics) and self.is_measured_within(RECENT_BATCHES)
        full, acting, drawn_from = training.optimizer.repeats, training.acting, training.noise.states
        if training.buffers.moving:
            training.buffers.keep()
        try:
            batch = training.cursor.peek()
            loss = self._full_step(batch, keep) if full else self._gradients(batch, step, keep)
        except Exception as error:
            # Nothing has been updated yet; buffers may have been.
            training.half_done = batch is not None and (full or next(training.model.buffers(), None) is not None)
            leaf = find_samples(batch) if is_out_of_memory(error) and batch is not None else None
            less = {} if leaf is None else self._need_less(count_samples(batch, leaf))
            if not less:
                explain_graph(error)
                raise
            training.loss.discard()
            training.buffers.put_back()
            training.noise.states = drawn_from
            training.trouble = Failure(step, str(error), memory=True, less=less)
            training.half_done = False
            return 0
        if training.model.training is not training.material.mode:
            tell_of_look(step, training.pass_.tell)
        if self._strangers:
            tell_of_strangers(self._strangers, training.pass_.tell)
            self._strangers = ()
        if thawed := [weight for weight in self._resting if weight.grad is not None]:  # by the model's own code
            held = {id(weight) for group in training.torch_optimizer.param_groups for weight in group["params"]}
            training.look_soon()
            if not held.issuperset(map(id, thawed)):
                tell_of_thaw(step, training.pass_.tell)
        if not full:
            for act in acting.after_gradients:
                act()
            if acting.change_rate:
                set_rate(training)
            self.update()
        for note in acting.after_step:
            note(loss)

        training.meter.take(loss)
        training.advance(1)
        return 1

    def _need_less(self, samples: int) -> dict[str, Any]:
        """Return changes by which a step on so many samples needs less memory."""
        return next(filter(None, (need_less(samples) for need_less in self._training.acting.need_less)), {})

    def _full_step(self, batch: Any, keep: bool) -> Tensor:
        training = self._training

        def evaluate(differentiate: Callable[[Tensor], Any] | None = None) -> Tensor:
            loss = training.eager.gradients(batch, training.step, keep, differentiate, graph=differentiate is not None)
            training.loss.note_evaluation()
            for act in training.acting.after_gradients:
                act()
            return loss

        training.hyperparams.check_together({})
        set_rate(training)
        return training.optimizer.full_step(evaluate)
