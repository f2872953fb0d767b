"""Studies, as the list of runs tells of them: read off their records, which `nbopt.search.record` writes."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path
from typing import Any, NamedTuple

from nbopt.store import lease
from nbopt.store.checked import is_id

FOLDER = "studies"
_STUDY, _NOTED, _TRIAL = 0, 2, 4  # of Optuna's journal: a study is made, something noted of it, a trial written
_STATES = {"start": "running", "resume": "running", "pause": "paused"}
_STATES |= {state: state for state in ("finished", "stopped", "failed")}
_COMPLETE = 1


class StudyFacts(NamedTuple):
    """What a record tells of its study.

    Attributes
    ----------
    id, name, state : str
    created : float
        Seconds since the epoch.
    trials : int
        Those that are written.
    best : float or None
        The best validation loss; None where something else is searched for.
    bytes : int
    owner : str or None
        The lock of the process that writes to it.
    problem : str
        What of it cannot be read, in words.
    """

    id: str
    name: str
    state: str
    created: float
    trials: int
    best: float | None
    bytes: int
    owner: str | None
    problem: str = ""


def studies(folder: Path) -> list[StudyFacts]:
    """Return the studies of a store."""
    place = folder / FOLDER
    if place.is_symlink():
        return []
    return [_read(path) for path in sorted(place.glob("*.log")) if is_id(path.stem) and not path.is_symlink()]


def delete_study(folder: Path, number: str, owner: str | None) -> bool:
    """Delete a study, unless somebody else than ``owner`` opened it meanwhile; return whether it is gone."""
    path = folder / FOLDER / f"{number}.log"
    if not path.exists() or _read(path).owner != owner or lease.is_alive(folder, owner):
        return False
    path.unlink()
    weights_of(path).unlink(missing_ok=True)
    _readings.pop(path, None)
    return True


def weights_of(record: Path) -> Path:
    """Return the file of the weights that a study's trials begin with, beside its record."""
    return record.with_suffix(".safetensors")


class _Reading:
    """What a record tells as far as it was read. It only grows, and one of thousands of trials takes long to read.

    Attributes
    ----------
    file : int
        The inode: another file in its place is read anew.
    end : int
        The bytes that were read.
    """

    def __init__(self, path: Path, file: int) -> None:
        self.path, self.file, self.end = path, file, 0
        self.name, self.state, self.problem = "", "created", ""
        self.created, self.trials = math.inf, 0
        self.owner: str | None = None
        self.best: float | None = None
        self._judged: Any = None

    def go_on(self) -> None:
        """Read what is new, without what a process that was killed had begun to write."""
        if self.problem:
            return
        try:
            with self.path.open("rb") as file:
                file.seek(self.end)
                for line in file:
                    if line.endswith(b"\n"):
                        self.end += len(line)
                        self._take(json.loads(line))
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
            self.problem = "record"

    def _take(self, step: Any) -> None:
        if step["op_code"] == _NOTED:
            for key, value in step["user_attr"].items():
                if key == "nbopt:made":
                    self.name, self._judged = str(value["name"]), value["judged"][0][0]
                elif key == "nbopt:owner":
                    self.owner = value if is_id(value) else None
                elif key.startswith("nbopt:journal:"):
                    self.created = min(self.created, float(value["time"]))
                    self.state = _STATES.get(value["name"], self.state) if value["kind"] == "event" else self.state
        elif step["op_code"] == _TRIAL:
            self.trials += 1
            if self._judged == "val_loss" and step["state"] == _COMPLETE:
                found = float(step["values"][0] if step.get("values") else step["value"])
                self.best = found if self.best is None else min(self.best, found)


_readings: dict[Path, _Reading] = {}
_lock = threading.Lock()


def _read(path: Path) -> StudyFacts:
    facts = path.stat()
    with _lock:
        known = _readings.get(path)
        if known is None or known.file != facts.st_ino or known.end > facts.st_size:
            known = _readings[path] = _Reading(path, facts.st_ino)
        known.go_on()
        created = min(known.created, facts.st_mtime)
        told = (path.stem, known.name, known.state, created, known.trials, known.best, facts.st_size)
        return StudyFacts(*told, known.owner, known.problem)
