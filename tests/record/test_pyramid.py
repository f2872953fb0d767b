import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nbopt.record.pyramid import Pyramid

NUMBERS = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([np.nan, np.inf, -np.inf, 1e300]))


def by_hand(values, start, stop, size):
    rows = []
    for at in range(start, stop, size):
        part = values[at : min(at + size, stop)]
        part = part[np.abs(part) <= 1e30]
        rows.append((part.min(), part.max(), part.mean()) if len(part) else (np.nan,) * 3)
    return np.array(rows).reshape(-1, 3).T


@given(
    st.lists(NUMBERS, min_size=1, max_size=40),
    st.integers(1, 60),
    st.lists(st.tuples(st.integers(0, 10), st.integers(0, 3000), st.integers(0, 3000)), min_size=1, max_size=5),
)
def test_buckets_are_those_computed_by_hand_also_while_the_series_grows(numbers, repeats, questions):
    series, pyramid = np.tile(np.array(numbers), repeats), Pyramid()
    for number, (power, one, other) in enumerate(questions, 1):
        values = series[: max(1, len(series) * number // len(questions))]
        size = 2**power
        start, stop = sorted((one % (len(values) + 1), other % (len(values) + 1)))
        start -= start % size
        buckets = pyramid.buckets(values, start, stop, size)
        low, high, mean = by_hand(values, start, stop, size)
        np.testing.assert_array_equal(buckets.low, low)
        np.testing.assert_array_equal(buckets.high, high)
        np.testing.assert_allclose(buckets.mean, mean, rtol=1e-9, atol=1e-6)
