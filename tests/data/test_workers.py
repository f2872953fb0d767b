import gc
import multiprocessing
import os
import random
import signal
from copy import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset, WeightedRandomSampler, get_worker_info

from nbopt.data import noise
from nbopt.data.cursor import Cursor
from nbopt.data.sources import DatasetSource, StreamSource, as_source
from nbopt.data.split import split
from nbopt.data.tensor_source import TensorSource
from nbopt.data.workers import _Fetcher, _Task
from tests.waiting import eventually

N = 40


class Rows(Dataset):
    """Tells who fetched a sample, and counts how often each was: in memory shared with the workers."""

    def __init__(self, fails_at=None, error=None):
        self.fetched = torch.zeros(N, dtype=torch.int64).share_memory_()
        self.fails_at = fails_at
        self.error = error

    def __len__(self):
        return N

    def __getitem__(self, index):
        if index == self.fails_at:
            raise self.error
        self.fetched[index] += 1
        return torch.tensor([float(index)]), os.getpid()


class Noisy(Rows):
    """Draws from one of the generators that augmentations use."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def __getitem__(self, index):
        return torch.tensor([float(index)]), self.draw()


DRAWS = {"torch": lambda: torch.rand(()).item(), "random": random.random, "numpy": np.random.rand}


@pytest.fixture
def source_of():
    """Return a maker of sources that workers fetch for; the workers end with the test."""
    sources = []

    def make(dataset, workers=2, **settings):
        loader = DataLoader(dataset, num_workers=workers, **{"batch_size": 4, "shuffle": True, **settings})
        sources.append(as_source(loader, "train"))
        return sources[-1]

    yield make
    for source in sources:
        source.workers.stop()


def deal(source, sizes, seed=0, place=(0, 0, 0)):
    """Deal out one batch of each size, from ``place`` on."""
    cursor = Cursor(source, seed)
    cursor.seek(*place)
    batches = []
    for size in sizes:
        cursor.batch_size = size
        batches.append(cursor.peek())
        cursor.advance()
    return batches


def indices(batches):
    return [int(index) for x, _y in batches for index in x]


def pids(batches):
    return {int(pid) for _x, y in batches for pid in y}


def same(some, others):
    return all(
        torch.equal(x, other_x) and torch.equal(y, other_y)
        for (x, y), (other_x, other_y) in zip(some, others, strict=True)
    )


def is_alive(pid):
    return any(child.pid == pid for child in multiprocessing.active_children())


def test_a_loader_with_workers_keeps_them(source_of):
    source = source_of(Rows())
    assert isinstance(source, DatasetSource)
    assert (source.size, source.batch_size, source.sampler) == (N, 4, None)
    fetchers = pids(deal(source, [4] * 10))
    assert len(fetchers) == 2 and os.getpid() not in fetchers


def test_a_loader_without_workers_fetches_where_it_did():
    source = as_source(DataLoader(Rows(), batch_size=4), "train")
    assert source.workers is None
    assert pids(deal(source, [4] * 10)) == {os.getpid()}


def test_tensors_in_memory_and_streams_stay_what_they_are():
    tensors = TensorDataset(torch.zeros(N, 2), torch.zeros(N))
    assert isinstance(as_source(DataLoader(tensors, num_workers=2), "train"), TensorSource)
    assert isinstance(as_source(DataLoader(Rows(), batch_size=None, num_workers=2), "train"), StreamSource)


@pytest.fixture(scope="module")
def warm():
    """Return a source whose workers serve one example after the other."""
    source = as_source(DataLoader(Rows(), shuffle=True, num_workers=2), "train")
    yield source
    source.workers.stop()


@settings(max_examples=15)
@given(sizes=st.lists(st.integers(1, 2 * N), min_size=1, max_size=15), seed=st.integers(0, 2**64))
def test_batches_are_those_of_a_loader_without_workers_whatever_the_batch_sizes(warm, sizes, seed):
    plain = as_source(DataLoader(Rows(), shuffle=True), "train")
    batches = deal(warm, sizes, seed)
    assert [indices([batch]) for batch in batches] == [indices([batch]) for batch in deal(plain, sizes, seed)]
    seen = indices(batches)
    for start in range(0, len(seen), N):
        assert len(set(seen[start : start + N])) == len(seen[start : start + N])


def test_the_workers_stay_whatever_the_cursor_does(source_of):
    source = source_of(Rows())
    first = pids(deal(source, [4] * 10))
    assert pids(deal(source, [4, 4, 7, 7, 7, 1, 30, 30, 30])) == first  # batch sizes and epochs
    assert pids(deal(source, [3] * 5, place=(0, 11, 0))) == first  # a rewind
    source.begin(5)
    assert pids([source.batch(0, 4), source.batch(4, 8), source.batch(0, 4), source.batch(4, 8)]) == first


class Harder(Rows):
    """Its samples depend on settings that the training changes."""

    def __init__(self):
        super().__init__()
        self.level = 0

    def __getitem__(self, index):
        return torch.tensor([float(self.level)]), os.getpid()


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("wrap", [lambda dataset: dataset, lambda dataset: Subset(dataset, range(N))])
def test_workers_see_in_the_next_epoch_what_was_changed_in_the_dataset(source_of, wrap, persistent):
    dataset = Harder()
    source = source_of(wrap(dataset), persistent_workers=persistent)
    cursor = Cursor(source, 0)
    cursor.batch_size = 20
    seen = []
    for _batch in range(6):
        seen.append(int(cursor.peek()[0][0]))
        dataset.level += 1  # seen from the next epoch on
        cursor.advance()
    assert seen == ([0] * 6 if persistent else [0, 0, 2, 2, 4, 4])


@pytest.mark.parametrize("draw", DRAWS)
def test_augmentation_follows_from_the_seed_whichever_worker_draws(source_of, draw):
    source = source_of(Noisy(DRAWS[draw]))
    sizes = [4, 4, 9, 9, 9, 9, 5, 5]
    whole = deal(source, sizes)
    assert same(whole, deal(source_of(Noisy(DRAWS[draw]), workers=1), sizes))
    assert same(whole[3:], deal(source, sizes[3:], place=(0, 17, 0)))
    assert not same(whole, deal(source, sizes, seed=1))
    assert len({float(y) for _x, ys in whole for y in ys}) == sum(len(ys) for _x, ys in whole)


def test_what_torch_draws_is_what_it_draws_without_workers(source_of):
    plain = as_source(DataLoader(Noisy(DRAWS["torch"]), batch_size=4, shuffle=True), "train")
    assert same(deal(source_of(Noisy(DRAWS["torch"])), [4, 4, 7, 30, 30]), deal(plain, [4, 4, 7, 30, 30]))


def test_the_generators_of_the_process_are_left_alone(source_of):
    torch.manual_seed(0)
    random.seed(0)
    before = torch.random.get_rng_state(), random.getstate()
    deal(source_of(Noisy(DRAWS["torch"])), [4, 5])
    assert torch.equal(torch.random.get_rng_state(), before[0]) and random.getstate() == before[1]


def test_workers_fetch_ahead_as_far_as_the_loader_says(source_of):
    dataset = Rows()
    source = source_of(dataset, shuffle=False, prefetch_factor=2)
    deal(source, [4])
    ahead = 4 + 2 * 2 * 4  # the batch dealt out; then two for each worker
    eventually(lambda: dataset.fetched.sum() == ahead)
    assert dataset.fetched.tolist() == [1] * ahead + [0] * (N - ahead)
    for start in range(4, N, 4):
        source.batch(start, start + 4)
    assert dataset.fetched.tolist() == [1] * N


def test_a_task_that_nobody_waits_for_is_not_done():
    dataset, ticket = Rows(), torch.zeros(1, dtype=torch.int64)
    fetcher = _Fetcher(dataset, list, ticket)
    ticket += 1
    states = torch.random.get_rng_state(), random.getstate(), np.random.get_state()
    try:
        assert fetcher[_Task(0, 0, [1, 2])] is None
        assert dataset.fetched.sum() == 0
        assert len(fetcher[_Task(1, 0, [1, 2])]) == 2
    finally:
        torch.random.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])


def test_a_dataset_that_fetches_many_at_once_is_asked_once_a_batch(source_of):
    class Bulk(Rows):
        def __getitems__(self, indices):
            return [(torch.tensor([float(index)]), len(indices)) for index in indices]

    assert {len(x): set(y.tolist()) for x, y in deal(source_of(Bulk()), [4, 4, 7])} == {4: {4}, 7: {7}}


def test_a_sampler_and_collate_fn_are_followed(source_of):
    def collate(samples):
        return {"x": torch.stack([x for x, _y in samples]), "n": len(samples)}

    sampler = WeightedRandomSampler([0.0] * 30 + [1.0] * 10, 20)
    source = source_of(Rows(), shuffle=False, sampler=sampler, collate_fn=collate)
    assert source.sampler is sampler and source.size == 20
    source.begin(0)
    batch = source.batch(16, 24)
    assert batch["n"] == 4 and batch["x"].min() >= 30


def test_a_worker_begins_as_the_user_says(source_of):
    class Opened(Rows):
        def __getitem__(self, index):
            return torch.tensor([float(index)]), self.opened_by

    def open_files(worker):
        get_worker_info().dataset.opened_by = worker

    assert pids(deal(source_of(Opened(), worker_init_fn=open_files), [4] * 10)) == {0, 1}


def test_batches_do_not_stay_in_memory_shared_with_the_workers(source_of):
    assert not any(tensor.is_shared() for batch in deal(source_of(Rows()), [4, 4]) for tensor in batch)


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
