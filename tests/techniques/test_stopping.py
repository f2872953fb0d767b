import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbopt.hyperparams import Hyperparams
from nbopt.techniques.regularization.early_stopping import EarlyStopping


def stopping(**values):
    part, hyperparams = EarlyStopping(), Hyperparams()
    hyperparams.declare(EarlyStopping)
    hyperparams.bind(part)
    for name, value in {"early_stopping": True, **values}.items():
        hyperparams.assign(name, value)
    return part, hyperparams


def stops_at(losses, **values):
    """Return the number of validations after which the run ends; None if it goes on."""
    part, _hyperparams = stopping(**values)
    for count, loss in enumerate(losses, 1):
        part.judge(loss, count)
        if part.due:
            return count
    return None


@pytest.mark.parametrize(
    ("losses", "values", "expected"),
    [
        ([3, 2, 1, 1, 1, 1], {"patience": 2}, 5),
        ([3, 2, 1, 2, 0.5, 2, 2], {"patience": 2}, 7),
        ([1, 2, 3], {"patience": 1}, 2),
        ([1, 1], {"patience": 1}, 2),
        ([5, 4, 3, 2, 1], {"patience": 1}, None),
        ([5, 4.5, 4.2, 4.1], {"patience": 2, "min_delta": 1.0}, 3),
        ([math.nan] * 4, {"patience": 3}, 3),
        ([3, math.nan, math.nan], {"patience": 2}, 3),
        ([3, math.inf, 1, math.inf, math.inf], {"patience": 2}, 5),
        ([1, 2, 3, 4], {"patience": 2, "early_stopping": False}, None),
    ],
)
def test_it_ends_after_patience_validations_without_improvement(losses, values, expected):
    assert stops_at(losses, **values) == expected


def test_small_gains_add_up():
    # Each is below min_delta, but two together are not: the loss still falls, and the run goes on.
    assert stops_at([10 - 0.6 * count for count in range(15)], patience=2, min_delta=1.0) is None
    assert stops_at([10 - 0.3 * count for count in range(15)], patience=2, min_delta=1.0) == 3


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.floats(0, 2))
def test_the_best_is_the_lowest_loss_and_the_first_of_equals(losses, min_delta):
    part, _hyperparams = stopping(min_delta=min_delta)
    best = [part.judge(loss, step) for step, loss in enumerate(losses)]
    assert part.best == min(losses)
    assert part.best_step == losses.index(min(losses)) == max(step for step, is_best in enumerate(best) if is_best)


def test_patience_is_live():
    part, hyperparams = stopping(patience=5)
    for step, loss in enumerate([1, 2, 3, 4]):
        part.judge(loss, step)
    assert (part.left, part.due) == (2, False)
    hyperparams.assign("patience", 3)
    assert (part.left, part.due) == (0, True)
    hyperparams.assign("patience", 10)
    assert (part.left, part.due) == (7, False)


def test_the_switch_is_live():
    part, hyperparams = stopping(patience=1, early_stopping=False)
    part.judge(1, 0)
    part.judge(2, 1)
    assert not part.due
    hyperparams.assign("early_stopping", True)
    assert part.due


def test_a_reset_forgets_the_best_and_what_was_waited():
    part, _hyperparams = stopping(patience=2)
    for step, loss in enumerate([1, 2, 3]):
        part.judge(loss, step)
    part.reset()
    assert (part.best, part.best_step, part.left, part.due) == (math.inf, None, 2, False)
    assert part.judge(100, 5)


def test_patience_counts_alike_where_losses_are_negative():
    falling = [-100 - 2 * count for count in range(8)]
    assert stops_at(falling, patience=2, min_delta=1.0) is None
    assert stops_at([-100 - 0.1 * count for count in range(8)], patience=2, min_delta=1.0) == 3
    assert stops_at([-100 + count for count in range(8)], patience=3) == 4
