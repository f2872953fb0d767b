import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbopt.record.history import History
from nbopt.viz.curves import curve, from_axis, smoothed, to_axis, whole_span

MOST = 400
LARGEST = 1e30  # what is larger cannot be drawn

loose = st.floats(allow_nan=True, allow_infinity=True)
numbers = st.one_of(loose, st.floats(-10, 10))


def history_of(values, every=1):
    """A loss measured every so many steps, with the run's clock: half a second a step, 50 steps an epoch."""
    history = History()
    steps = every * np.arange(len(values))
    if len(values):
        history.extend("loss", steps, values)
        for name, unit in (("_time", 0.5), ("_epoch", 1 / 50)):
            history.extend(name, [0, steps[-1] + 1], [0.0, unit * (steps[-1] + 1)])
    return history


def naive(steps, values, low, high):
    """The raw line by definition: the visible values and a neighbour on each side, bucket by bucket."""
    inside = [k for k, step in enumerate(steps) if low <= step <= high]
    before = [k for k, step in enumerate(steps) if step < low][-1:]
    after = [k for k, step in enumerate(steps) if step > high][:1]
    wanted = before + inside + after
    start, stop = wanted[0], wanted[-1] + 1
    size = 1
    while (stop - start) > MOST * size:
        size *= 2
    start -= start % size
    rows = []
    for first in range(start, stop, size):
        drawn = [v for v in values[first : min(first + size, stop)] if abs(v) <= LARGEST]
        middle = steps[min(first + size // 2, len(steps) - 1)]
        rows.append((middle, min(drawn, default=math.nan), max(drawn, default=math.nan)))
    return size, rows


@given(st.lists(numbers, min_size=1, max_size=60), st.sampled_from([1, 37, 400, 401, 1700]), st.data())
def test_the_raw_line_is_the_naive_one_for_any_values_and_any_part(pattern, length, data):
    values = (pattern * (length // len(pattern) + 1))[:length]
    every = data.draw(st.sampled_from([1, 7]))
    history = history_of(values, every)
    ends = st.floats(-2.0 * every, every * (length + 2.0))
    low, high = sorted([data.draw(ends), data.draw(ends)])
    steps = [every * k for k in range(length)]
    size, rows = naive(steps, values, math.floor(low), math.ceil(high))
    drawn = curve(history, "loss", span=(low, high))
    middle, lowest, highest = np.array(rows).T
    if size == 1:
        np.testing.assert_array_equal(drawn.x, middle)
        np.testing.assert_array_equal(drawn.y, lowest)
    else:
        np.testing.assert_array_equal(drawn.x[0::2], middle)
        np.testing.assert_array_equal(drawn.y[0::2], lowest)
        np.testing.assert_array_equal(drawn.y[1::2], highest)
    np.testing.assert_array_equal(drawn.smooth_x, middle)
    assert drawn.last == values[-1] or math.isnan(values[-1])


@given(st.sampled_from(["step", "epoch", "time"]), st.integers(1, 3000), st.floats(0, 1), st.floats(0, 1))
def test_an_axis_only_renames_x(axis, length, one, other):
    history = history_of(np.sin(np.arange(length)))
    low, high = sorted([one * length, other * length])
    unit = {"step": 1.0, "epoch": 1 / 50, "time": 0.5}[axis]
    by_step = curve(history, "loss", span=(low, high), smoothing=0.9)
    # The ends are rounded to whole steps: a hair inside them, so that the way there and back cannot change the side.
    inner = (math.floor(low) + 1e-6, math.ceil(high) - 1e-6)
    by_axis = curve(history, "loss", axis, (inner[0] * unit, inner[1] * unit), 0.9)
    np.testing.assert_allclose(by_axis.x, by_step.x * unit)
    np.testing.assert_array_equal(by_axis.y, by_step.y)
    np.testing.assert_array_equal(by_axis.smooth_y, by_step.smooth_y)


def test_steps_and_their_times_translate_both_ways():
    history = history_of(np.zeros(101))
    steps = np.array([0.0, 1.5, 50.0, 101.0])
    for axis, unit in (("step", 1.0), ("epoch", 1 / 50), ("time", 0.5)):
        np.testing.assert_allclose(to_axis(history, steps, axis), steps * unit)
        np.testing.assert_allclose(from_axis(history, steps * unit, axis), steps)


@pytest.mark.parametrize("axis", ["step", "epoch", "time"])
@pytest.mark.parametrize("span", [(-1e30, 1e30), (-1e30, -1e29), (1e29, 1e30), (5.0, 5.0 + 1e-9), (1e18, 1e19)])
def test_a_part_far_from_the_data_is_no_error(axis, span):
    drawn = curve(history_of(np.ones(1000)), "loss", axis, span, 0.5)
    assert 1 <= len(drawn.x) <= 2 * MOST and np.isfinite(drawn.x).all()


def test_nothing_measured_is_an_empty_curve():
    history = History()
    history.extend("loss", [], [])  # a name without a value: what a reader can meet while the first is written
    history.extend("_epoch", [], [])
    for name in ("loss", "val_loss"):
        drawn = curve(history, name, "epoch", (0.0, 1.0), 0.6)
        assert [len(part) for part in drawn[1:5]] == [0, 0, 0, 0] and math.isnan(drawn.last)


@pytest.mark.parametrize("length", [1, 400, 401, 800, 801, 4097, 100_000, 1_000_000])
def test_a_curve_has_a_bounded_number_of_points_and_hides_no_value(length):
    values = np.random.default_rng(0).normal(size=length)
    history = history_of(values)
    for span in (None, (0.0, 0.75 * length), (length - 5.0, length + 5.0)):
        drawn = curve(history, "loss", span=span, smoothing=0.6)
        assert len(drawn.smooth_x) == len(drawn.smooth_y) <= MOST + 1
        assert len(drawn.x) == len(drawn.y) <= 2 * (MOST + 1)
        first, last = (0, length - 1) if span is None else (math.ceil(span[0]), min(length - 1, math.floor(span[1])))
        part = values[first : last + 1]
        assert np.nanmin(drawn.y) <= part.min() and np.nanmax(drawn.y) >= part.max()
        if span is None:
            assert (np.nanmin(drawn.y), np.nanmax(drawn.y)) == (part.min(), part.max())


def test_what_is_drawn_stays_put_while_the_run_grows():
    values = np.random.default_rng(1).normal(size=6000)
    history, length = History(), 0
    before, compared = None, 0
    for more in np.random.default_rng(2).integers(1, 90, size=100):
        history.extend("loss", range(length, length + more), values[length : length + more])
        length += int(more)
        drawn = curve(history, "loss")
        if before is not None and np.diff(drawn.smooth_x[:2]) == np.diff(before.smooth_x[:2]):  # the same bucket size
            compared += 1
            whole = len(before.x) - (2 if length > MOST else 0)  # the last bucket may have been filling
            np.testing.assert_array_equal(drawn.x[:whole], before.x[:whole])
            np.testing.assert_array_equal(drawn.y[:whole], before.y[:whole])
        before = drawn
    assert compared > 90


def test_panning_by_any_distance_does_not_regroup():
    history = history_of(np.random.default_rng(3).normal(size=50_000))
    seen = {}
    for offset in (0, 1, 7, 63, 64, 1000, 12_345):
        drawn = curve(history, "loss", span=(offset, offset + 20_000))
        for x, low, high in zip(drawn.x[2:-2:2], drawn.y[2:-2:2], drawn.y[3:-2:2], strict=True):
            assert seen.setdefault(x, (low, high)) == (low, high)
    assert len(seen) < (20_000 + 12_345) / 64 + 2  # there is one grouping


@given(
    st.lists(st.one_of(st.just(math.nan), st.floats(-1e3, 1e3)), max_size=40),
    st.floats(0.01, 0.99),
    st.integers(1, 9),
)
def test_smoothing_is_a_weighted_mean_with_exponentially_less_weight_on_what_is_past(values, factor, distance):
    found = smoothed(np.array(values), factor, np.full(len(values), float(distance)))
    keep = factor**distance
    for t, value in enumerate(values):
        known = [k for k in range(t + 1) if not math.isnan(values[k])]
        weights = [keep ** (len(known) - 1 - rank) for rank in range(len(known))]
        if math.isnan(value):
            assert math.isnan(found[t])
        else:
            mean = sum(w * values[k] for w, k in zip(weights, known, strict=True)) / sum(weights)
            assert found[t] == pytest.approx(mean, rel=1e-6, abs=1e-6)


def test_no_smoothing_is_the_values_themselves():
    values = np.array([3.0, np.nan, 1.0])
    np.testing.assert_array_equal(smoothed(values, 0.0, np.ones(3)), values)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=50), st.floats(0.01, 0.99))
def test_a_smoothed_curve_lies_within_its_values_and_starts_at_the_first(values, factor):
    found = smoothed(np.array(values), factor, np.ones(len(values)))
    assert found[0] == pytest.approx(values[0])
    assert min(values) - 1e-9 <= found.min() and found.max() <= max(values) + 1e-9


def test_a_curve_measured_rarely_lags_no_more_than_one_measured_at_every_step():
    history = History()
    steps = np.arange(10_000)
    history.extend("loss", steps, (steps >= 5000).astype(float))
    history.extend("val_loss", steps[::500], (steps[::500] >= 5000).astype(float))
    often, rarely = (curve(history, name, smoothing=0.9) for name in ("loss", "val_loss"))
    at = 6000
    dense = np.interp(at, often.smooth_x, often.smooth_y)
    assert abs(np.interp(at, rarely.smooth_x, rarely.smooth_y) - dense) < 0.15


def test_a_curve_may_be_read_while_another_thread_appends(restless_threads):
    values = np.random.default_rng(4).normal(size=60_000)
    history, done, all_there = History(), threading.Event(), threading.Event()

    def append():
        start = 0
        while not done.is_set():
            if start >= len(values):
                all_there.set()
            at = start % len(values)
            history.extend("loss", range(start, start + 20), values[at : at + 20])
            history.append("_time", start + 19, 0.5 * (start + 19))
            start += 20

    thread = threading.Thread(target=append)
    thread.start()
    looks = 0
    try:
        while looks < 20 or not all_there.is_set():
            drawn = curve(history, "loss", "time", smoothing=0.6)
            looks += 1
            assert np.isfinite(drawn.y).all() and np.isfinite(drawn.x).all()
    finally:
        done.set()
        thread.join()
    whole = curve(history, "loss")
    assert (whole.y.min(), whole.y.max()) == (values.min(), values.max())


def test_a_curve_may_be_read_while_another_thread_rewinds(restless_threads):
    values = np.random.default_rng(4).normal(size=3_000)
    history, done = History(), threading.Event()

    def rewind():
        while not done.is_set():
            history.extend("loss", range(len(values)), values)
            history.go_back(2_000, validated=False)
            history.go_back(0, validated=False)

    thread = threading.Thread(target=rewind)
    thread.start()
    try:
        looks = []
        while len(looks) < 2_000 or len(set(looks)) < 2:
            looks.append(len(curve(history, "loss", smoothing=0.6).x))
    finally:
        done.set()
        thread.join()


def test_the_whole_span_holds_all_that_was_measured_in_any_unit():
    history = history_of(np.ones(101))
    history.extend("val_loss", [50, 120], [1.0, 2.0])
    history.extend("accuracy", [], [])
    names = ["loss", "val_loss", "accuracy", "unknown"]
    assert whole_span(history, names) == (0, 120)
    assert whole_span(history, ["val_loss"]) == (50, 120)
    assert whole_span(history, names, "time") == (0, 50.5)  # where the clock stands
    assert whole_span(history, ["accuracy"]) == (0, 1)
