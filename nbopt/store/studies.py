"""Studies, as the list of runs tells of them: read off their records, which `nbopt.search.record` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
    return True


def _read(path: Path) -> StudyFacts:
    facts = path.stat()
    name, state, created, owner, trials, losses, problem = "", "created", facts.st_mtime, None, 0, [], ""
    judged: Any = None
    try:
        for step in _steps(path):
            if step["op_code"] == _NOTED:
                for key, value in step["user_attr"].items():
                    if key == "nbopt:made":
                        name, judged = str(value["name"]), value["judged"][0][0]
                    elif key == "nbopt:owner":
                        owner = value if is_id(value) else None
                    elif key.startswith("nbopt:journal:"):
                        created = min(created, float(value["time"]))
                        state = _STATES.get(value["name"], state) if value["kind"] == "event" else state
            elif step["op_code"] == _TRIAL:
                trials += 1
                if judged == "val_loss" and step["state"] == _COMPLETE:
                    found = step["values"][0] if step.get("values") else step["value"]
                    losses.append(float(found))
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        problem = "record"
    best = min(losses, default=None)
    return StudyFacts(path.stem, name, state, created, trials, best, facts.st_size, owner, problem)


def _steps(path: Path) -> Iterator[dict[str, Any]]:
    """Return what the record says, without what a process that was killed had begun to write."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
