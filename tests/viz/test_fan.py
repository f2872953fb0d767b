"""The curves of many runs, and in what they differ."""

from __future__ import annotations

import numpy as np
import pytest

from nbopt.record.history import History
from nbopt.viz.fan import Fan, spread_out
from nbopt.viz.members import MEMBER, find_traits


class One:
    """A member, as far as pictures know it."""

    def __init__(self, number, hyperparams, seed=0):
        self.number, self.hyperparams, self.seed = number, hyperparams, seed


@pytest.fixture
def members(make_values):
    def make(**columns):
        count = len(next(iter(columns.values())))
        found = []
        for number in range(count):
            own = {name: values[number] for name, values in columns.items()}
            seed = own.pop("seed", 0)
            values = make_values()
            for name, value in own.items():
                values.assign(name, value)
            found.append(One(number, values, seed))
        return found

    return make


@pytest.fixture
def make_values():
    from nbopt.run.declared import declare_all

    return lambda: declare_all().another()


def test_curves_are_means_of_stretches_whatever_was_read_when():
    rng = np.random.default_rng(0)
    count, steps = 40, 9_000
    values = rng.normal(size=(count, steps))
    values[3, 100:] = np.nan  # diverged
    histories = [History() for _k in range(count)]
    fan = Fan(count, "loss")
    done = 0
    while done < steps:
        more = int(rng.integers(1, 900))
        for history, row in zip(histories, values, strict=True):
            part = row[done : done + more]
            history.extend("loss", np.arange(done, done + len(part)), part)
        done += more
        fan.take(histories)
    at, curves = fan.curves()
    assert curves.shape == (count, len(at)) and 200 < len(at) <= 512
    size = int(at[0]) + 1  # of a stretch
    for row in (0, 39):
        expected = [values[row, k * size : (k + 1) * size].mean() for k in range(len(at))]
        assert curves[row] == pytest.approx(expected)
    assert np.isnan(curves[3, -1]) and np.isfinite(curves[3, 0])
    assert fan.last[0] == values[0, -1] and at[-1] == steps - 1


def test_a_member_that_was_copied_over_or_went_back_is_read_anew():
    histories = [History(), History()]
    for history in histories:
        history.extend("val_loss", [1, 2, 3], [3.0, 2.0, 1.0])
    fan = Fan(2, "val_loss")
    fan.take(histories)
    histories[1] = History()
    histories[1].extend("val_loss", [1, 2], [5.0, 4.0])
    fan.take(histories)
    _at, curves = fan.curves()
    assert curves[1, :2].tolist() == [5.0, 4.0] and np.isnan(curves[1, 2])
    assert curves[0].tolist() == [3.0, 2.0, 1.0] and fan.last.tolist() == [1.0, 4.0]


def test_of_thousands_those_drawn_lie_evenly():
    shown = spread_out(np.random.default_rng(0).permutation(5000) / 5000, 500)
    assert len(shown) == 500 == len(set(shown.tolist()))
    assert spread_out(np.array([0.3, 0.1, 0.2]), 500).tolist() == [1, 2, 0]


def test_a_log_axis_has_even_decades_and_a_place_for_zero(members):
    (lr,) = find_traits(members(lr=[1e-4, 1e-2, 1.0]))
    assert (lr.name, lr.log, lr.kinds) == ("lr", True, ())
    assert lr.places == pytest.approx([0, 0.5, 1])
    assert dict(lr.ticks)[0.5] == "0.01"
    (decay,) = find_traits(members(weight_decay=[0.0, 1e-4, 1e-2]))
    assert decay.log and decay.places[0] == 0 < decay.places[1] < 0.1 and decay.places[2] == pytest.approx(1)
    assert decay.ticks[0] == (0.0, "0")


def test_choices_numbers_and_seeds_tell_members_apart(members):
    traits = find_traits(members(schedule=["cosine", "constant", "cosine"], dropout=[0.0, 0.25, 0.5], seed=[3, 4, 5]))
    found = {trait.name: trait for trait in traits}
    assert found["schedule"].kinds == ("constant", "cosine") and found["schedule"].text(0) == "cosine"
    assert not found["dropout"].log and found["dropout"].places.tolist() == [0, 0.5, 1]
    assert found["seed"].text(2) == "5"


def test_where_all_are_alike_their_numbers_tell_them_apart(members):
    (trait,) = find_traits(members(lr=[0.1, 0.1, 0.1]))
    assert trait.name == MEMBER and trait.places.tolist() == [0, 0.5, 1]
