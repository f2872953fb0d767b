import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    Sampler,
    TensorDataset,
)

from nbopt.data.cursor import Cursor
from nbopt.data.sources import StreamSource, as_source


class Rows(Dataset):
    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return torch.tensor([float(index)]), index


class Stream(IterableDataset):
    """Yields its numbers; raises once before the one named."""

    def __init__(self, size, fails_at=None):
        self.size = size
        self.fails_at = fails_at

    def __iter__(self):
        for index in range(self.size):
            if index == self.fails_at:
                self.fails_at = None
                raise OSError("disk gone")
            yield torch.tensor([float(index)]), index


def cursor_over(data, seed=0, batch_size=64):
    cursor = Cursor(as_source(data, "train"), seed)
    cursor.batch_size = batch_size
    return cursor


def indices(batch):
    return batch[0].reshape(-1).int().tolist()


def step(cursor):
    """Use the next batch; return whether the epoch is complete."""
    cursor.peek()
    return cursor.advance()


def take(cursor, sizes):
    """Deal out one batch of each size; return the samples seen, epoch by epoch, the last maybe unfinished."""
    epochs = [[]]
    for size in sizes:
        cursor.batch_size = size
        batch = cursor.peek()
        epochs[-1].extend(indices(batch))
        if cursor.advance():
            epochs.append([])
    return epochs


FORMS = {
    "tensors": lambda n: (torch.arange(n)[:, None].float(), torch.arange(n)),
    "dataset": Rows,
    "loader of tensors": lambda n: DataLoader(
        TensorDataset(torch.arange(n)[:, None].float(), torch.arange(n)), shuffle=True
    ),
    "loader of a dataset": lambda n: DataLoader(Rows(n), shuffle=True),
}


@pytest.mark.parametrize("form", FORMS)
@given(size=st.integers(1, 40), sizes=st.lists(st.integers(1, 50), min_size=1, max_size=40), seed=st.integers(0, 2**64))
def test_every_sample_is_seen_once_an_epoch_whatever_the_batch_sizes(form, size, sizes, seed):
    *complete, last = take(cursor_over(FORMS[form](size), seed), sizes)
    assert all(sorted(epoch) == list(range(size)) for epoch in complete)
    assert len(set(last)) == len(last)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_the_order_does_not_depend_on_the_batch_sizes(sizes):
    seen = [sample for epoch in take(cursor_over(Rows(17), 5), sizes) for sample in epoch]
    one_by_one = [sample for epoch in take(cursor_over(Rows(17), 5), [1] * len(seen)) for sample in epoch]
    assert seen == one_by_one


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [tuple(epoch) for seed in (0, 1) for epoch in take(cursor_over(Rows(20), seed), [20] * 3)[:3]]
    assert len(set(orders)) == 6


def test_a_peek_does_not_move():
    cursor = cursor_over(Rows(10), batch_size=4)
    assert indices(cursor.peek()) == indices(cursor.peek())
    assert (cursor.position, cursor.epoch) == (0, 0)


def test_whoever_looks_at_the_next_batch_moves_nothing():
    cursor = cursor_over(FORMS["tensors"](10), batch_size=2)
    several = indices(cursor.peek(3))
    assert indices(cursor.peek()) == several[:2]
    assert not cursor.advance(3) and cursor.position == 6
    assert not {*several} & {*indices(cursor.peek())}


def test_a_size_that_changes_between_peek_and_advance_skips_nothing():
    cursor, seen = cursor_over(Rows(10)), []
    for size in (3, 7, 1, 9):
        batch = cursor.peek()
        cursor.batch_size = size
        seen += indices(batch)
        if cursor.advance():
            break
    assert sorted(seen) == list(range(10))


def test_an_enormous_batch_is_the_whole_epoch():
    cursor = cursor_over(FORMS["tensors"](10), batch_size=2**63 - 1)
    assert len(indices(cursor.peek())) == 10
    assert step(cursor)


def test_progress_counts_the_epoch_in_part():
    cursor = cursor_over(Rows(10), batch_size=4)
    seen = []
    for _ in range(4):
        step(cursor)
        seen.append((cursor.progress, cursor.epoch, cursor.position))
    assert seen == [(0.4, 0, 4), (0.8, 0, 8), (1.0, 1, 0), (1.4, 1, 4)]


@pytest.mark.parametrize("form", FORMS)
def test_a_sample_that_only_a_change_of_size_left_over_gets_a_second_one_of_the_batch_before(form):
    cursor = cursor_over(FORMS[form](124))
    dealt = []
    for size in (43, *[16] * 6):
        cursor.batch_size = size
        dealt.append(len(indices(cursor.peek())))
        done = cursor.advance()
    assert (dealt, done) == ([43, 16, 16, 16, 16, 15, 2], True)


def test_batches_of_one_size_leave_a_single_sample_over_as_a_plain_loop_does():
    cursor = cursor_over(Rows(33), batch_size=16)
    dealt = []
    for _ in range(3):
        dealt.append(len(indices(cursor.peek())))
        cursor.advance()
    assert dealt == [16, 16, 1]


@pytest.mark.parametrize(("size", "left_out"), [(32, False), (16, False), (31, True)])
def test_a_single_sample_is_left_out_only_where_the_present_size_would_not_leave_it(size, left_out):
    cursor = cursor_over(Rows(33), batch_size=16)
    step(cursor)
    step(cursor)
    cursor.batch_size = size
    cursor.seek(*cursor.place())
    assert cursor.leave_out() == left_out
    assert (cursor.epoch, cursor.position) == ((1, 0) if left_out else (0, 32))


