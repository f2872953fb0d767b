"""Members that go on from a run for some steps, with values of their own, and are validated; in slices.

A slice is done between two steps of the run, by whoever trains it: nothing then draws random numbers beside it, fetches
samples beside it or waits for the device beside it, and the run's own steps are what they would be without.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nbopt.data.noise import NOISE, derive_seed
from nbopt.i18n import _
from nbopt.record.memory import available_memory
from nbopt.record.snapshots import Snapshot
from nbopt.run.copies.counters import Counters
from nbopt.run.copies.ties import Tied
from nbopt.run.past import check_tuning
from nbopt.run.population.forks import fork_member
from nbopt.run.population.member import Member
from nbopt.run.population.population import Population
from nbopt.run.population.values import find_shared
from nbopt.run.trained import TrainedSession
from nbopt.techniques.base import defines
from nbopt.techniques.catalogue import known_of
from nbopt.training.loop import pull_together
from nbopt.training.many.alone import do_one
from nbopt.training.snapshots.checkpoint import capture
from nbopt.training.snapshots.restoring import restore
from nbopt.training.validation import validate

SLICE_SECONDS = 0.01  # that the run is kept waiting at a time
_DRAW = 7919  # between the seeds of draws
_MEMORY = 0.25  # the part of what is free that members may take: the run has to go on
_COPIES = 2  # of a snapshot's tensors, that a member holds: weights and moments, and their rows among all members

Slices = Generator[None, None, Any]
"""What is done bit by bit, each between two steps."""


class Tried(NamedTuple):
    """What came of it.

    Attributes
    ----------
    losses : ndarray
        Of each row and draw, (rows, draws): the validation loss, or, of a run without validation, the mean training
        loss of the last quarter of the steps; NaN where it could not be found.
    now : float
        The validation loss before the first step; NaN without validation.
    step : int
        Steps that the run had done.
    """

    losses: NDArray[np.float64]
    now: float
    step: int


class _Enough(Exception):
    """Raised between two steps: as many are done as were asked for."""


class Trials:
    """Tries changes of a run's hyperparameters, time and again.

    What members are made of is kept from one time to the next, as long as nothing but values changed in the run.

    Parameters
    ----------
    run : TrainedSession
        Not changed by a bit, nor is its journal.
    """

    def __init__(self, run: TrainedSession) -> None:
        self.run = run
        self._kept: Trial | None = None

    def rows(self, rows: Sequence[Mapping[str, Any]], steps: int, draws: int) -> Slices:
        """Try changes, each row from where the run is, in slices; return a `Tried`.

        Parameters
        ----------
        rows : sequence of mapping of str to object
            Checked values by name.
        steps : int
            How many each does.
        draws : int
            How many times, each on other batches and with other noise; the first on those that the run would have.
        """
        run = self.run
        check_tuning(run)
        snapshot = capture(run.training)
        losses = np.full((len(rows), draws), math.nan)
        every = [(row, draw) for row in range(len(rows)) for draw in range(draws)]
        size, now, is_moved = _group_size(run, rows, snapshot, len(every)), math.nan, False
        for first in range(0, len(every), size):
            group = every[first : first + size]
            trial = self._trial([draw for _row, draw in group])
            for number, (row, draw) in enumerate(group):
                trial.put(number, snapshot, rows[row], draw)
                yield
            trial.prepare()
            if not first:
                yield from trial.measure(trial.population[:1])
                now = trial.found[0]
            yield from trial.do(steps)
            is_moved = is_moved or trial.is_moved
            if run.training.val is not None:
                yield from trial.measure(trial.population[:])
            for place, loss in zip(group, trial.found, strict=True):
                losses[place] = loss
            if not is_moved:
                raise trial.error or RuntimeError(_("the run has no step left to do: set epochs or steps higher."))
            self._kept = trial if trial.error is None and len(group) == len(every) else None
        return Tried(losses, now, snapshot.step)

    def _trial(self, draws: Sequence[int]) -> Trial:
        """Return members to put to where the run is: those of the last time, if they suit."""
        # A pause lets the user do anything to the model; edits and what is tuned change what copies are made of.
        key = (*draws, *(sum(entry.kind != "change" for entry in self.run.journal[:]),))
        kept, self._kept = self._kept, None
        return kept if kept is not None and kept.key == key else Trial(self.run, len(draws), key)


class Trial:
    """Members that go on from one snapshot.

    Parameters
    ----------
    run : TrainedSession
    size : int
        How many there are.
    key : object
        What they are made for.

    Attributes
    ----------
    population : Population
    found : list of float
        What was measured last, of each member.
    """

    def __init__(self, run: TrainedSession, size: int, key: object) -> None:
        self.key = key
        self._run = run
        self._off = _find_off(run)
        self.found: list[float] = []
        self._is_begun = False
        self.population = Population.__new__(Population)
        self.population.begin_with(run.spec, run.hyperparams.another(), size, lambda _made: [])
        self.population.is_quiet, self.population.puller.together.compiled.is_on = True, False

    def put(self, number: int, snapshot: Snapshot, changes: Mapping[str, Any], draw: int) -> None:
        """Put a member to a snapshot, with values of its own."""
        population, run = self.population, self._run
        if number < len(population.members):
            member = population[number]
            member.journal.load([])
            member.history.go_back(0, validated=False)
            restore(member.training, self._without_ends(snapshot))
            member.training.pass_.checked = True  # it was, the last time
        else:
            counters = None if number else Counters(run.training)
            member = fork_member(run, population, number, snapshot, past=False, metrics=None)
            member.training.securing.is_on = False
            if counters is not None:
                _refuse_counting(counters.find_changed(member.training, snapshot))
            if draw:
                seed = member.seed + _DRAW * draw
                member.training.cursor.seed, member.training.step_seed = seed, derive_seed(seed, NOISE)
            population.members.append(member)
        if draw:
            member.training.cursor.seek(*member.training.cursor.place())
        wanted = {name: value for name, value in self._off.items() if name not in changes} | dict(changes)
        try:
            member.changes.make({name: own for name, own in wanted.items() if name not in run.inert}, "what_if")
        except Exception as error:  # as of L-BFGS, which no stream goes with: the others are tried
            member.fail(error)

    def _without_ends(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot of a run that nothing ends, as members are already."""
        values = {name: value for name, value in self._off.items() if name not in self._run.inert}
        return snapshot._replace(facts={**snapshot.facts, "hyperparams": {**snapshot.facts["hyperparams"], **values}})

    def prepare(self) -> None:
        """Make ready for the first step."""
        self._start = self.population[0].step_count
        self.population.prepare()

    @property
    def is_moved(self) -> bool:
        """Whether any step was done."""
        return any(member.step_count > self._start for member in self.population)

    @property
    def error(self) -> BaseException | None:
        """The first exception that ended a member."""
        return next((member.error for member in self.population if member.error is not None), None)

    def do(self, steps: int) -> Slices:
        """Do steps of all members; ``found`` is the mean loss of the last quarter."""
        members, together = [*self.population], self.population.puller.together
        left = {number: steps if member.error is None else 0 for number, member in enumerate(members)}

        def step(asking: Sequence[int]) -> list[int]:
            due = [number for number in asking if left[number] > 0]
            if not due:
                raise _Enough
            # First batches are looked at by each member for itself, and all are where steps cannot be done at once: one
            # at a time, so that the run does not wait for all of them.
            chosen = max(due, key=lambda number: left[number])
            if len(members) == 1 or together.reason or (left[chosen] == steps and not self._is_begun):
                results = {chosen: do_one(members[chosen].training)}
            else:
                end, room = time.perf_counter() + SLICE_SECONDS, min(left[number] for number in due)
                trainings = [members[number].training for number in due]
                found = together(trainings, room, lambda: time.perf_counter() >= end)
                results = dict(zip(due, found, strict=True))
            counts = dict.fromkeys(asking, 0)
            for number, result in results.items():
                if isinstance(result, Exception):
                    members[number].fail(result)
                    loops[number].close()
                else:
                    counts[number] = result
                    left[number] -= result
            return [*counts.values()]

        loops = [member.requests() for member in members]
        with suppress(_Enough):
            for _event in pull_together(loops, step):
                yield
        self._is_begun = True
        self.found = []
        for member in members:
            member.stage.flush()
            losses = member.history["loss"][1][-max(1, steps // 4) :]
            self.found.append(float(losses.mean()) if len(losses) and member.error is None else math.nan)

    def measure(self, members: Sequence[Member]) -> Slices:
        """Find the validation loss of members as they are; NaN of those that failed, and without validation."""
        for member in members:
            member.training.validation_due = True
        self.found = []
        for member in members:
            loss: float | None = math.nan
            if member.error is None and member.training.val is not None:
                for _part in validate(member.training):
                    yield
                loss = member.history.last("val_loss")
            self.found.append(math.nan if loss is None else loss)
            yield
        for member in members:
            member.training.validation_due = False


def _find_off(run: TrainedSession) -> dict[str, Any]:
    """Return the values with which nothing ends a member or sends it back."""
    off: dict[str, Any] = {}
    for item in known_of(run.techniques):
        kind = item if isinstance(item, type) else type(item)
        if any(defines(kind, hook) for hook in ("end_reason", "find_trouble", "propose")):
            off |= kind.off
    return off


def _refuse_counting(names: Sequence[str]) -> None:
    if names:
        told = _("trying values would change {names}, which the run and its copies share", names=", ".join(names))
        raise Tied(_("{told}: what is counted belongs into the model, or into the loss as an object.", told=told))


def _group_size(run: TrainedSession, rows: Sequence[Mapping[str, Any]], snapshot: Snapshot, count: int) -> int:
    """Return how many members there may be at once."""
    shared = find_shared(run.techniques)
    if any(len({repr(row.get(name)) for row in rows}) > 1 for name in shared & {name for row in rows for name in row}):
        return 1
    device = run.training.device
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
    member = _COPIES * sum(tensor.nbytes for tensor in snapshot.tensors.values())
    return max(1, min(count, int(_MEMORY * free / max(1, member)))) if free else count
