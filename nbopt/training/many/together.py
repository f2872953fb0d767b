"""Steps of many runs, done at once where that can be done, and one run after the other where it cannot."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from nbopt.i18n import _
from nbopt.training.loss_buffer import Block
from nbopt.training.many.alone import do_one, look_at_all
from nbopt.training.many.batches import (
    find_settings,
    find_step_rates,
    have_one_source,
    is_in_memory,
    is_pair,
    keeps,
    see_the_same,
    stacked,
    take_step_rates,
)
from nbopt.training.many.blocks import Numbers, find_slots
from nbopt.training.many.compiled import CompiledSteps
from nbopt.training.many.evaluation import Evaluation
from nbopt.training.many.gradients import Gradients
from nbopt.training.many.machine import Planned, do_compiled
from nbopt.training.many.member import OneOfMany
from nbopt.training.many.news import News
from nbopt.training.many.noise import Pair, StepNoise
from nbopt.training.many.reasons import calls_functions, find_difference, find_reason, has_gaps, tell_failure
from nbopt.training.many.right import agree_alone
from nbopt.training.many.stack import Stack
from nbopt.training.many.traced import Abandoned, never
from nbopt.training.many.update_all import UpdateAll

_CALL_SECONDS = 0.1  # how long steps of few runs may take until each run takes note of them
_MOST = 64  # steps of which runs take note at once
_ROWS = 32  # of which losses are moved between two looks whether somebody waits
_STEPPED_SECONDS = 0.25  # since the last step, after which none is broken off


class Together:
    """Does the next steps of many runs.

    Attributes
    ----------
    reason : str
        Why runs are stepped one after the other, in words; "" where they are stepped at once.
    evaluation : Evaluation
        Their validation batches.
    compiled : CompiledSteps
        Their steps as machine code.
    tier : str
        How the last steps were done: ``""``, each by itself, ``together``, ``compiled``, ``whole``: validations, too.
    held : str or None
        How the next ones are to be done, where they were done before.
    """

    def __init__(self) -> None:
        self.reason = self.tier = ""
        self.held: str | None = None
        self.evaluation = Evaluation()
        self._stack: Stack | None = None
        self._versions: dict[int, int] = {}  # of what is known of each run, by its id
        self._gradients: Gradients
        self._made_of: OneOfMany | None = None  # the run that these are made of
        self._noise: StepNoise
        self._update: UpdateAll
        self._numbers: Numbers
        self._source = False  # whether all are dealt the same samples
        self.compiled = CompiledSteps()
        self._seconds = _CALL_SECONDS  # that a step takes
        self._compared = self._updated = False
        self._news = News()
        self._stepped_at = 0.0  # when the last step was done, of the thread's own time

    def __call__(
        self,
        trainings: Sequence[OneOfMany],
        room: float,
        has_news: Callable[[], bool] = never,
        has_changes: Callable[[], bool] = never,
    ) -> list[int | Exception]:
        """Do the next steps of these runs; return how many of each were done, or why none was.

        Parameters
        ----------
        trainings : sequence of OneOfMany
        room : float
            How many steps are wanted, at most.
        has_news : callable
            Whether somebody waits for what is done between two steps: then no more are done.
        has_changes : callable
            Whether somebody waits for a change to act: then the step under way may be broken off, and is done with it.
        """
        self.evaluation.forget()
        self._news.has_news, self._news.has_changes = has_news, has_changes
        if self.held != "" and self._are_known(trainings) and self._suit(trainings):
            if counts := self._do(room):
                self.tier = self.evaluation.tier(self.compiled)
                return [*counts]
        self.tier = ""
        return [do_one(training) for training in trainings]

    # -- whether it can be done

    def _are_known(self, trainings: Sequence[OneOfMany]) -> bool:
        """Whether a first batch of each was looked at: whether outputs suit the loss, and how large losses are.

        This is done now, where their steps may be done at once.
        """
        unknown = [training for training in trainings if not training.pass_.checked]
        if unknown and (any(one.find(find_reason) for one in trainings) or find_difference(trainings)):
            return False
        return not unknown or look_at_all(unknown)

    def _suit(self, trainings: Sequence[OneOfMany]) -> bool:
        """Whether these runs can be stepped together; make what that needs, anew as far as something changed."""
        stack, known = self._stack, self._versions
        held = stack is not None and stack.holds(trainings)
        changed = [training for training in trainings if known.get(id(training)) != training.tiers.version]
        if not changed and len(known) == len(trainings) and (held or self.reason):
            return not self.reason
        if held:  # else these are others, and nobody may have acted
            self._news.note()
        reason = self._find_reason(trainings, changed)
        stays = held and not reason and stack is not None and all(map(stack.trains_the_same, changed))
        if stack is not None and not stays and (reason or not stack.follow(trainings)):
            stack.let_go([] if reason else trainings)
            self._stack = None
            self.evaluation.stop()
        if not reason and not (stays and self._made_of is trainings[0] and trainings[0] not in changed):
            try:
                made = Gradients(trainings[0], trainings[0].cursor.peek())
                if self._made_of is not None:
                    made.take_over(self._gradients)
                self._gradients, self._made_of = made, trainings[0]
            except Exception as error:  # the model was never called like this: without gradients, in evaluation mode
                reason = tell_failure(error)
        if not reason:
            self._stack = self._stack or Stack(trainings, find_slots(trainings, self._gradients.size, stack))
            rows = self._stack.trainings
            self._noise = StepNoise(self._gradients.layers(rows[0].cursor.peek()), rows)
            self._update = UpdateAll(self._stack, rows)
            self._numbers, self._source = Numbers(rows), have_one_source(rows)
            self.evaluation.use(self._gradients, self._stack)
        self.reason = reason
        self._versions = {id(training): training.tiers.version for training in trainings}
        return not reason

    def _find_reason(self, trainings: Sequence[OneOfMany], changed: Sequence[OneOfMany]) -> str:
        reason = next(filter(None, (one.find(find_reason) for one in trainings)), "") or find_difference(trainings)
        if not reason and not is_pair(trainings[0].cursor.peek()):
            reason = _("the batches are not pairs of tensors")
        if not reason and any(map(has_gaps, changed)):
            reason = _("some weights get no gradient")
        return reason

    def _refuse(self, reason: str) -> list[int]:
        assert self._stack is not None
        self._stack.let_go([])
        self._stack, self.reason = None, reason
        self.evaluation.stop()
        return []

    # -- steps

    def _do(self, room: float) -> list[int]:
        """Do as many steps of all as fit; return none where it turns out that this cannot be done."""
        assert self._stack is not None
        trainings = self._stack.trainings  # in the order of their rows
        for training in trainings:
            training.stepper.begin()
        # What a technique does in a step may depend on the step before.
        single = any(one.acting.obstacle or one.acting.changes_batches for one in trainings)
        single = single or any(map(calls_functions, trainings))  # which may fail in any step
        single = single or not all(map(is_in_memory, trainings))
        self.compiled.at_work = self.compiled.at_work and not single
        # Runs look at their losses no more often than that.
        seconds = max(_CALL_SECONDS, trainings[0].meter.flush_seconds)
        count = int(min(room, 1 if single else _MOST, max(1.0, seconds / self._seconds)))
        for training in trainings:
            count = training.room(count) if count > 1 else 1
        first = trainings[0].cursor
        if together := self._source and see_the_same(trainings):
            batches = [first.peek(count)]
        else:
            batches = [training.cursor.peek(count) for training in trainings]
            if not all(map(is_pair, batches)):
                return self._refuse(_("the batches are not pairs of tensors"))
        groups: dict[Any, list[int]] = {}
        for row in range(len(trainings)):
            x, y = batches[0 if together else row]
            groups.setdefault((x.shape, y.shape), []).append(row)
        losses = torch.empty(count, len(trainings), device=trainings[0].device)
        rates = find_step_rates(trainings, count) if not single else None
        self._updated = False
        done, start = count, time.thread_time()  # of this thread alone: others are no reason to look more often
        try:
            for rows in groups.values():  # of one, if there are several steps
                own = [trainings[row] for row in rows]
                seen = batches if together else [batches[row] for row in rows]
                some = None if len(groups) == 1 else torch.tensor(rows, device=losses.device)
                if not (done := self._do_rows(own, rows, some, seen, losses, rates)):
                    return self._refuse(_("done at once, the steps compute something else"))
        except Abandoned:
            for training in trainings:
                training.half_done = False
            return [0] * len(trainings)
        except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:
            if self._updated:
                raise
            if "called random operation" in str(error):
                return self._refuse(_("code of your own draws random numbers"))
            return self._refuse(tell_failure(error))
        self._seconds = (time.thread_time() - start) / done
        if together or done < count:
            for training in trainings:
                training.cursor.deal(done)
        if rates is not None:
            take_step_rates(trainings, rates[:done])
        block, hurry = Block(losses[:done]), False
        for row, training in enumerate(trainings):
            hurry = hurry or (row % _ROWS == 0 and self._news.is_there())
            if training.acting.after_step:
                training.stepper.take(losses[:done, row])
            else:
                training.take_block(block, row, done, hurry)
        return [done] * len(trainings)

    def _may_break_off(self, trainings: Sequence[OneOfMany]) -> bool:
        """Whether a step leaves no trace before its update; a slider that is moved all the while stops no training."""
        begun = self.tier == "together" and time.thread_time() < self._stepped_at + _STEPPED_SECONDS
        return begun and not any(one.acting.before_step or not one.step for one in trainings)

    def _do_rows(
        self,
        trainings: Sequence[OneOfMany],
        rows: Sequence[int],
        some: Tensor | None,
        batches: Sequence[Pair],
        losses: Tensor,
        rates: Any,
    ) -> int:
        """Do steps of runs whose batches are of one shape; return how many, 0 where a single run would do others."""
        stack, count = self._stack, len(losses)
        assert stack is not None
        settings, shared = find_settings(trainings), len(batches) == 1
        size = len(batches[0][1]) // count
        layers = self._gradients.layers((batches[0][0][:size], batches[0][1][:size]))
        ready: list[Tensor] | None = None
        if any(one.acting.changes_batches for one in trainings):
            each = [*batches] * len(rows) if shared else batches
            (x, y), ready = self._noise.prepare(layers, trainings, rows, each)
            shared = False
        else:
            x, y = batches[0] if shared else stacked(batches)
        kept = [row for row, training in enumerate(trainings) if keeps(training, count)]
        compared = self._compared or self.compiled.is_awaited
        if compared and some is None and ready is None and rates is not None and size == trainings[0].cursor.batch_size:
            planned = Planned(trainings, layers, (x, y), shared, losses, rates, kept)
            has_news, most = self._news.is_there, self._news.most(self._seconds)
            if done := do_compiled(planned, stack, self.compiled, self._noise, self._numbers, has_news, most):
                self._compared = True  # once at least: before they were stored
                self._update.count(trainings, done)
                return done
        dropped = self._noise.rates(layers, rows)
        for step in range(count):
            if step and self._news.is_there():
                return step
            part = slice(step * size, (step + 1) * size)
            batch = (x[part], y[part]) if shared else (x[:, part].contiguous(), y[:, part].contiguous())
            masks = self._noise.masks(layers, trainings, dropped, step) if ready is None else ready
            held = stack.rows(some)
            is_urgent = self._news.is_urgent if some is None and self._may_break_off(trainings) else never
            held_now = held.weights, held.fixed, held.buffers
            try:
                passed = self._gradients(*held_now, masks, settings, batch, shared, is_urgent)
            except Abandoned:
                if step:
                    return step
                raise
            if not self._compared:
                if not agree_alone(trainings, batches, passed):
                    return 0
                self._compared = True
            self._updated = True
            with torch.no_grad():
                self._update(trainings, rows, held, passed, None if rates is None else rates[step, rows])
                stack.put(some, held, passed.buffers)
            self._stepped_at = time.thread_time()
            losses[step, slice(None) if some is None else some] = passed.losses
            for row in kept:
                trainings[row].recent.keep(passed.outputs[row], passed.targets[row])
        return count
