"""The study's record: one file of Optuna's journal storage, which outlives the process, and which its dashboard reads.

A trial is written when it has ended, in one line, and in the order of numbers: whatever happens, the record holds the
first so many trials of the study, each once. What was under way is asked for and carried out again.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nbopt.i18n import _
from nbopt.record.journal import Entry, Journal
from nbopt.search.optional import need, quiet
from nbopt.search.spaces.dimension import Dimension
from nbopt.search.spaces.encoding import decode, encode, encode_each, is_plain
from nbopt.search.spaces.space import Space
from nbopt.search.trial import COMPLETE, FAILED, PRUNED, Trial
from nbopt.store import lease
from nbopt.store.checked import is_id
from nbopt.store.schema import StoreError, refuse_links
from nbopt.store.studies import FOLDER, weights_of
from nbopt.training.state import RunState

_FACTS = ("steps", "seconds", "source", "note", "space", "batch")
_ENTRY, _MADE, _OWNER = "nbopt:journal:", "nbopt:made", "nbopt:owner"

_STATES = {"finished": RunState.FINISHED, "stopped": RunState.STOPPED, "failed": RunState.FAILED}
_STATES |= dict.fromkeys(("start", "resume", "pause"), RunState.PAUSED)
_writers: weakref.WeakValueDictionary[str, Record] = weakref.WeakValueDictionary()
"""Those of this process, by the lock that each holds."""


class Record:
    """What is known of a study whatever happens to this process.

    Parameters
    ----------
    folder : Path or None
        The store's; None keeps it in memory.
    number : str
        The study's id.
    directions : sequence of str, optional
        Of a new study.
    """

    def __init__(self, folder: Path | None, number: str, directions: Sequence[str] | None = None) -> None:
        optuna = need("optuna")
        self._optuna, self.folder, self.id = optuna, folder, number
        self._token = ""
        self.is_busy: Callable[[], bool] = bool  # whether its study is searching; nobody is by itself
        if folder is None:
            self.storage = optuna.storages.InMemoryStorage()
        else:
            path = place_of(folder, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not (folder / ".gitignore").exists():
                (folder / ".gitignore").write_text("*\n")
            backend = optuna.storages.journal.JournalFileBackend(str(path), lock_obj=_OneWriter())
            try:
                self.storage = optuna.storages.JournalStorage(backend)
            except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
                raise StoreError(_("study {id} is spoilt: {error}.", id=number, error=error)) from error
        if directions is not None:
            ways = [optuna.study.StudyDirection[direction.upper()] for direction in directions]
            with quiet():
                self._study = self.storage.create_new_study(ways, number)
        else:
            self._study = self.storage.get_study_id_from_name(number)
        self._entries = sum(key.startswith(_ENTRY) for key in self.attrs)

    @property
    def attrs(self) -> dict[str, Any]:
        """What is noted of the study as a whole."""
        return dict(self.storage.get_study_user_attrs(self._study))

    def claim(self) -> None:
        """Become the only one that writes to it.

        Raises
        ------
        RuntimeError
            If another process does, or a study of this one that is searching.
        """
        if self.folder is None:
            return
        with lease.alone(self.folder, self.id) as is_alone:
            owner = self.attrs.get(_OWNER)
            if not is_alone or (lease.is_alive(self.folder, owner) and not lease.is_own(owner)):
                rule = _("shut that one down first")
                raise RuntimeError(_("study {id} is open in another process: {rule}.", id=self.id, rule=rule))
            self._succeed(_writers.get(owner or ""))
            _cut_torn_line(place_of(self.folder, self.id))
            self._token = lease.hold(self.folder)
            self.storage.set_study_user_attr(self._study, _OWNER, self._token)
        _writers[self._token] = self

    def _succeed(self, other: Record | None) -> None:
        """Take the place of the study of this process that has written so far."""
        if other is not None:
            if other.is_busy():
                rule = _("pause it before you open it again")
                raise RuntimeError(_("study {id} is running in this process: {rule}.", id=self.id, rule=rule))
            other.release()

    def check_writes(self) -> None:
        """Raise RuntimeError where what is to be written would stand beside what another one writes."""
        if self.folder is None or lease.is_own(self._token):
            return
        if self._token:
            way = _("go on with that one, or open it anew")
            raise RuntimeError(_("study {id} was opened again by nbopt.open: {way}.", id=self.id, way=way))
        way = _("give nbopt.open what it was made with")
        raise RuntimeError(_("study {id} was opened to be read only: {way}.", id=self.id, way=way))

    def release(self) -> None:
        """Let others write to it."""
        if self.folder is not None and self._token:
            with suppress(OSError):
                lease.release(self.folder, self._token)

    @property
    def weights(self) -> Path | None:
        """The file of the weights that trials begin with, where they are written."""
        return None if self.folder is None else weights_of(place_of(self.folder, self.id))

    def describe(self, made: Mapping[str, Any]) -> None:
        """Write what the study was made with, as JSON can hold it."""
        self.storage.set_study_user_attr(self._study, _MADE, dict(made))

    @property
    def made(self) -> dict[str, Any]:
        """What the study was made with."""
        if not isinstance(made := self.attrs.get(_MADE), dict):
            raise StoreError(_("study {id} is spoilt: it does not tell what it was made with.", id=self.id))
        return dict(made)

    def add_entry(self, entry: Entry) -> str | None:
        """Write an entry of the study's journal; it outlives the process on return."""
        self.check_writes()
        text = json.loads(json.dumps(entry._asdict(), default=str))
        self.storage.set_study_user_attr(self._study, f"{_ENTRY}{self._entries:06}", text)
        self._entries += 1
        return None

    def entries(self) -> list[Entry]:
        """Return the study's journal."""
        found = {key: value for key, value in self.attrs.items() if key.startswith(_ENTRY)}
        return [Entry(**found[key]) for key in sorted(found)]

    def add_trial(self, trial: Trial, space: Space, notes: Mapping[str, Any]) -> None:
        """Write a trial that has ended; it outlives the process on return."""
        self.check_writes()
        kinds, states = self._optuna.trial, self._optuna.trial.TrialState
        state = {COMPLETE: states.COMPLETE, PRUNED: states.PRUNED, FAILED: states.FAIL}[trial.state]
        own = trial.distributions or {}
        found = [each for each in space.values() if each.name in trial.values]
        distributions = {d.name: self._distribution(d, trial.values[d.name]) for d in found} | dict(own)
        params = {each.name: encode(each, trial.values[each.name]) for each in found}
        params |= {name: _plain(trial.values[name]) for name in own}
        facts = {"steps": trial.steps, "seconds": trial.seconds, "source": trial.source, "note": trial.note}
        facts["parts"] = [list(part) for part in trial.parts]
        facts |= {"space": trial.space, "number": trial.number, "batch": trial.batch}
        ended = datetime.fromtimestamp(trial.ended, UTC)
        frozen = kinds.FrozenTrial(
            number=-1,
            trial_id=-1,
            state=state,
            value=None,
            values=[*trial.objectives] if trial.state == COMPLETE else self._last(trial),
            datetime_start=ended - timedelta(seconds=trial.seconds),
            datetime_complete=ended,
            params=params,
            distributions=distributions,
            user_attrs={f"nbopt:{name}": value for name, value in facts.items()},
            system_attrs=dict(notes),
            intermediate_values=dict(trial.reports),
        )
        self.storage.create_new_trial(self._study, template_trial=frozen)

    def trials(self, space: Space) -> list[Trial]:
        """Return the trials that have ended, in order; values as the declarations of ``space`` have them."""
        states = self._optuna.trial.TrialState
        found: list[Trial] = []
        names = {states.COMPLETE: COMPLETE, states.PRUNED: PRUNED, states.FAIL: FAILED}
        for frozen in self.storage.get_all_trials(self._study, deepcopy=False):
            if frozen.state not in names:  # somebody else's, who wrote to the file
                continue
            params = frozen.params.items()
            values = {name: decode(space[name], value) if name in space else value for name, value in params}
            facts = {name: frozen.user_attrs.get(f"nbopt:{name}") for name in _FACTS}
            known = {name: value for name, value in facts.items() if value is not None}
            own = {name: kind for name, kind in frozen.distributions.items() if name not in space}
            complete = frozen.state is states.COMPLETE
            objectives = tuple(frozen.values) if complete else ()
            trial = Trial(
                len(found), values, names[frozen.state], objectives, dict(frozen.intermediate_values), **known
            )
            trial.parts = [tuple(part) for part in frozen.user_attrs.get("nbopt:parts", ())]
            trial.ended = 0.0 if frozen.datetime_complete is None else frozen.datetime_complete.timestamp()
            trial.attrs, trial.distributions = dict(frozen.system_attrs), own or None
            found.append(trial)
        return found

    def to_optuna(self) -> Any:
        """Return it as Optuna's study."""
        return self._optuna.Study(self.id, self.storage)

    def _last(self, trial: Trial) -> list[float] | None:
        return [trial.objective] if trial.state == PRUNED and trial.reports else None

    def _distribution(self, dimension: Dimension, value: Any) -> Any:
        """Return a distribution of the declared range, wide enough for ``value``."""
        kinds, declared = self._optuna.distributions, Dimension.of(dimension.spec)
        if declared.options:
            return kinds.CategoricalDistribution(encode_each(dimension, declared.options))
        low, high = declared.low, declared.high
        if declared.powers:
            low, high = 2**low, 2**high
        low, high = min(low, value), max(high, value)
        if declared.whole:
            return kinds.IntDistribution(int(low), int(high), log=declared.powers and low > 0)
        return kinds.FloatDistribution(low, high, log=declared.log and low > 0)


