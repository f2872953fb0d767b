"""What counts as a loss gone wrong."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbopt.hyperparams import Hyperparams
from nbopt.techniques.guard import Guard


def make_guard(floor=None, known=True, recover=True):
    guard, hyperparams = Guard(), Hyperparams()
    hyperparams.declare(Guard)
    hyperparams.assign("recover", recover)
    hyperparams.bind(guard)
    if floor is not None:
        guard.expect_loss(floor, known)
    return guard


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, 1.2e3, 1e300])
def test_a_loss_that_is_no_number_or_explodes_is_found_at_once(loss):
    assert make_guard(1.0).find_trouble([1.0, 0.5, loss, 0.4]) == 2


@pytest.mark.parametrize(
    "losses",
    [
        [0.0] * 500 + [0.7, 1.3],  # hinge losses, most of them 0
        [1e-9, 1e-8, 2.0, 3.0],  # learnt by heart, then dropout
        [0.0, -0.004, 0.01, -0.1, -5.0, -400.0, -1e5],  # a critic's
        [-0.01 * step**2 for step in range(1000)],  # a density's
        [float(step) for step in range(3000)],  # grows, but slowly
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_what_is_small_or_negative_or_grows_slowly_has_not_diverged(losses, known):
    assert make_guard(1.0, known).find_trouble(losses) is None


@pytest.mark.parametrize("factor", [1.1, 2.0, 10.0])
def test_growth_without_end_is_found_within_a_thousand_times_the_beginning(factor):
    losses = [factor**step for step in range(200)]
    assert make_guard(1.0).find_trouble(losses) <= math.log(4000, factor) + 1


def test_the_first_loss_counts_where_it_is_larger_than_that_of_knowing_nothing():
    guard = make_guard(1.0)
    assert guard.find_trouble([5e4, 4e4, 1e7, 6e7]) == 3


def test_between_two_losses_of_known_size_the_usual_one_changes_as_they_do():
    guard = make_guard(1.0)
    guard.find_trouble([2.0])
    guard.renew()
    guard.expect_loss(1e6, True)
    assert guard.find_trouble([1e9, 2.1e9]) == 1
    guard.renew()
    guard.expect_loss(1e-3, True)
    assert guard.find_trouble([1.9, 2.1]) == 1


def test_after_a_change_of_unknown_effect_the_next_loss_is_usual():
    guard = make_guard(1.0, known=False)
    guard.find_trouble([1e-3])
    guard.renew()
    guard.expect_loss(1.0, False)
    assert guard.find_trouble([1e5, 9e7, 1.1e8]) == 2


@pytest.mark.parametrize("floor", [0.0, math.nan, math.inf, -1.0])
def test_a_size_that_cannot_be_told_is_taken_for_one(floor):
    assert make_guard(floor).find_trouble([1e-8, 900.0, 1100.0]) == 2


def test_switched_off_it_says_nothing_and_goes_on_learning():
    guard = make_guard(1.0, recover=False)
    assert guard.find_trouble([1.0, math.nan, 1e9]) is None
    guard.find_trouble([2.0 * step for step in range(2000)])
    guard.recover = True
    assert guard.find_trouble([4000.0]) is None


losses = st.floats(-1e3, 1e3) | st.floats(-1e9, 1e9) | st.just(math.nan)


@given(st.lists(losses, max_size=400), st.lists(st.integers(1, 60), min_size=1), st.floats(1e-6, 1e6))
def test_what_is_found_does_not_depend_on_how_losses_come_in(values, cuts, floor):
    at_once, bit_by_bit = make_guard(floor), make_guard(floor)
    expected, found, start = at_once.find_trouble(values), None, 0
    for k in range(len(values)):
        if start >= len(values) or found is not None:
            break
        part = values[start : start + cuts[k % len(cuts)]]
        within = bit_by_bit.find_trouble(part)
        found = None if within is None else start + within
        start += len(part)
    assert found == expected
    if found is None:
        assert at_once.state == bit_by_bit.state


@given(st.lists(st.floats(-1e3, 1e9), max_size=300), st.integers(0, 300))
def test_a_guard_put_back_goes_on_as_the_one_it_was_taken_from(values, at):
    whole, first, second = make_guard(1.0, recover=False), make_guard(1.0, recover=False), make_guard(recover=False)
    whole.find_trouble(values)
    first.find_trouble(values[:at])
    second.state = first.state
    second.find_trouble(values[at:])
    assert second.state == whole.state


def test_losses_of_batches_in_which_nothing_counts_are_passed_over():
    guard = make_guard(1.0)
    assert guard.find_trouble([math.nan, 0.9, math.nan], sound=True) is None
    assert guard.find_trouble([math.nan], sound=True) is None
    assert guard.find_trouble([0.9, math.nan, 5000.0, math.nan], sound=True) == 2
    assert guard.find_trouble([0.9, math.nan]) == 1
