"""Workers: processes that fetch batches ahead of the cursor, and stay when the cursor goes elsewhere.

They are those of torch's `DataLoader`, with ``persistent_workers``, which is told what batches to fetch in place of a
sampler. A cursor that moves on finds its next batch under way; for one that went elsewhere (a new batch size, a rewind,
a new epoch) the same processes fetch other batches.
"""

from __future__ import annotations

import gc
import pickle
import signal
import traceback
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from nbopt.data.generators import NUMPYS, PYTHONS, seed
from nbopt.data.noise import Noise
from nbopt.data.order import Order
from nbopt.data.reached import find_generators
from nbopt.i18n import _


class _Task(NamedTuple):
    """A batch to fetch."""

    ticket: int
    seed: int
    indices: list[Any]


class _Failure(NamedTuple):
    """What came of a batch whose fetching raised."""

    error: Exception


class _Plan:
    """The batches from a place on, all of one size; the `DataLoader` takes it for a sampler."""

    def __init__(self) -> None:
        self.ticket = 0
        self.order = Order(())
        self.seed = self.start = self.size = 0

    def __iter__(self) -> Iterator[_Task]:
        ticket, seed, order, start, size = self.ticket, self.seed, self.order, self.start, self.size
        while indices := order.take(start, start + size):
            yield _Task(ticket, seed + start, indices)
            start += size


class _Fetcher(Dataset[Any]):
    """Fetches and collates batches, in a worker.

    Parameters
    ----------
    dataset : Dataset
    collate : callable
    ticket : Tensor
        Of the tasks wanted now, in memory shared with the process that trains.
    """

    def __init__(self, dataset: Dataset[Any], collate: Callable[[list[Any]], Any], ticket: Tensor) -> None:
        self.dataset = dataset
        self._collate = collate
        self._ticket = ticket
        self._generators: list[Any] | None = None

    def __getitem__(self, task: _Task) -> Any:
        if self._is_stale(task):
            return None
        torch.default_generator.manual_seed(task.seed)  # as without workers
        if self._generators is None:  # in the worker, which has copies
            self._generators = [PYTHONS, NUMPYS, *find_generators(self.dataset, self._collate).own]
        for generator in self._generators:
            seed(generator, task.seed)
        try:
            if hasattr(self.dataset, "__getitems__"):
                samples = self.dataset.__getitems__(task.indices)
            else:
                samples = [self.dataset[index] for index in task.indices if not self._is_stale(task)]
            return None if self._is_stale(task) else self._collate(samples)
        except Exception as error:
            return _Failure(_portable(error))

    def _is_stale(self, task: _Task) -> bool:
        """Whether nobody waits for a task any more; torch drops what comes of it."""
        return self._ticket.item() != task.ticket


