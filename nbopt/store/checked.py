"""What was read from a store is checked before it is used: a store may be spoilt, or made by somebody else.

Nothing that stands in one is taken for a path, a size or code. Names of files are compared with those that
`nbopt.store.database` gives, and texts, numbers and JSON with what it writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbopt.errors import shorten
from nbopt.i18n import _
from nbopt.objects.plain import is_count
from nbopt.record.journal import Entry
from nbopt.store.schema import StoreError

STATES = frozenset(("created", "running", "paused", "finished", "stopped", "failed"))
KINDS = ("initial", "best", "latest")

_ID = re.compile(r"[0-9a-f]{1,32}", re.ASCII)  # of a run, and of the lock of a process
_BACK = re.compile(r"back-[0-9]{1,19}", re.ASCII)  # where a member of a population went back to, by its entry
_SNAPSHOT = re.compile(rf"({'|'.join(KINDS)}|back)-[0-9]{{1,19}}-[0-9a-f]{{8}}\.(safetensors|part)", re.ASCII)
_NAME = 100_000  # characters of a name or source
_TEXT = 2**20  # ... of a reason
_CALL = 64  # steps of a compiled call
_COUNT = 2**53  # steps, epochs, bytes
_SECONDS = 2.0**33  # a time after 1970: until the year 2242


def is_id(text: object) -> bool:
    """Whether ``text`` can be the id of a run, or of a process's lock: a few hexadecimal digits."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def is_snapshot_file(name: str) -> bool:
    """Whether a file of this name, in a run's folder of snapshots, is one that a store made."""
    return _SNAPSHOT.fullmatch(name) is not None


def is_name(value: object) -> bool:
    """Whether ``value`` can be the name of something."""
    return isinstance(value, str) and len(value) <= _NAME


def is_time(value: object) -> bool:
    """Whether ``value`` can be a time, in seconds since the epoch."""
    return isinstance(value, float) and 0.0 <= value <= _SECONDS


def wrong_fields(row: dict[str, Any]) -> list[str]:
    """Return the fields of a row of ``runs`` that hold what no store writes there."""
    right = {
        "id": is_id(row["id"]),
        "name": is_name(row["name"]),
        "parent": row["parent"] is None or is_id(row["parent"]),
        "created": is_time(row["created"]),
        "owner": row["owner"] is None or is_id(row["owner"]),
        "state": row["state"] in STATES,
        "reason": isinstance(row["reason"], str) and len(row["reason"]) <= _TEXT,
        "step": is_count(row["step"]),
        "epoch": is_count(row["epoch"]),
        "best": row["best"] is None or isinstance(row["best"], float),
        "entries": is_count(row["entries"]),
    }
    return [name for name, fits in right.items() if not fits]


def spoilt(run: object, what: str) -> StoreError:
    """Build the error for a run of which ``what`` is not as it was written."""
    rule = _("{what} is not what nbopt writes there", what=what)
    way = _("nbopt.clean deletes it, the others are not concerned")
    return StoreError(_("run {id} is spoilt: {rule}; {way}.", id=shorten(run), rule=rule, way=way))


def parse(text: object) -> Any:
    """Return what JSON text of the store stands for; raise ValueError if it is none."""
    if not isinstance(text, str):
        raise ValueError(_("no text"))
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(_("too deeply nested")) from None


def is_switch(value: object) -> bool:
    """Whether ``value`` is what the journal tells of a change in how steps are done."""
    if not isinstance(value, dict):
        return False
    steps, reason = value.get("steps"), value.get("reason")
    return type(steps) is int and 0 <= steps <= _CALL and isinstance(reason, str)


def is_tuning(value: object) -> bool:
    """Whether ``value`` is what the journal tells of a change made to the model by hand."""
    if not isinstance(value, dict):
        return False
    return isinstance(value.get("reason"), str) and all(map(are_names, (value.get("resting"), value.get("evaluated"))))


