"""Asking a run for another shape of its model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from nbopt.i18n import _
from nbopt.record.journal import EDIT
from nbopt.run.copying import reach
from nbopt.run.trained import TrainedSession
from nbopt.training.edits import prepare_edit


class Rehearsed(NamedTuple):
    """An edit, as the journal holds it, that was made in a run like this one already."""

    value: dict[str, Any]


def edit(run: TrainedSession, wanted: Any, source: str) -> None:
    """See `Run.edit`."""
    if run.parent is None:
        raise RuntimeError(
            _(
                "this run trains the model it was given, which keeps its shape: edit a branch, which has a copy, "
                "run.branch(at=run.step_count, edit=...)."
            )
        )
    for value in prepare(run, wanted):
        run.worker.ask({EDIT: value}, source)


def around(run: TrainedSession) -> Iterator[tuple[str, Any]]:
    """Yield all that the user's objects lead to, with the way there."""
    spec = run.spec
    return reach({"model": spec.model, "loss": spec.loss, "forward": spec.forward, "optimizer": spec.optimizer})


def prepare(run: TrainedSession, wanted: Any) -> list[dict[str, Any]]:
    """Return what is to be asked for, None being nothing; raise where it cannot be made."""
    if wanted is None:
        return []
    if isinstance(wanted, Rehearsed):
        return [wanted.value]
    return [run.worker.between_steps(lambda: prepare_edit(run.training, wanted, around(run)))]
