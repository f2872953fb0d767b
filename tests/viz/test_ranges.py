import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nbopt.viz.ranges import Line, off_scale, robust_extent, settled, with_room

finite = st.floats(-1e6, 1e6)
lines = st.lists(st.one_of(finite, st.just(math.nan), st.just(math.inf)), max_size=60).map(np.array)


def decay(length, high=2.3, low=0.1, speed=5.0):
    return low + (high - low) * np.exp(-speed * np.arange(length) / length)


def share_used(span, values):
    return (values.max() - values.min()) / (span[1] - span[0])


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("length", [20, 400])
def test_a_spike_does_not_flatten_a_chart_for_ever(length, log):
    values = decay(length)
    spiked = values.copy()
    spiked[length // 2] = 3e4
    assert robust_extent([spiked], log)[1] < (300 if log else 4)
    assert share_used(robust_extent([spiked]), values[1:]) > 0.45


def test_nor_do_the_first_steps_of_a_long_run():
    values = np.concatenate([np.geomspace(300, 1, 20), decay(380, 1.0, 0.5)])
    low, high = robust_extent([values])
    assert 0.4 < low < 0.5 and 1.0 <= high < 2.0


def test_a_divergence_that_lasts_is_shown_while_it_lasts_and_no_longer():
    values = np.concatenate([decay(380), np.full(20, 40.0)])
    assert robust_extent([values])[1] > 40
    assert robust_extent([np.concatenate([values, decay(60, 1.0, 0.1)])])[1] < 3


def test_what_is_usual_is_shown_whole():
    for values in (decay(400), np.linspace(3, 1, 9), np.random.default_rng(0).normal(size=400), np.sin(np.arange(300))):
        low, high = robust_extent([values])
        assert low <= values.min() and values.max() <= high
        assert share_used((low, high), values) > 0.9


def test_each_of_several_lines_is_shown():
    low, high = robust_extent([decay(400), 10 + decay(400), np.array([7.0, 6.0])])
    assert low < 0.1 and high > 12


def test_a_line_of_a_few_points_or_of_one_value_is_shown_whole():
    assert robust_extent([np.array([1.0, 1.0, 1e6])])[1] > 1e6
    low, high = robust_extent([np.array([*[1.0] * 99, 0.5])])
    assert low < 0.5 and high > 1.0
    assert robust_extent([np.empty(0)]) == (0.0, 1.0)
    assert robust_extent([]) == (0.0, 1.0) and robust_extent([np.full(50, np.nan)], log=True) == (0.1, 1.0)


@given(st.lists(lines, max_size=4), st.booleans())
def test_a_range_holds_at_least_half_of_each_line_and_nothing_that_is_not_there(found, log):
    low, high = robust_extent(found, log)
    assert -math.inf < low < high < math.inf
    assert low > 0 or not log
    for values in found:
        known = values[np.isfinite(values) & (values > 1e-37)] if log else values[np.isfinite(values)]
        slack = 1e-9 * np.abs(known)
        assert not len(known) or np.mean((known >= low - slack) & (known <= high + slack)) >= 0.5
    known = np.concatenate([*found, np.empty(0)])
    known = known[np.isfinite(known) & ((known > 1e-37) | (not log))]
    if len(known) and np.ptp(known) > 1e-6 * np.abs(known).max():  # others get a range around the one value
        room = 0.11 * high if log else 0.07 * np.ptp(known) + 1e-9
        assert high <= known.max() + room and (log or low >= known.min() - room)


@given(finite, st.floats(1e-3, 1e6), finite, st.floats(1e-3, 1e6))
def test_a_range_is_kept_while_it_holds_all_and_is_mostly_filled(low, length, other, more):
    shown, wanted = (low, low + length), (other, other + more)
    found = settled(shown, wanted)
    assert found in (shown, wanted)
    assert found[0] <= wanted[0] and wanted[1] <= found[1]
    assert wanted[1] - wanted[0] >= 0.8 * (found[1] - found[0]) - 1e-9 * length
    assert settled(None, wanted) == wanted == settled(wanted, wanted)
    assert settled((1.0, 100.0), (1.5, 90.0), log=True) == (1.0, 100.0)
    assert settled((1.0, 100.0), (4.0, 40.0), log=True) == (4.0, 40.0)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e9))
def test_the_x_axis_leaves_little_room_and_moves_rarely(low, length):
    high = low + length
    assume(high - low > 1e-9 * max(abs(low), abs(high)))
    first, last = with_room(low, high)
    assert first == low and high <= last <= high + (high - low) / 64 * (1 + 1e-6) + 1e-9 * abs(high)
    assert with_room(0.0, 100.0) == (0.0, 100.0)  # short runs end where they end
    ends = {with_room(0.0, float(end))[1] for end in range(1000, 2000)}
    assert len(ends) < 110


def test_an_arrow_tells_where_a_line_lies_farthest_off_the_scale():
    x = np.arange(6.0)
    curves = [
        Line("red", x, np.array([9.0, 2.0, 1.0, -5.0, -6.0, math.nan])),
        Line("blue", x, np.full(6, 0.5)),
        Line("green", np.empty(0), np.empty(0)),
    ]
    assert off_scale(curves, (0.0, 5.0), (0.0, 2.0)) == [(0.0, 9.0, True, "red"), (4.0, -6.0, False, "red")]
    assert off_scale(curves, (1.0, 3.0), (0.0, 2.0)) == [(3.0, -5.0, False, "red")]
    assert off_scale(curves, (0.0, 5.0), (-6.0, 9.0)) == []
