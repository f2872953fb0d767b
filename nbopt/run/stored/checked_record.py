"""What stood in the store is looked at before a run is led by it: see `nbopt.store.checked`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from nbopt.errors import InvalidHyperparam
from nbopt.hyperparams import Hyperparams
from nbopt.i18n import _
from nbopt.objects.packed import is_kept
from nbopt.record.journal import ACTIONS, EDIT, SWITCH, TUNING, Journal, Operation
from nbopt.record.snapshots import Snapshot
from nbopt.run.stored.earlier import known_only
from nbopt.store.checked import is_switch, is_tuning, spoilt
from nbopt.store.reading import Record
from nbopt.training.structure.edits import is_edit


def check_values(record: Record, hyperparams: Hyperparams, values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return values of hyperparameters that stood in the store, if they are legal."""
    try:
        return hyperparams.check(dict(values))
    except InvalidHyperparam as error:
        raise spoilt(record.id, f"{what} ({error})") from error


def check_journal(record: Record, hyperparams: Hyperparams, journal: Journal | None = None) -> list[Operation]:
    """Return what a run is to do again, once it was looked at; a change that no run journals is not made.

    The journal is the record's, or of one of its members.
    """
    operations = (record.journal if journal is None else journal).schedule()
    edits = [operation.value for operation in operations if operation.name == EDIT]
    looks: dict[str, Callable[..., bool]] = {SWITCH: is_switch, TUNING: is_tuning, EDIT: partial(is_edit, edits=edits)}
    for operation in operations:
        what = _("its journal at step {step}", step=operation.step)
        if operation.name in looks:
            if not looks[operation.name](operation.value):
                raise spoilt(record.id, what)
        elif operation.name not in ACTIONS:
            check_values(record, hyperparams, {operation.name: operation.value}, what)
    return operations


def check_snapshots(
    record: Record, hyperparams: Hyperparams, loaded: Iterable[Snapshot], operations: Sequence[Operation]
) -> None:
    """See that the values in snapshots are legal, and that each has the shape that its step had."""
    for snapshot in loaded:
        what = _("its snapshot of step {step}", step=snapshot.step)
        values = known_only(record.settings, snapshot.facts["hyperparams"], hyperparams)
        snapshot.facts["hyperparams"] = check_values(record, hyperparams, values, what)
        if "kept" in snapshot.facts and not is_kept(snapshot.facts["kept"], snapshot.tensors):
            raise spoilt(record.id, what)
        edits = [op.value for op in operations if op.name == EDIT and op.step < snapshot.step]
        if snapshot.facts.get("edits", []) != edits:
            raise spoilt(record.id, what)