def test_a_dataset_that_grew_is_seen_whole_in_the_next_epoch():
    rows = Rows(4)
    cursor = cursor_over(DataLoader(rows), batch_size=4)
    seen = [indices(cursor.peek())]
    rows.size = 6
    cursor.advance()
    seen.append(indices(cursor.peek()))
    assert [sorted(epoch) for epoch in seen] == [[0, 1, 2, 3], [0, 1, 2, 3]]
    assert not cursor.advance() and cursor.progress == 1 + 4 / 6


# -- drop_last


def dropping(n, size, dataset=None):
    dataset = TensorDataset(torch.arange(n)[:, None].float()) if dataset is None else dataset
    return Cursor(as_source(DataLoader(dataset, batch_size=size, drop_last=True, shuffle=True), "train"), 0)


@pytest.mark.parametrize("form", [None, Rows(65)], ids=["tensors", "dataset"])
@given(size=st.integers(1, 65))
def test_what_fills_no_batch_is_dropped_as_a_loader_drops_it(form, size):
    cursor = dropping(65, size, form)
    cursor.batch_size = size
    plain = [len(batch[0]) for batch in DataLoader(Rows(65), batch_size=size, drop_last=True)] * 2
    dealt, done = [], []
    for _ in plain:
        dealt.append(len(indices(cursor.peek())))
        done.append(cursor.advance())
    assert dealt == plain
    assert [k for k, last in enumerate(done) if last] == [len(plain) // 2 - 1, len(plain) - 1]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=40))
def test_a_size_set_live_drops_what_is_too_little_for_it(sizes):
    cursor, seen = dropping(20, 1), []
    for size in sizes:
        cursor.batch_size = size
        before = cursor.position
        if cursor.resize():
            assert 0 < 20 - before < size
            seen = []
        batch = indices(cursor.peek())
        assert len(batch) == size
        seen += batch
        assert len(set(seen)) == len(seen)
        left = 20 - len(seen)
        assert cursor.advance() == (left < size)
        if left < size:
            seen = []


def test_a_batch_size_that_drops_all_is_an_error_in_words_and_another_one_goes_on():
    cursor = dropping(20, 5)
    cursor.batch_size = 21
    with pytest.raises(ValueError, match="train holds 20 samples: drop_last=True leaves no batch of 21"):
        cursor.peek()
    cursor.batch_size = 20
    assert step(cursor)


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


# -- streams


def test_a_stream_is_dealt_out_as_it_comes():
    epochs = take(cursor_over(DataLoader(Stream(10), batch_size=4)), [99] * 7)
    assert epochs == [list(range(10)), list(range(10)), [0, 1, 2, 3]]


def test_a_stream_tells_epochs_and_batches_but_no_size():
    cursor = cursor_over(DataLoader(Stream(10), batch_size=4))
    assert cursor.epoch_size is None
    positions = []
    for _ in range(3):
        step(cursor)
        positions.append((cursor.epoch, cursor.position, cursor.progress))
    assert positions == [(0, 1, 0.0), (0, 2, 0.0), (1, 0, 1.0)]


class Counted(Stream):
    """A stream that tells how many samples it is going to yield, or is wrong about it."""

    def __init__(self, size, told):
        super().__init__(size)
        self.told = told

    def __len__(self):
        return self.told


@pytest.mark.parametrize(
    ("loader", "progress"),
    [
        (lambda: DataLoader(Counted(10, 10), batch_size=4), [1 / 3, 2 / 3, 1.0, 4 / 3]),
        (lambda: DataLoader(Rows(10), batch_sampler=[[0, 1], [2], [3, 4, 5], [6]]), [0.25, 0.5, 0.75, 1.0]),
        (lambda: DataLoader(Counted(10, 40), batch_size=4), [0.1, 0.2, 1.0, 1.1]),
        (lambda: DataLoader(Stream(10), batch_size=4), [0.0, 0.0, 1.0, 1.0]),
    ],
    ids=["iterable", "batch sampler", "too long told", "no length"],
)
def test_progress_counts_the_batches_of_a_stream_whose_length_is_known(loader, progress):
    cursor = cursor_over(loader())
    seen = []
    for _ in range(4):
        step(cursor)
        seen.append(cursor.progress)
    assert seen == pytest.approx(progress)


@pytest.mark.filterwarnings("ignore:Length of IterableDataset")
def test_progress_never_passes_the_end_of_an_epoch_that_is_longer_than_told():
    cursor = cursor_over(DataLoader(Counted(10, 4), batch_size=2))
    seen = []
    for _ in range(6):
        step(cursor)
        seen.append(cursor.progress)
    assert seen == [0.5, 1.0, 1.0, 1.0, 1.0, 1.5]


def test_progress_of_a_stream_comes_back_with_its_place():
    cursor = cursor_over(DataLoader(Counted(10, 10), batch_size=4))
    step(cursor)
    other = cursor_over(DataLoader(Counted(10, 10), batch_size=4))
    other.seek(*cursor.place())
    assert other.progress == cursor.progress == pytest.approx(1 / 3)


@pytest.mark.parametrize("fails_at", range(10))
def test_a_stream_that_raised_goes_on_where_it_was(fails_at):
    cursor, seen, errors = cursor_over(DataLoader(Stream(10, fails_at), batch_size=2)), [], 0
    while True:
        try:
            batch = cursor.peek()
            seen += indices(batch)
            done = cursor.advance()
        except OSError:
            errors += 1
            continue
        if done:
            break
    assert (seen, errors) == (list(range(10)), 1)


def test_a_stream_without_a_batch_is_an_error_in_words():
    with pytest.raises(ValueError, match="train yielded no batch in epoch 0"):
        cursor_over(DataLoader(Stream(0))).peek()
