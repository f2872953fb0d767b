"""What keeps a population in the store, beyond its process."""

from __future__ import annotations

import math
import time
import weakref
from pathlib import Path
from typing import Any

import torch

from nbopt.record.joint import join
from nbopt.record.ledger import Ledger
from nbopt.record.snapshots import Snapshot, Snapshots
from nbopt.run.population.managed import Managed
from nbopt.run.population.member import Member
from nbopt.run.stored.fingerprint import describe_begun, describe_spec
from nbopt.store.database import Place, RunRecord, folder_of
from nbopt.store.populations import PopulationRecorder, States
from nbopt.store.records import Histories
from nbopt.store.snapshot_files import Glance
from nbopt.training.snapshots.checkpoint import capture
from nbopt.training.state import RunState

_SECONDS = 1.0  # between two states that are captured on the way
_SHARE = 0.02  # ... of the time that capturing may take

_live: weakref.WeakSet[Managed] = weakref.WeakSet()


class Keeping:
    """Keeps a population in the store: all that happens at once, and its members' states and histories now and then.

    Parameters
    ----------
    population : Managed
    folder : Path
        The store's.
    ledger : Ledger, optional
        Of a population that is stored, with what happened.

    Attributes
    ----------
    ledger : Ledger
    histories : Histories
    recorder : PopulationRecorder
    states : Snapshots
        Of all members together: at the beginning, and the newest.
    """

    def __init__(self, population: Managed, folder: Path, ledger: Ledger | None = None) -> None:
        is_known = ledger is not None
        self.folder = folder
        self.ledger = Ledger(population.journal) if ledger is None else ledger
        self.histories = Histories([member.history for member in population])
        self.states: Snapshots = Snapshots()
        for member in population:
            self.ledger.join(member.journal, member.number, is_known)
        self._due = 0.0
        self._population = ref = weakref.ref(population)
        parts = (self.ledger, self.histories)
        self.recorder = PopulationRecorder(folder, *parts, lambda: _describe(ref()), lambda: _look(ref()))
        self.recorder.find_back = lambda member: _find_back(ref(), member)
        weakref.finalize(population, self.recorder.close).atexit = False
        _live.add(population)

    def replace(self, member: Member, original: int) -> None:
        """Take note that a copy of another member is about to take the place of one."""
        old = self.ledger.members[member.number]
        old.sink = None
        self.ledger.join(member.journal, member.number, known=True)
        self.histories[member.number] = member.history
        self.histories.copied[member.number] = original

    # -- states

    def begin(self, samples: list[Any] | None) -> None:
        """Capture where members begin, unless that is done."""
        population = self._population()
        if self.states or population is None:
            return
        tensors = {} if samples is None else {f"samples.{k}": torch.as_tensor(one) for k, one in enumerate(samples)}
        first = [member.training.snapshots[0] for member in population]
        self._put(join(first, 0, {"entries": 0}, tensors), self._capture(population))

    def go_on_from(self, first: Snapshot, latest: Snapshot) -> None:
        """Take note of the states that are stored."""
        self._put(first, latest)

    def take_if_due(self) -> None:
        """Capture where members are, if the last time is long enough ago; between two steps of all of them."""
        if time.perf_counter() >= self._due:
            self.take()

    def take(self) -> None:
        """Capture where members are, unless something is to be put right first."""
        population = self._population()
        if not self.states or population is None:
            return
        for member in population:
            member.stage.flush()
        if all(member.state.is_ended or member.training.is_settled for member in population):
            start = time.perf_counter()
            self._put(self.states[0], self._capture(population))
            now = time.perf_counter()
            self._due = now + max(_SECONDS, (now - start) / _SHARE)

    def _capture(self, population: Managed) -> Snapshot:
        with population.lock:
            members = [
                {
                    "state": member.state.value,
                    "reason": member.end_reason,
                    "mode": member.mode,
                    "until": None if member.until == math.inf else member.until,
                    "lineage": member.lineage,
                    "order": member.training.cursor.seed,
                }
                for member in population
            ]
            facts = {"entries": len(self.ledger), "members": members, "tier": population.puller.together.tier}
            return join([capture(member.training) for member in population], population.ticks, facts, {})

    def _put(self, first: Snapshot, latest: Snapshot) -> None:
        self.states = States(first, latest, self.histories.freeze())


def keep(population: Managed, store: Place | None, ledger: Ledger | None = None) -> None:
    """Keep a population in a store from now on, if that is one; with the ``ledger`` of one that is stored."""
    if store is not None:
        population.keeping = Keeping(population, folder_of(store), ledger)


def live_populations() -> list[Managed]:
    """Return the stored populations of this process."""
    return list(_live)


def _describe(population: Managed | None) -> RunRecord | None:
    if population is None:
        return None
    first, spec = population[0], population.spec
    settings = describe_spec(spec, population.initial, first.material.others)
    settings |= describe_begun(first.model, first.snapshots, first.training if first.has_begun else None)
    made = {
        "rows": population.rows,
        "samples": population.samples is not None,
        "order": population.order,
        "split": population.split,
    }
    settings = {**settings, "population": made}
    return RunRecord(population.id, population.name, spec.parent, population.created, settings)


def _look(population: Managed | None) -> Glance | None:
    if population is None or not isinstance(population.keeping, Keeping):
        return None
    best = min((float(member.stage.judge.best) for member in population if member.has_begun), default=math.inf)
    epoch = max(member.epoch for member in population)
    return Glance(population.ticks, epoch, best if math.isfinite(best) else None, population.keeping.states)


def _find_back(population: Managed | None, number: int) -> Snapshot | None:
    if population is None or population.state is RunState.CREATED:
        return None
    member: Member = population[number]
    return member.snapshots.before(member.step_count)
