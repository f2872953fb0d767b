import os
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Subset, TensorDataset, WeightedRandomSampler, get_worker_info

from nbopt.data.cursor import Cursor
from nbopt.data.sources import DatasetSource, StreamSource, as_source
from nbopt.data.tensor_source import TensorSource
from nbopt.data.workers import _Fetcher, _Task
from tests.data.fetched import N, Rows, deal, indices, pids
from tests.waiting import eventually


class Noisy(Rows):
    """Draws from one of the generators that augmentations use."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def __getitem__(self, index):
        return torch.tensor([float(index)]), self.draw()


DRAWS = {"torch": lambda: torch.rand(()).item(), "random": random.random, "numpy": np.random.rand}


def same(some, others):
    return all(
        torch.equal(x, other_x) and torch.equal(y, other_y)
        for (x, y), (other_x, other_y) in zip(some, others, strict=True)
    )


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
