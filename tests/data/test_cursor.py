import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from nbopt.data.cursor import Cursor
from nbopt.data.sources import as_source


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


def take(cursor, sizes):
    """Deal out one batch of each size; return the samples seen, epoch by epoch, the last maybe unfinished."""
    epochs = [[]]
    for size in sizes:
        cursor.batch_size = size
        batch = cursor.peek()
        epochs[-1].extend(indices(batch))
        if cursor.advance(batch):
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


def test_a_size_that_changes_between_peek_and_advance_skips_nothing():
    cursor, seen = cursor_over(Rows(10)), []
    for size in (3, 7, 1, 9):
        batch = cursor.peek()
        cursor.batch_size = size
        seen += indices(batch)
        if cursor.advance(batch):
            break
    assert sorted(seen) == list(range(10))


def test_an_enormous_batch_is_the_whole_epoch():
    cursor = cursor_over(FORMS["tensors"](10), batch_size=2**63 - 1)
    assert len(indices(cursor.peek())) == 10
    assert cursor.advance(cursor.peek())


def test_progress_counts_the_epoch_in_part():
    cursor = cursor_over(Rows(10), batch_size=4)
    seen = []
    for _ in range(4):
        cursor.advance(cursor.peek())
        seen.append((cursor.progress, cursor.epoch, cursor.position))
    assert seen == [(0.4, 0, 4), (0.8, 0, 8), (1.0, 1, 0), (1.4, 1, 4)]


# -- streams


def test_a_stream_is_dealt_out_as_it_comes():
    epochs = take(cursor_over(DataLoader(Stream(10), batch_size=4)), [99] * 7)
    assert epochs == [list(range(10)), list(range(10)), [0, 1, 2, 3]]


def test_a_stream_tells_epochs_and_samples_but_no_size():
    cursor = cursor_over(DataLoader(Stream(10), batch_size=4))
    assert cursor.epoch_size is None
    positions = []
    for _ in range(3):
        cursor.advance(cursor.peek())
        positions.append((cursor.epoch, cursor.position, cursor.progress))
    assert positions == [(0, 4, 0.0), (0, 8, 0.0), (1, 0, 1.0)]


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
        cursor.advance(cursor.peek())
        seen.append(cursor.progress)
    assert seen == pytest.approx(progress)


@pytest.mark.filterwarnings("ignore:Length of IterableDataset")
def test_progress_never_passes_the_end_of_an_epoch_that_is_longer_than_told():
    cursor = cursor_over(DataLoader(Counted(10, 4), batch_size=2))
    seen = []
    for _ in range(6):
        cursor.advance(cursor.peek())
        seen.append(cursor.progress)
    assert seen == [0.5, 1.0, 1.0, 1.0, 1.0, 1.5]


def test_progress_of_a_stream_comes_back_with_its_place():
    cursor = cursor_over(DataLoader(Counted(10, 10), batch_size=4))
    cursor.advance(cursor.peek())
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
            done = cursor.advance(batch)
        except OSError:
            errors += 1
            continue
        if done:
            break
    assert (seen, errors) == (list(range(10)), 1)


def test_a_stream_without_a_batch_is_an_error_in_words():
    with pytest.raises(ValueError, match="train yielded no batch in epoch 0"):
        cursor_over(DataLoader(Stream(0))).peek()
