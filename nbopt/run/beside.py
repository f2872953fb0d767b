"""What is done to runs beside one that is there: opened with its model and data, renamed, taken out of the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nbopt.errors import check_text
from nbopt.i18n import _
from nbopt.run.lr_finder import Sweep
from nbopt.run.past import copy_parts
from nbopt.run.population.what_ifs import Key, WhatIfs
from nbopt.run.run import Run
from nbopt.run.session.session import Session
from nbopt.run.session.steerable import Steerable
from nbopt.run.size.explorer import Explorer
from nbopt.run.stored.reopen import open as open_run
from nbopt.store.database import AUTO
from nbopt.techniques.losses.by_output import names_of


def open_beside(run: Steerable, run_id: str) -> Run:
    """Open a stored run with a copy of another run's model, its data, its loss and what else names do not tell.

    Parameters
    ----------
    run : Run
        As the stored one was made; the store is its own.
    run_id : str

    Raises
    ------
    ValueError
        If the stored run was made with something else; names what. For others, see `nbopt.open`.
    """
    if not isinstance(run, Run):
        raise TypeError(_("{name} has neither model nor data of its own to open another run with.", name=run.name))
    spec = run.spec
    with run.lock:
        made, _shared = copy_parts(run)
    is_named = isinstance(spec.loss, str) or names_of(spec.loss) is not None
    opened = open_run(
        run_id,
        made["model"],
        spec.origin,
        None if spec.val_fraction is not None else spec.val,
        None if is_named else made["loss"],
        forward=made["forward"],
        optimizer=None if isinstance(spec.optimizer, str) else made["optimizer"],
        metrics=None if _are_names(spec.metrics) else spec.metrics,
        techniques=spec.techniques or None,
        edits=[*made["given"].values()],
        schedule=spec.hyperparams.get("schedule") if not isinstance(spec.hyperparams.get("schedule"), str) else None,
        store=AUTO if run.store is None else run.store,
    )
    assert isinstance(opened, Run)  # as it was given a model
    return opened


def find_rate(run: Steerable) -> Sweep:
    """Try learning rates for a run, see `nbopt.Run.find_lr`."""
    if not isinstance(run, Run):
        raise TypeError(_("{name} has neither model nor data of its own to try rates on.", name=run.name))
    return run.find_lr()


def find_what_ifs(
    run: Steerable,
    wake: Callable[[], None],
    is_seen: Callable[[], bool],
    ranges: Callable[[Key], Sequence[Sequence[Any]] | None],
) -> WhatIfs:
    """Return what keeps up to date what values of a run's hyperparameters would do."""
    if not isinstance(run, Run):
        raise TypeError(_("{name} has neither model nor data of its own to try values on.", name=run.name))
    return WhatIfs(run, wake, is_seen, ranges)


def explore_size(run: Steerable, wake: Callable[[], None], is_seen: Callable[[], bool]) -> Explorer:
    """Return what keeps up to date how large a run's model is, and how good."""
    if not isinstance(run, Run):
        raise TypeError(_("{name} has neither model nor data of its own to look at.", name=run.name))
    return Explorer(run, wake, is_seen)


def rename(run: Steerable, name: str) -> None:
    """Call a run of this process something else."""
    if isinstance(run, Session):
        run.name = check_text("name", name)
        run.announce()


def leave_store(run: Steerable) -> None:
    """Have a run of this process write to its store no more."""
    if isinstance(run, Session) and run.recorder is not None:
        run.recorder.leave()


def _are_names(metrics: Any) -> bool:
    items = metrics.values() if isinstance(metrics, dict) else metrics or ()
    return all(isinstance(item, str) or (isinstance(item, list) and _are_names(item)) for item in items)
