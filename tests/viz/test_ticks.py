import math
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nbopt.viz.ticks import linear_ticks, log_ticks, tick_format, written


@given(st.floats(-1e12, 1e12), st.floats(1e-6, 1e12), st.integers(2, 12))
def test_linear_ticks_are_round_evenly_spaced_within_the_range_and_neither_too_many_nor_too_few(low, width, most):
    high = low + width
    assume(high - low > 1e-8 * max(abs(low), abs(high)))
    ticks = linear_ticks(low, high, most)
    slack = 1e-6 * (high - low) + 1e-11 * max(abs(low), abs(high))
    assert low - slack <= ticks[0] and ticks[-1] <= high + slack
    assert max(1, math.floor(most / 2.5) - 1) <= len(ticks) <= most
    gaps = [b - a for a, b in pairwise(ticks)]
    assert all(gap > 0 for gap in gaps)
    if gaps:
        assert max(gaps) - min(gaps) <= slack
        leading = max(gaps) / 10 ** math.floor(math.log10(max(gaps)) + 1e-6)
        assert min(abs(leading - m) for m in (1, 2, 5, 10)) < 1e-2


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0, 1, 6, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 8, 8, [0, 2, 4, 6, 8]),  # nine would fit but for the limit: none is cut off
        (-0.1, 0.1, 5, [-0.1, -0.05, 0, 0.05, 0.1]),
        (0, 1e-30, 3, [0, 5e-31, 1e-30]),
    ],
)
def test_linear_ticks_of_common_ranges(low, high, most, expected):
    assert linear_ticks(low, high, most) == expected


@given(st.floats(-30, 30), st.floats(1e-3, 60), st.integers(3, 9))
def test_log_ticks_lie_within_the_range_and_are_never_too_many(low, width, most):
    low, high = 10**low, 10 ** (low + width)
    ticks = log_ticks(low, high, most)
    assert all(low * (1 - 1e-9) <= tick <= high * (1 + 1e-9) for tick in ticks)
    assert ticks == sorted(set(ticks)) and 1 <= len(ticks) <= most


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 1, [0.01, 0.1, 1]),
        (0.1, 1, [0.1, 0.2, 0.5, 1]),
        (1e-6, 1e6, [1e-6, 1e-3, 1.0, 1e3, 1e6]),
        (0.11, 0.19, [0.12, 0.14, 0.16, 0.18]),  # no power of ten in sight
    ],
)
def test_log_ticks_of_common_ranges(low, high, expected):
    assert log_ticks(low, high, 6) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ticks", "expected"),
    [
        ([], ",.0~f"),
        ([0, 0.2, 0.4], ",.1~f"),
        ([0, 2000, 4000], ",.0~f"),
        ([12_340, 12_345, 12_350], ",.0~f"),
        ([0, 100_000, 200_000], ".1~s"),
        ([1_234_560, 1_234_570], ".6~s"),
        ([1e-6, 2e-6], ".4~g"),
        ([0.001, 0.1, 10], ",.3~f"),
        ([1e15, 1.00001e15], ".6~g"),
    ],
)
def test_the_format_of_common_ticks(ticks, expected):
    assert tick_format(ticks) == expected


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        (",.2~f", 1234.5, "1,234.5"), (",.0~f", 100.0, "100"), (".1~s", 200_000, "200k"),
        (".6~s", 1_234_560, "1.23456M"), (".4~g", 1e-6, "1e-6"), (".4~g", 2.5e-7, "2.5e-7"),
        (".6~g", 1.00001e15, "1.00001e+15"), (",.1~f", 0.0, "0"),
    ],
)  # fmt: skip
def test_a_number_is_written_as_the_page_writes_it(form, value, text):
    assert written(form, value) == text


@given(st.floats(-1e9, 1e9), st.floats(1e-7, 1e12))
def test_ticks_are_written_with_the_digits_that_tell_them_apart(low, width):
    high = low + width
    assume(high - low > 1e-8 * max(abs(low), abs(high)))
    ticks = linear_ticks(low, high, 8)
    texts = [written(tick_format(ticks), tick) for tick in ticks]
    assert len(set(texts)) == len(ticks)