class _OneWriter:
    """Stands where a lock would: the study's process alone writes to the file, see `Record.claim`."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def place_of(folder: Path, number: str) -> Path:
    """Return the file of a study."""
    refuse_links(folder)
    if (folder / FOLDER).is_symlink() or not is_id(number):
        raise StoreError(_("{folder} is no place for studies.", folder=folder / FOLDER))
    return folder / FOLDER / f"{number}.log"


def find_studies(folder: Path, start: str = "") -> list[str]:
    """Return the ids of the studies in a store that begin so, oldest first."""
    place = folder / FOLDER
    files = sorted(place.glob("*.log"), key=lambda file: file.stat().st_mtime) if not place.is_symlink() else []
    return [file.stem for file in files if is_id(file.stem) and file.stem.startswith(start)]


def _cut_torn_line(path: Path) -> None:
    """Take away what a process that was killed had written of a line; it was not acknowledged."""
    if not path.exists():
        return
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        with path.open("r+b") as file:
            file.truncate(end)
            os.fsync(file.fileno())


def _plain(value: Any) -> Any:
    return value if is_plain(value) else str(value)


def state_after(journal: Journal) -> tuple[RunState, str]:
    """Return the state that a study is in once its process has ended, and the reason for it."""
    for entry in reversed(journal):
        if entry.kind == "event" and entry.name in _STATES:
            return _STATES[entry.name], entry.new if isinstance(entry.new, str) else ""
    return RunState.CREATED, ""
