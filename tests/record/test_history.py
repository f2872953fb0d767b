import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbopt.errors import UnknownName
from nbopt.record.column import Column
from nbopt.record.history import History


@given(st.lists(st.lists(st.floats(width=64), max_size=300), max_size=8))
def test_what_was_appended_can_be_read_in_order(parts):
    history, count = History(), 0
    for part in parts:
        history.extend("loss", range(count, count + len(part)), part)
        count += len(part)
    if parts:
        steps, values = history["loss"]
        np.testing.assert_array_equal(values, np.array([value for part in parts for value in part]))
        np.testing.assert_array_equal(steps, np.arange(count))
        assert (steps.dtype, values.dtype) == (np.int64, np.float64)


def test_the_run_s_own_clock_can_be_read_but_is_not_among_the_names():
    history = History()
    history.append("_time", 0, 0.5)
    history.append("val_loss", 10, 2.0)
    assert (history.names, list(history), len(history)) == (["val_loss"], ["val_loss"], 1)
    assert history["_time"][1].tolist() == [0.5]
    assert repr(history) == "History(val_loss: 1)"


def test_the_last_value_is_none_before_the_first():
    history = History()
    assert history.last("loss") is None
    history.append("loss", 0, 3.0)
    history.append("loss", 1, 2.0)
    assert history.last("loss") == 2.0


def test_an_unknown_name_is_answered_with_the_one_that_was_meant():
    history = History()
    history.append("val_loss", 0, 1.0)
    with pytest.raises(UnknownName, match=r"unknown measurement 'valloss'\. Did you mean 'val_loss'"):
        history["valloss"]
    assert history.get("valloss") is None
    assert "val_loss" in history and "valloss" not in history


def test_a_reader_cannot_write_and_keeps_what_it_read():
    history = History()
    history.append("loss", 0, 1.0)
    steps, values = history["loss"]
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 5.0
    history.extend("loss", range(1, 1000), [2.0] * 999)
    assert (steps.tolist(), values.tolist()) == ([0], [1.0])
    assert len(history["loss"][1]) == 1000


def test_a_new_name_is_seen_with_its_values_and_not_before(monkeypatch):
    history, seen, extend = History(), [], Column.extend

    def look(column, values):
        extend(column, values)
        seen.extend([*history.names, history.last("loss")])

    monkeypatch.setattr(Column, "extend", look)
    history.append("loss", 0, 3.0)
    assert seen == [None]
    assert (history.names, history.last("loss")) == (["loss"], 3.0)


@pytest.mark.usefixtures("restless_threads")
def test_a_reader_in_another_thread_always_sees_whole_measurements():
    history, done = History(), threading.Event()

    def read():
        lengths = set()
        while not done.is_set():
            for name in history.names[:3]:
                steps, values = history[name]
                assert len(steps) == len(values)
                np.testing.assert_array_equal(values, 0.5 * steps)
                assert np.all(np.diff(steps) > 0)
                lengths.add(len(steps))
        return lengths

    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            count = 0
            for size in list(range(1, 200)) * 5:
                steps = range(count, count + size)
                history.extend("loss", steps, [0.5 * step for step in steps])
                history.extend(f"metric {count}", steps, [0.5 * step for step in steps])
                count += size
        finally:
            done.set()
        assert all(len(reader.result(60)) > 1 for reader in readers)


def test_to_pandas_has_a_row_per_step_and_a_column_per_name():
    history = History()
    history.extend("loss", [0, 1, 2], [3.0, 2.0, 1.0])
    history.append("_time", 2, 0.1)
    history.append("val_loss", 3, 5.0)
    frame = history.to_pandas()
    assert list(frame.columns) == ["loss", "val_loss"]
    assert frame.index.tolist() == [0, 1, 2, 3]
    assert frame.index.name == "step"
    assert frame["val_loss"].dropna().to_dict() == {3: 5.0}
    assert frame["loss"].isna().tolist() == [False, False, False, True]


def test_to_pandas_of_nothing_is_an_empty_frame():
    assert History().to_pandas().empty


def test_what_will_be_measured_is_empty_and_no_error():
    history = History()
    history.expected = frozenset({"loss", "val_loss"})
    steps, values = history["val_loss"]
    assert (len(steps), len(values), steps.dtype, values.dtype) == (0, 0, np.int64, np.float64)
    assert "val_loss" not in history and history.names == []
    with pytest.raises(UnknownName, match="Did you mean 'val_loss'"):
        history["val_lost"]
    history.append("val_loss", 10, 0.5)
    assert history["val_loss"][1].tolist() == [0.5]


def test_a_long_series_is_thinned_and_keeps_its_extremes_its_newest_values_and_its_order(monkeypatch):
    monkeypatch.setattr("nbopt.record.history.MOST", 1000)
    values = np.random.default_rng(0).normal(size=20_000)
    values[[3, 7_001]] = 50.0, -50.0
    values[500:600] = np.nan
    history = History()
    for start in range(0, 20_000, 37):
        before, reader = history.tracks, history.tracks.get("loss")
        seen = None if reader is None else reader.read()[1].copy()
        part = values[start : start + 37]
        history.extend("loss", range(start, start + len(part)), part)
        if history.tracks is not before and seen is not None:  # whoever was reading goes on with what was there
            np.testing.assert_array_equal(reader.read()[1], seen)
    steps, kept = history["loss"]
    assert history.is_thinned and len(kept) <= 1000
    assert (np.diff(steps) > 0).all() and steps[-1] == 19_999 == history.measured - 1
    np.testing.assert_array_equal(kept, values[steps])  # measured values at their own steps
    np.testing.assert_array_equal(steps[-200:], np.arange(19_800, 20_000))
    assert {50.0, -50.0} <= set(kept.tolist())
    assert history.copy_to(10_000, validated=True)["loss"][0][-1] < 10_000


def test_a_series_of_one_block_is_left_alone(monkeypatch):
    monkeypatch.setattr("nbopt.record.history.MOST", 4)
    history = History()
    for step in range(10):
        history.append("loss", step, 0.0)
    assert len(history["loss"][1]) == 10


def test_what_is_measured_in_steps_is_taken_over_as_such_from_a_history_that_does_not_know():
    stored, own = History(), History()
    own.in_steps |= {"pruned"}
    stored.extend("pruned", [0, 1, 2], [0.1, 0.2, 0.3])
    stored.extend("val_loss", [1, 2], [2.0, 1.0])
    own.take_over(stored, 2, validated=True)
    assert own["pruned"][0].tolist() == [0, 1]  # step number 2 is done after that
    assert own["val_loss"][0].tolist() == [1, 2]
