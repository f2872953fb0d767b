"""Opening a stored population again, to go on exactly where it was."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from nbopt.hyperparams import Hyperparams
from nbopt.i18n import _
from nbopt.record.joint import own_tensors, part
from nbopt.record.journal import SWITCH, Entry
from nbopt.record.ledger import CLONE, Ledger, unwrap
from nbopt.record.snapshots import Snapshot
from nbopt.run.population.again import Again, find_difference
from nbopt.run.population.keeping import Keeping, keep, live_populations
from nbopt.run.population.member import Member
from nbopt.run.population.members import give_data, make_members
from nbopt.run.population.population import Population
from nbopt.run.population.values import SEED
from nbopt.run.session.session import Session
from nbopt.run.spec import RunSpec
from nbopt.run.stored.checked_record import check_journal, check_snapshots, check_values
from nbopt.run.stored.remake import check_given_data, held
from nbopt.store.checked import spoilt
from nbopt.store.checked_facts import is_state
from nbopt.store.database import store_in
from nbopt.store.populations import BACK
from nbopt.store.reading import Record
from nbopt.store.records import RecordsSync
from nbopt.training.snapshots.restoring import restore
from nbopt.training.state import RunState


def open_population(record: Record, spec: RunSpec, hyperparams: Hyperparams) -> Population:
    """Return a stored population, at rest where it was.

    Parameters
    ----------
    record : Record
    spec : RunSpec
        As `nbopt.run.stored.remake.remake` returns it, with ``hyperparams``.

    Raises
    ------
    ValueError
        If the data are not those it was made with.
    StoreError
        If it is spoilt.
    RuntimeError
        If it is open in another process, or training in this one.
    """
    loaded = _load(record)
    latest = loaded.get("latest")
    population = _make(record, spec, hyperparams, loaded)
    for member in record.members:
        check_journal(record, population.hyperparams, member.journal)
    begin = 0
    if latest is None:
        again = Again(population, [*enumerate(record.ledger)], 0, {})
        again.do_changes()
    else:
        begin = record.files["latest"].entries
        _put(population, record, loaded["initial"], latest)
        back = {int(kind.removeprefix(f"{BACK}-")): one for kind, one in loaded.items() if kind.startswith(BACK)}
        entries = [*enumerate(record.ledger)][begin:]
        missing = [number for number, entry in entries if _is_rewind(entry) and number not in back]
        if missing:
            raise spoilt(record.id, _("where a member went back to at entry {number}", number=missing[0]))
        target = max([latest.step, record.step, *(entry.step for _number, entry in entries)])
        first = _first_compared(population, entries)
        population.is_quiet = True  # it was told the first time
        Again(population, entries, target, back).do()
        population.is_quiet = False
    store = store_in(record.folder)
    _release_others(population, record)
    if not store.claim(record.id, record.owner):
        raise held(record)
    _take_up(population, record, loaded)
    told = "" if latest is None else find_difference(population, [one.history for one in record.members], first)
    if told:
        with suppress(Warning):
            text = _("not exact: {reason} The population goes on from what it has now.", reason=told)
            warnings.warn(text, stacklevel=3)
        population.journal.event(population.step_count, "not_exact", {"reason": told})
    return population


def _load(record: Record) -> dict[str, Snapshot]:
    """Return the states that are stored, by kind: both of all members, or none."""
    loaded = record.load_snapshots()
    if len({"initial", "latest"} & loaded.keys()) == 1 or len(loaded) < len(record.files):
        raise spoilt(record.id, _("its states"))
    size = len(record.members)
    for kind, snapshot in loaded.items():
        what = _("its snapshot of step {step}", step=snapshot.step)
        try:
            parts = [snapshot] if kind.startswith(BACK) else [part(snapshot, number) for number in range(size)]
            if kind == "latest" and not all(map(_is_place, snapshot.facts["members"])):
                raise ValueError
        except (KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
            raise spoilt(record.id, what) from error
        if not all(map(is_state, parts)):
            raise spoilt(record.id, what)
    return loaded


def _is_place(place: Mapping[str, Any]) -> bool:
    """Whether this is what is stored of a member beside its state."""
    states = [state.value for state in RunState]
    numbers = type(place["lineage"]) is int and type(place["order"]) is int and place["lineage"] >= 0
    until = place["until"] is None or type(place["until"]) is int
    texts = all(isinstance(place[name], str) for name in ("reason", "mode"))
    return place["state"] in states and numbers and until and texts


def _make(record: Record, spec: RunSpec, hyperparams: Hyperparams, loaded: Mapping[str, Snapshot]) -> Population:
    """Make the population as it was made, of the members that there were when its state was stored."""
    made = record.settings["population"]
    what = _("what it was made with")
    for name, value in spec.initial.items():
        hyperparams.assign(name, value)
    rows = []
    for row in made["rows"]:
        own = {name: value for name, value in row.items() if name != SEED}
        rows.append(check_values(record, hyperparams, own, what) | {SEED: row.get(SEED, spec.seed)})
    latest = loaded.get("latest")
    lineage = [*range(len(rows))] if latest is None else [place["lineage"] for place in latest.facts["members"]]
    if max(lineage) >= len(rows):
        raise spoilt(record.id, _("its states"))
    population = Population.__new__(Population)
    given = replace(spec, store=None, initial={})

    def make(owner: Population) -> list[Member]:
        return make_members(owner, given, hyperparams, [rows[place] for place in lineage])

    population.begin_with(given, hyperparams, len(rows), make, made["rows"])
    population.id, population.created = record.id, record.created
    population.order, population.split = made["order"], made["split"]
    if made["samples"] and latest is not None:
        samples = own_tensors(loaded["initial"])
        population.samples = [samples[f"samples.{number}"] for number in range(len(rows))]
    for member, place in zip(population, lineage, strict=True):
        member.lineage = place
    if Session.viewer is not None:
        Session.viewer.made(population, "population")
    return population


def _put(population: Population, record: Record, initial: Snapshot, latest: Snapshot) -> None:
    """Put all members to where they were in the newest state."""
    give_data(population.members, population.samples, population.split)
    for number, (member, place) in enumerate(zip(population, latest.facts["members"], strict=True)):
        training = member.training
        if not number:
            check_given_data(record, training.cursor.source, training.val)
        begun, now = part(initial, place["lineage"]), part(latest, number)
        operations = record.members[number].journal.schedule()
        check_snapshots(record, member.hyperparams, [now], [op for op in operations if op.step < now.step])
        training.snapshots.clear(begun)
        if now.step != begun.step:
            training.snapshots.add(now)
        member.history.take_over(record.members[number].early, now.step, not now.facts["validation_due"])
        try:
            restore(training, now)
        except Exception as error:  # whatever torch makes of a state that is none
            raise spoilt(record.id, _("its snapshot of step {step}", step=now.step)) from error
        training.cursor.seed = place["order"]
        training.cursor.seek(*training.cursor.place())
        member.mode, member.until = place["mode"], math.inf if place["until"] is None else place["until"]
        state = RunState(place["state"])
        member.state, member.end_reason = state if state.is_ended else RunState.PAUSED, place["reason"]
    population.ticks = latest.step
    population.puller.together.tier = str(latest.facts.get("tier", ""))


def _first_compared(population: Population, entries: Sequence[tuple[int, Entry]]) -> list[float]:
    """Return from which step on what members measure again is to be what was recorded.

    Where one went back, or gave way to a copy, nobody knows whether its record is of before or after.
    """
    first: list[float] = [member.step_count for member in population]
    for _number, entry in entries:
        member, own = unwrap(entry)
        if member is not None and own.name == "rewind":
            first[member] = math.inf
        if member is None and own.name == CLONE:
            first[own.new["into"]] = math.inf
    return first


def _is_rewind(entry: Entry) -> bool:
    return unwrap(entry)[0] is not None and unwrap(entry)[1].name == "rewind"


def _take_up(population: Population, record: Record, loaded: Mapping[str, Snapshot]) -> None:
    """Have the population go on being stored."""
    population.journal.load(record.journal)
    for member, stored in zip(population, record.members, strict=True):
        member.journal.load(stored.journal)
        member.mode = _mode_of(member, member.mode)
        member.changes.cancel()
        if not member.state.is_ended:
            member.state = RunState.PAUSED if member.has_begun else RunState.CREATED
    keep(population, record.folder, Ledger(population.journal, record.ledger))
    keeping = population.keeping
    assert isinstance(keeping, Keeping)
    keeping.ledger.step = population.ticks
    files = {kind: (loaded.get(kind), file) for kind, file in record.files.items()}
    sync = RecordsSync([member.history for member in record.members], record.records)
    keeping.recorder.take_up(store_in(record.folder), record.id, sync, files)
    if "latest" in loaded:
        keeping.go_on_from(loaded["initial"], loaded["latest"])
    state = RunState.FINISHED if record.state == "finished" else RunState.PAUSED
    if not population[0].has_begun:
        state = RunState.CREATED
    population.journal.event(population.step_count, "open", state.value)
    population.state = state
    population.end_reason = record.reason if state is RunState.FINISHED else ""
    keeping.recorder.follow()
    keeping.take()


def _mode_of(member: Member, stored: str) -> str:
    """Return how a member's steps were done last, by its journal, which may tell of later ones than its state."""
    modes = [op.value.get("many") for op in member.journal.schedule() if op.name == SWITCH]
    return next((mode for mode in reversed(modes) if isinstance(mode, str)), stored)


def _release_others(opened: Population, record: Record) -> None:
    """See that no other object of this process goes on storing this population."""
    for other in live_populations():
        if other is opened or other.id != record.id or other.keeping is None or other.store != record.folder:
            continue
        if other.puller.thread is not None:
            rule = _("pause it before you open it again")
            raise RuntimeError(_("population {id} is training in this process: {rule}.", id=other.id, rule=rule))
        other.keeping.recorder.release(_("opened again with nbopt.open: from here on, that one is stored instead"))
