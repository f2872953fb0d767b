import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from nbopt.data.cursor import Cursor
from nbopt.data.sources import as_source
from tests.data.dealt import Rows, cursor_over, indices, step, take

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
