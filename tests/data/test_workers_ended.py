"""Worker processes that fail, end, are copied with their source, and start again."""

import gc
import multiprocessing
import os
import signal
from copy import copy

import pytest
import torch
from torch.utils.data import DataLoader

from nbopt.data import noise
from nbopt.data.cursor import Cursor
from nbopt.data.sources import as_source
from nbopt.data.split import split
from tests.data.fetched import N, Rows, deal, indices, pids


def is_alive(pid):
    return any(child.pid == pid for child in multiprocessing.active_children())


# -- errors


class Unsendable(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ValueError("boom"), ValueError, "boom"),
        (KeyError("boom"), KeyError, "'boom'"),
        (Unsendable("boom", "bang"), RuntimeError, "Unsendable: boom bang"),
    ],
    ids=["plain", "key", "unsendable"],
)
def test_an_error_of_the_dataset_is_told_and_can_be_put_right(source_of, error, kind, message):
    dataset = Rows(13, error)
    cursor = Cursor(source_of(dataset, shuffle=False), 0)
    cursor.batch_size = 4
    seen = []
    with pytest.raises(kind) as caught:
        while True:
            batch = cursor.peek()
            seen.append(batch)
            cursor.advance()
    assert str(caught.value) == message
    assert "in __getitem__" in caught.value.__notes__[0]
    assert indices(seen) == list(range(12))
    dataset.fails_at = None
    while cursor.epoch == 0:
        seen.append(cursor.peek())
        cursor.advance()
    assert indices(seen) == list(range(N))


@pytest.fixture
def no_child_signal():
    """Have no handler for a child's end: torch's raises in the main thread, wherever that is."""
    before = signal.getsignal(signal.SIGCHLD)
    yield lambda: signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, before)


def test_a_worker_that_died_is_told_and_replaced(source_of, no_child_signal):
    source = source_of(Rows())
    whole = deal(source, [4] * 10)
    no_child_signal()
    for pid in pids(whole):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        deal(source, [4])
    again = deal(source, [4] * 10)
    assert indices(again) == indices(whole)
    assert pids(again).isdisjoint(pids(whole))


def test_an_interrupt_does_not_reach_the_workers(source_of):
    source = source_of(Rows())
    workers = pids(deal(source, [4] * 10))
    for pid in workers:
        os.kill(pid, signal.SIGINT)
    assert pids(deal(source, [4] * 10)) == workers


# -- whose they are, and how long


def test_copies_have_workers_of_their_own(source_of):
    source = source_of(Rows())
    other = as_source(source, "train")
    mixed = [(source.batch(start, start + 4), other.batch(start, start + 4)) for start in range(0, N, 4)]
    ours, theirs = [one for one, _other in mixed], [other for _one, other in mixed]
    assert indices(ours) == indices(theirs) == list(range(N))
    assert pids(ours).isdisjoint(pids(theirs))
    other.workers.stop()
    assert pids(deal(source, [4] * 10)) == pids(ours)


def test_parts_of_a_split_have_workers_each(source_of):
    parts = split(source_of(Rows()), 0.25, 0)
    dealt = [deal(part, [5] * (part.size // 5)) for part in parts]
    assert sorted(indices(dealt[0]) + indices(dealt[1])) == list(range(N))
    assert os.getpid() not in pids(dealt[0]) | pids(dealt[1])
    for part in parts:
        part.workers.stop()


def test_no_worker_starts_before_the_first_batch(source_of):
    before = {child.pid for child in multiprocessing.active_children()}
    source = source_of(Rows())
    copy(source.workers)
    source.begin(0)
    assert {child.pid for child in multiprocessing.active_children()} == before


@pytest.mark.parametrize("way", ["stop", "last reference", "collection"])
def test_workers_end_and_leave_nothing_behind(monkeypatch, way):
    killed = []
    monkeypatch.setattr(multiprocessing.Process, "terminate", killed.append)  # how torch ends those that do not listen
    source = as_source(DataLoader(Rows(), shuffle=True, num_workers=2), "train")
    workers = pids(deal(source, [4] * 5))
    assert all(map(is_alive, workers))
    if way == "stop":
        source.workers.stop()
    elif way == "collection":
        source.itself = source
    del source
    gc.collect()
    assert not any(map(is_alive, workers))
    assert not killed


def test_workers_are_forked_while_no_other_run_draws(source_of):
    class Asking(Rows):
        def __getitem__(self, index):
            return torch.tensor([float(index)]), noise._LOCK._is_owned()  # by the thread that forked

    source = source_of(Asking())
    source.begin(0)
    assert source.batch(0, 4)[1].all()
    assert not noise._LOCK._is_owned()


def test_workers_that_ended_start_again(source_of):
    source = source_of(Rows())
    whole = deal(source, [4] * 10)
    source.workers.stop()
    source.workers.stop()
    assert indices(deal(source, [4] * 10)) == indices(whole)