class Workers:
    """Fetches the batches of a dataset in processes of their own, which start with the first batch.

    A batch is what it would be without workers, whichever of them fetches it: the generators of torch, `random` and
    numpy are seeded for each, and so are those that dataset and collate function have of their own.

    Parameters
    ----------
    dataset : Dataset
        Map-style.
    loader : DataLoader
        The user's: says how many workers there are, how they begin, how far ahead they fetch and how they collate.
    """

    def __init__(self, dataset: Dataset[Any], loader: DataLoader[Any]) -> None:
        self._dataset = dataset
        self._given = loader
        self._noise = Noise(torch.device("cpu"))
        self._plan = _Plan()
        self._ticket = torch.zeros(1, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._loader: DataLoader[Any] | None = None
        self._began: list[dict[str, Any]] = []  # what the dataset was when the processes began
        self._end: Callable[[], object] = lambda: None
        self._stream: Iterator[Any] = iter(())
        self._next = (-1, -1, -1)  # seed, start and stop of the batch that the stream yields next

    def __copy__(self) -> Workers:
        return self.over(self._dataset)

    def over(self, dataset: Dataset[Any]) -> Workers:
        """Return other workers like these, which fetch from ``dataset``."""
        return Workers(dataset, self._given)

    def fetch(self, order: Order, seed: int, start: int, stop: int) -> Any:
        """Return a collated batch, and have the ones fetched that would follow.

        Parameters
        ----------
        order : Order
            The epoch's sample indices.
        seed : int
            The epoch's; the batch draws from ``seed + start``.
        start, stop : int
            Positions in ``order``.

        Raises
        ------
        Exception
            What the dataset raised, or RuntimeError where a worker died or its time was up. The next call starts other
            workers: they see what was put right in the dataset, and no queue that was torn when a cell was interrupted.
        """
        try:
            if order is not self._plan.order or self._next != (seed, start, stop):
                self._aim(order, seed, start, stop - start)
            batch = next(self._stream)
            if isinstance(batch, _Failure):
                raise batch.error
        except BaseException:
            self.stop()
            raise
        self._next = (seed, stop, 2 * stop - start)
        return batch

    def refresh(self) -> None:
        """Begin an epoch: end the processes if the dataset is not what it was when they began.

        A loader starts its workers anew for each epoch, unless told otherwise: they see what was changed meanwhile.
        Here, the numbers, texts and flags among the dataset's attributes are compared; of other objects, whether they
        are the same ones.
        """
        if self._loader is not None and not self._given.persistent_workers and _settings(self._dataset) != self._began:
            self.stop()

    def stop(self) -> None:
        """End the processes; another `fetch` starts others."""
        self._loader = None
        self._next = (-1, -1, -1)
        self._stream = iter(())
        self._end()

    def _aim(self, order: Order, seed: int, start: int, size: int) -> None:
        """Have the batches from ``start`` on fetched, and no others."""
        self._ticket += 1
        plan = self._plan
        plan.ticket, plan.order, plan.seed, plan.start, plan.size = int(self._ticket), order, seed, start, size
        if self._loader is None:
            self._loader = self._make_loader()
            self._began = _settings(self._dataset)
            # Collected in one cycle with its queues, torch's loader cannot send its workers word any more.
            self._end = end = weakref.finalize(self, _end, self._loader, self._ticket)
            end.atexit = False
            # Forked while another run draws, a worker would find torch's generator locked for ever.
            with self._noise.lock, self._noise.seeded(seed):
                self._stream = iter(self._loader)
        else:
            self._stream = iter(self._loader)

    def _make_loader(self) -> DataLoader[Any]:
        given = self._given
        return DataLoader(
            _Fetcher(self._dataset, given.collate_fn, self._ticket),
            batch_size=None,
            sampler=self._plan,
            collate_fn=_as_is,
            num_workers=given.num_workers,
            prefetch_factor=given.prefetch_factor,
            timeout=given.timeout,
            worker_init_fn=partial(_enter, given.worker_init_fn),
            multiprocessing_context=given.multiprocessing_context,
            pin_memory=given.pin_memory and torch.cuda.is_available(),
            persistent_workers=True,
        )


def _enter(given: Callable[[int], None] | None, worker: int) -> None:
    """Begin a worker; what the user gave for that comes last."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Jupyter interrupts all of a kernel's processes, whatever cell it is
    gc.freeze()  # what belongs to the process that trains is not for a worker to finalize
    info: Any = get_worker_info()
    object.__setattr__(info, "dataset", info.dataset.dataset)  # frozen; the user's function looks for its dataset there
    if given is not None:
        given(worker)


def _end(loader: DataLoader[Any], ticket: Tensor) -> None:
    """End a loader's workers."""
    ticket += 1  # so what they are doing ends with the sample they are at
    if loader._iterator is not None:
        loader._iterator._shutdown_workers()  # type: ignore[attr-defined]


def _settings(dataset: Any) -> list[dict[str, Any]]:
    """Return the attributes of a dataset, and of those that it takes samples from."""
    found = []
    while dataset is not None:
        own = getattr(dataset, "__dict__", {})
        plain = (bool, int, float, str, type(None))
        found.append({name: value if isinstance(value, plain) else id(value) for name, value in own.items()})
        dataset = own.get("dataset")
    return found


def _as_is(batch: Any) -> Any:
    return batch


def _portable(error: Exception) -> Exception:
    """Return ``error`` with its traceback as a note; where it cannot be sent, one that tells the same."""
    try:
        pickle.loads(pickle.dumps(error))
        sent = error
    except Exception:  # pickling runs the error's own code
        sent = RuntimeError(f"{type(error).__name__}: {error}")
    sent.add_note(_("nbopt: raised in a worker of the DataLoader:\n{trace}", trace=traceback.format_exc()))
    return sent
