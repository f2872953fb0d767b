"""A place in the order that a sampler of the user's draws."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    Sampler,
)

from nbopt.data.sources import StreamSource
from tests.data.dealt import Rows, cursor_over, indices, step, take

# -- samplers


class Draws(Sampler):
    """Draws without end, with torch's generator; counts how many."""

    drawn = 0

    def __init__(self, length=10**10):
        self.length = length

    def __len__(self):
        return self.length

    def __iter__(self):
        while True:
            self.drawn += 1
            yield int(torch.randint(100, ()))


def test_a_sampler_of_ten_thousand_million_draws_is_drawn_as_far_as_it_is_needed():
    sampler = Draws()
    cursor = cursor_over(DataLoader(Rows(100), sampler=sampler), batch_size=4)
    for _ in range(3):
        step(cursor)
    assert 12 <= sampler.drawn <= 13
    assert cursor.progress == pytest.approx(12e-10)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=12), st.data())
def test_a_sampler_draws_the_same_again_from_any_place(sizes, data):
    cursor, seen, places = cursor_over(DataLoader(Rows(100), sampler=Draws())), [], []
    for size in sizes:
        cursor.batch_size = size
        places.append(cursor.place())
        seen.append(indices(cursor.peek()))
        torch.rand(3)  # somebody else draws
        cursor.advance()
    k = data.draw(st.integers(0, len(sizes) - 1))
    other = cursor_over(DataLoader(Rows(100), sampler=Draws()))
    other.seek(*places[k])
    again = [sample for batch in take(other, sizes[k:]) for sample in batch]
    assert again == [sample for batch in seen[k:] for sample in batch]


@pytest.mark.parametrize("told", [3, 10, 17])
def test_an_epoch_ends_where_the_sampler_ends_whatever_length_it_tells(told):
    class Wrong(Sampler):
        def __len__(self):
            return told

        def __iter__(self):
            return iter(range(10))

    epochs = take(cursor_over(DataLoader(Rows(10), sampler=Wrong())), [4] * 7)
    assert epochs == [list(range(10)), list(range(10)), [0, 1, 2, 3]]


def test_a_sampler_without_a_length_is_iterated_as_it_is():
    class Endless(Sampler):
        def __iter__(self):
            return itertools.count()

    cursor = cursor_over(DataLoader(Rows(10), sampler=Endless(), batch_size=3))
    assert isinstance(cursor.source, StreamSource)
    assert take(cursor, [99] * 3) == [list(range(9))]


def test_a_sampler_that_looks_at_the_training_is_asked_no_earlier_than_a_loop_asks_it():
    done, asked = [], []

    class Mining(Sampler):
        def __len__(self):
            return 10

        def __iter__(self):
            for index in range(10):
                asked.append((index, len(done)))
                yield index

    loader = DataLoader(Rows(10), sampler=Mining(), batch_size=2)
    for batch in loader:
        done.append(batch)
    plain, asked[:] = list(asked), []
    done.clear()
    cursor = cursor_over(loader, batch_size=2)
    while True:
        done_before = len(done)
        batch = cursor.peek()
        done.append(batch)
        assert done_before == len(done) - 1
        if cursor.advance():
            break
    assert asked == plain


def test_a_sampler_that_raised_goes_on_where_it_was():
    class Flaky(Sampler):
        failed = False

        def __len__(self):
            return 10

        def __iter__(self):
            for index in range(10):
                if index == 5 and not self.failed:
                    self.failed = True
                    raise OSError("disk gone")
                yield index

    cursor, seen, errors = cursor_over(DataLoader(Rows(10), sampler=Flaky()), batch_size=3), [], 0
    while not cursor.epoch:
        try:
            batch = indices(cursor.peek())
            cursor.advance()
        except OSError:
            errors += 1
            continue
        seen += batch
    assert (seen, errors) == (list(range(10)), 1)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sampler_and_a_batch_sampler_are_told_the_epoch(workers):
    class ByEpoch(Sampler):
        def __init__(self):
            self.told = []

        def set_epoch(self, epoch):
            self.told.append(epoch)

        def __len__(self):
            return 6

        def __iter__(self):
            return iter([10 * self.told[-1] + k for k in range(6)])

    sampler = ByEpoch()
    in_batches = ByEpoch()
    loaders = [
        (sampler, DataLoader(Rows(99), sampler=sampler, batch_size=3, num_workers=workers)),
        (in_batches, DataLoader(Rows(99), batch_sampler=BatchSampler(in_batches, 3, False), num_workers=workers)),
    ]
    for told, loader in loaders:
        epochs = take(cursor_over(loader, batch_size=3), [3] * 6)[:3]
        assert epochs == [[10 * epoch + k for k in range(6)] for epoch in range(3)]
        assert told.told == [0, 1, 2]


def test_a_distributed_sampler_has_another_order_each_epoch_as_its_documentation_asks_for():
    sampler = DistributedSampler(Rows(20), num_replicas=2, rank=0, seed=3)
    seen = take(cursor_over(DataLoader(Rows(20), sampler=sampler)), [10] * 3)[:3]
    plain = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        plain.append(list(sampler))
    assert seen == plain and len({tuple(order) for order in seen}) == 3