def are_names(value: object) -> bool:
    """Whether ``value`` is a list of texts."""
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def check_entry(run: str, number: int, row: Sequence[Any]) -> Entry:
    """Return a row of the journal, which is to have this number, as an entry.

    Raises
    ------
    StoreError
        If it is none.
    """
    found, step, name, old, new, source, time, kind = row
    try:
        entry = Entry(step, name, parse(old), parse(new), source, time, kind)
    except ValueError:
        raise spoilt(run, _("entry {number} of its journal", number=number)) from None
    right = (
        found == number
        and is_count(step)
        and is_name(name)
        and is_name(source)
        and is_time(time)
        and kind in ("change", "event")
        and (name != "rewind" or (is_count(entry.new) and entry.new <= step))
    )
    if not right:
        raise spoilt(run, _("entry {number} of its journal", number=number))
    return entry


def check_chunk(run: str, name: object, steps: object, numbers: object) -> tuple[str, NDArray[Any], NDArray[Any]]:
    """Return a row of the history: a name, (n,) step numbers and (n,) values; raise StoreError if it is none."""
    right = isinstance(name, str) and isinstance(steps, bytes) and isinstance(numbers, bytes)
    if right and is_name(name) and len(steps) == len(numbers) and not len(steps) % 8:  # type: ignore[arg-type]
        at, values = np.frombuffer(steps, "<i8"), np.frombuffer(numbers, "<f8")  # type: ignore[call-overload]
        if not len(at) or (0 <= at[0] and at[-1] <= _COUNT and bool((np.diff(at) >= 0).all())):
            return name, at, values  # type: ignore[return-value]
    raise spoilt(run, _("its history of {name}", name=shorten(name)))


def check_snapshot(run: str, kind: object, row: Sequence[Any]) -> None:
    """Raise StoreError if a row of the snapshots, beside its kind, is none: step, entries, file, bytes."""
    step, entries, file, size = row
    counts = is_count(step) and is_count(entries) and is_count(size)
    begin, _slash, name = file.rpartition("/") if isinstance(file, str) else ("", "", "")
    inside = begin == f"snapshots/{run}" and is_snapshot_file(name) and name.endswith(".safetensors")
    known = kind in KINDS or (isinstance(kind, str) and _BACK.fullmatch(kind))
    if not known or not counts or not inside:
        raise spoilt(run, _("its list of snapshots"))


def check_settings(run: str, text: object) -> dict[str, Any]:
    """Return what a run was made with, of its form at least; raise StoreError if it has another."""
    try:
        found = parse(text)
        seed, share = found["seed"], found["val_fraction"]
        initial, given, metrics, model, data = (found[k] for k in ("initial", "given", "metrics", "model", "data"))
        right = (
            all(isinstance(item, dict) for item in (found, initial, metrics, model))
            and isinstance(seed, int)
            and not isinstance(seed, bool)
            and seed >= 0
            and isinstance(found["device"], str)
            and isinstance(given, list)
            and all(isinstance(name, str) and name in initial for name in given)
            and all(_is_labelled(found[name]) for name in ("loss", "optimizer"))
            and _are_texts([*metrics.values(), found["forward"]])
            and (share is None or (isinstance(share, float) and 0 < share < 1))
            and are_names(found.get("frozen", []))
            and isinstance(made_with := found.get("techniques", {}), dict)
            and all(isinstance(one, list) and _are_texts(one) for one in made_with.values())
            and isinstance(found.get("loss_tensors", {}), dict)
            and (data is None or (isinstance(data, dict) and isinstance(data.get("train"), dict)))
            and ("population" not in found or _is_population(found["population"]))
        )
    except (ValueError, KeyError, TypeError):
        right = False
    if not right:
        raise spoilt(run, _("what it was made with"))
    return dict(found)


def _is_population(made: Any) -> bool:
    """Whether this is what a population was made with, beside what a run is."""
    rows, split, order = made["rows"], made["split"], made["order"]
    are_rows = isinstance(rows, list) and bool(rows) and all(isinstance(row, dict) for row in rows)
    seeds = [row.get("seed", 0) for row in rows] + [seed for seed in (split, order) if seed is not None]
    return are_rows and all(map(is_count, seeds)) and isinstance(made["samples"], bool)


def _is_labelled(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], bool)


def _are_texts(values: Iterable[Any]) -> bool:
    return all(value is None or isinstance(value, str) for value in values)
