"""A place in a stream of batches, whose length may be known or not."""

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from tests.data.dealt import Rows, cursor_over, indices, step, take


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
