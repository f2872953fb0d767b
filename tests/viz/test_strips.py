"""Cells of strips: better and worse than the present value, and what may be noise."""

import math

import numpy as np
import pytest

from nbopt.run.population.what_if import WhatIf
from nbopt.viz.strips import cells, rows_and_columns, shades_of, with_spread


def found(losses, values=(0.001, 0.01, 0.1), present=0.01, now=0.5):
    losses = np.array(losses, float)
    return WhatIf("lr", [*values], losses.mean(1), losses.std(1), now, 60, present, losses)


def test_a_value_is_grey_unless_its_effect_exceeds_what_other_batches_make_of_it():
    own = [0.50, 0.60]
    better, worse = [0.30, 0.41], [0.70, 0.81]
    shades = shades_of(np.array([own, better, worse, [0.45, 0.62], [0.44, 0.54], [math.nan, 0.1]]), 0)
    assert shades[0] == shades[3] == 0.0  # of one draw lower, of the other higher
    assert -1 < shades[1] < shades[4] < 0 < shades[2] < 1
    assert shades[5] == 1.0


def test_where_the_present_value_fails_the_others_are_held_against_the_middle():
    shades = shades_of(np.array([[0.1, 0.1], [0.2, 0.2], [math.inf, math.nan]]), 2)
    assert shades[0] < 0 < shades[1] and shades[2] == 1.0
    assert shades_of(np.array([[math.nan], [math.nan]]), 0) == [1.0, 1.0]


def test_what_is_read_is_told_to_the_digits_that_the_spread_allows():
    told = cells(found([[0.412, 0.424], [0.5, 0.5], [math.nan, 2.0]]))
    assert told[0].text == "lr 0.001: 0.5 → 0.418 ± 0.006 in 60 steps"
    assert told[2].text == "lr 0.1: no finite loss in 60 steps"
    assert [(cell.label, cell.is_present, cell.is_best) for cell in told] == [
        ("0.001", False, True),
        ("0.01", True, False),
        ("0.1", False, False),
    ]
    assert cells(found([[0.49, 0.51], [0.5, 0.5], [1.0, 1.0]], now=math.nan))[0].text == (
        "lr 0.001: 0.50 ± 0.01 in 60 steps; noise"
    )


@pytest.mark.parametrize(
    ("mean", "spread", "told"),
    [
        (0.41234, 0.016, ("0.41", "0.02")),
        (123.456, 3.0, ("123", "3")),
        (2e-6, 1e-7, ("2e-6", "1e-7")),
        (1.5, math.inf, ("1.5", "inf")),
    ],
)
def test_a_spread_says_which_digits_count(mean, spread, told):
    assert with_spread(mean, spread) == told


def test_a_map_has_a_row_for_each_value_of_the_first():
    pairs = [(lr, decay) for lr in (0.1, 0.2) for decay in (0, 1, 2)]
    assert rows_and_columns(pairs) == ([0.1, 0.2], [0, 1, 2])
