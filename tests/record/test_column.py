"""Step numbers, told by a range while they count up evenly; and what a long history takes."""

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nbopt.record.column import Steps, as_array, pick
from nbopt.record.history import History
from nbopt.viz.curves import curve, whole_span

LENGTH = 1 << 17
NAMES = ("loss", "val_loss", "accuracy", "val_accuracy")


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(1, 3), st.sampled_from([list, np.array, None])),
        max_size=8,
    )
)
def test_steps_are_what_was_appended_however_they_count(parts):
    steps, expected = Steps(), []
    for gap, count, stride, kind in parts:
        first = expected[-1] + 1 + gap if expected else gap
        part = range(first, first + stride * count, stride)
        steps.extend(part if kind is None else kind(part))
        expected += part
    for length in (0, len(expected) // 2, len(expected)):
        view = steps.view(length)
        assert as_array(view).tolist() == expected[:length]
        at = np.arange(length)[::-2]
        assert pick(view, at).tolist() == [expected[k] for k in at]


def test_even_steps_take_no_memory_and_uneven_ones_are_kept():
    steps = Steps()
    steps.extend(range(5, 1000))
    steps.extend(np.arange(1000, 2000))
    steps.extend([2000])
    assert steps.view(1996) == range(5, 2001)
    steps.extend([2000 + 7])
    view = steps.view(1997)
    assert isinstance(view, np.ndarray) and view[-2:].tolist() == [2000, 2007]


def grown():
    """A history as a run fills it, a few steps at a time."""
    history, values = History(), np.linspace(3.0, 0.1, 1024).tolist()
    for first in range(0, LENGTH, 1024):
        for name in NAMES:
            history.extend(name, range(first, first + 1024), values)
    return history


def test_a_measurement_takes_little_more_than_its_number():
    tracemalloc.start()
    try:
        history = grown()
        for name in NAMES:
            curve(history, name)
        taken, _most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / (LENGTH * len(NAMES)) < 10


def test_drawing_a_long_curve_makes_nothing_as_long_as_the_curve():
    history = grown()
    curve(history, "loss")
    history.extend("loss", range(LENGTH, LENGTH + 10), [0.1] * 10)  # now there is room in the buffer
    curve(history, "loss")
    found = []
    for step in range(LENGTH + 10, LENGTH + 13):  # threads of earlier tests may make something meanwhile
        tracemalloc.start()
        try:
            history.append("loss", step, 0.1)
            curve(history, "loss", smoothing=0.6)
            curve(history, "loss", span=(10.0, LENGTH / 2))
            whole_span(history, NAMES)
            found.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert min(found) < 8 * LENGTH / 4
