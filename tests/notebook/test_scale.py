import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbopt.hyperparams import Float, Int
from nbopt.notebook.charts.scale import stops, with_value


def every_number():
    """All numbers a run declares, by name."""
    from torch import nn

    import nbopt

    run = nbopt.Run(nn.Sequential(nn.Linear(2, 2), nn.Dropout()), train=([[0.0, 0.0]], [0]), val=0.5)
    specs = {name: run.hyperparams.spec(name) for name in run.hyperparams}
    return {name: spec for name, spec in specs.items() if isinstance(spec, (Float, Int))}


SPECS = every_number()


def test_the_declared_numbers_were_found():
    assert {"lr", "batch_size", "weight_decay", "momentum", "patience", "dropout", "epochs", "l1"} <= SPECS.keys()


@pytest.mark.parametrize("name", SPECS)
def test_the_stops_of_every_hyperparameter_are_legal_sorted_and_few_from_end_to_end_of_its_range(name):
    spec = SPECS[name]
    offered = stops(spec, spec.default)
    assert spec.default in offered
    assert all(a < b for a, b in pairwise(offered))
    assert [spec.check(stop) for stop in offered] == offered
    assert 5 <= len(offered) <= 210
    zero = spec.zero
    assert min(offered) == (0 if zero else min(spec.low, spec.default)) and offered[-1] == max(spec.high, spec.default)
    if zero:
        assert offered[1] == spec.low  # a true zero, then the range


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if getattr(spec, "log", False)])
def test_a_log_scale_has_the_same_round_numbers_in_every_decade(name):
    spec = SPECS[name]
    offered = [stop for stop in stops(spec, spec.high) if stop > 0]
    for stop in offered:
        mantissa = float(f"{stop:e}".split("e")[0])
        assert mantissa in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    for decade in range(math.ceil(math.log10(spec.low)), math.floor(math.log10(spec.high))):
        assert float(f"1e{decade}") in offered and float(f"5e{decade}") in offered
    assert max(b / a for a, b in pairwise(offered)) < 1.4


def test_a_batch_size_walks_in_powers_of_two():
    spec = SPECS["batch_size"]
    assert all(math.log2(stop).is_integer() for stop in stops(spec, 64))
    assert 100 in stops(spec, 100)  # a value of the user's own stays within reach


def test_a_micro_batch_walks_in_powers_of_two_above_zero_which_is_the_whole_batch():
    assert stops(SPECS["micro_batch"], 0) == [0, *(2**k for k in range(11))]


def test_patience_is_counted_one_by_one():
    assert stops(SPECS["patience"], 5) == list(range(1, 51))


@given(st.sampled_from(sorted(SPECS)), st.data())
def test_a_value_comes_among_the_stops_and_moves_no_other(name, data):
    spec = SPECS[name]
    offered = stops(spec, spec.default)
    whole = isinstance(spec, Int)
    value = data.draw(st.integers(1, 10**6) if whole else st.floats(0.0, 1e3))
    found = with_value(offered, value)
    assert found[found.index(value)] == value and found == sorted(found)
    if value > offered[-1]:
        assert found == [*offered, value]
    else:
        assert sum(a != b for a, b in zip(found, offered, strict=True)) == (value not in offered)
        assert offered[0] != 0 or found[0] == 0  # where it is the least, zero is never lost


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_a_linear_scale_is_even_and_ends_where_its_range_does(low, width):
    spec = Float(low, low=low, high=low + width)
    offered = stops(spec, low)
    assert all(a < b for a, b in pairwise(offered))
    assert offered[0] == pytest.approx(low, abs=1e-9) and offered[-1] == pytest.approx(low + width, rel=1e-6, abs=1e-9)
    assert 20 <= len(offered) <= 400
