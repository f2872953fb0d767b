"""Opening what the store holds again: a run, or a study."""

from __future__ import annotations

from typing import Any

from nbopt.errors import InvalidHyperparam
from nbopt.i18n import _
from nbopt.run.population.population import Population
from nbopt.run.run import Run
from nbopt.run.stored import reopen
from nbopt.search.record import Record as StudyRecord
from nbopt.search.record import find_studies
from nbopt.search.spec import StudySpec
from nbopt.search.study import Study
from nbopt.store.database import AUTO, Place, folder_of
from nbopt.store.listing import reading
from nbopt.store.reading import Record


def open(  # noqa: A001
    run_id: str,
    model: Any = None,
    train: Any = None,
    val: Any = None,
    loss: Any = None,
    *,
    store: Place = AUTO,
    **given: Any,
) -> Run | Population | Record | Study:
    """Open a stored run or study again.

    A run, without a model: its record, to read. With the model and data it was made with: the run itself, under the
    same id, at rest exactly where it was. Going on, it ends where it would have ended unbroken: on the CPU, with the
    same number of threads, bit for bit.

    A study, without ``build``: to read. With what it was made with: the study itself, at rest, with all trials that
    had ended. Those that were under way are asked for again.

    Parameters
    ----------
    run_id : str
        As `nbopt.runs` lists it, or ``study.id``; or as much of the beginning as no other one shares.
    model, train, val
        As given to `Run`; the weights of the model are replaced by the stored ones. ``val`` is not needed where it was
        a share of ``train``. Of a study, ``model`` is ``build``.
    loss : optional
        As given to `Run`. Only functions, classes and instances of yours are needed; names are stored.
    store : str or path
        The store's folder; by default ``NBOPT_HOME``, else ``.nbopt`` in the working directory.
    **given
        ``forward``, ``optimizer``, ``metrics``, ``techniques``, ``schedule`` and ``device``, as given to `Run`;
        ``edits``, of those that made the model another one, the ones that you gave a module, as
        `nbopt.edits.Fuse(other)`; of a study, ``objective``, ``sampler``, ``pruner`` and ``executor`` too, and
        ``space`` where its options are classes, functions or other objects.

    Returns
    -------
    Record, Run, Population or Study

    Raises
    ------
    InvalidHyperparam
        If the store holds no such run or study.
    ValueError
        If model, data, loss, optimizer or metrics are not those it was made with; the message names what differs.
    nbopt.store.schema.StoreError
        If it is spoilt, or the store cannot be read.
    RuntimeError
        If it is open in another process, or running in this one.

    Examples
    --------
    >>> model = torch.nn.Linear(4, 3)
    >>> first = nbopt.Run(model, (X, X[:, :3]), loss="mse", epochs=2).fit()
    >>> record = nbopt.open(first.id)
    >>> record.state, record.step, record.hyperparams["lr"]
    ('finished', 2, 0.001)
    >>> again = nbopt.open(first.id, torch.nn.Linear(4, 3), (X, X[:, :3]))
    >>> again.set(epochs=4)
    >>> again.fit().step_count
    4
    """
    studies = find_studies(folder_of(store), run_id) if isinstance(run_id, str) and run_id else []
    if not studies:
        return reopen.open(run_id, model, train, val, loss, store=store, **given)
    if len(found := [*studies, *_find_runs(store, run_id)]) > 1:
        names = ", ".join(found)
        raise InvalidHyperparam(_("several runs or studies begin with {id}: {names}.", id=run_id, names=names))
    return _open_study(studies[0], store, {"build": model, "train": train, "val": val, "loss": loss, **given})


def _find_runs(store: Place, start: str) -> list[str]:
    """Return the ids of the runs that begin so."""
    with reading(store) as (_folder, connection):
        if connection is None:
            return []
        query = "SELECT id FROM runs WHERE substr(id, 1, ?) = ? ORDER BY id"
        return [str(row[0]) for row in connection.execute(query, (len(start), start))]


def _open_study(number: str, store: Place, given: dict[str, Any]) -> Study:
    record = StudyRecord(folder_of(store), number)
    made = record.made
    spec = StudySpec.of_record(made, given).put(store=store, id=number)
    whole = spec.build is not None if made["built"] else callable(spec.objective)
    if whole:
        missing = [name for name in made["missing"] if given.get(name) is None]
        if missing:
            names = ", ".join(missing)
            told = _("study {id} was made with {names} of your own", id=number, names=names)
            raise ValueError(_("{told}: give it again.", told=told))
    return Study.of(spec, record)


__all__ = ["open"]
