import math

import pytest

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.search.spaces.dimension import Dimension
from nbopt.search.spaces.given import make_space

SPECS = {
    "lr": nbopt.Float(1e-3, low=1e-4, high=1.0, log=True, ge=0.0),
    "rate": nbopt.Float(0.1, low=0.0, high=0.5, ge=0.0, lt=1.0),
    "depth": nbopt.Int(2, low=1, high=8, ge=1),
    "width": nbopt.Int(64, low=8, high=512, powers=True, ge=1),
    "kind": nbopt.Choice("a", options=("a", "b", "c")),
    "on": nbopt.Flag(False),
}


@pytest.fixture
def space():
    return make_space(SPECS)


@pytest.mark.parametrize("name", SPECS)
def test_a_place_and_its_value_belong_together(space, name):
    dimension = space[name]
    for share in (0.0, 0.2, 0.5, 0.99, 1.0):
        value = dimension.at(share)
        assert dimension.contains(value) and dimension.spec.check(value) == value
        assert dimension.at(dimension.place(value)) == pytest.approx(value)


def test_ends_of_ranges_are_within_reach(space):
    assert space.at([0.0] * 6) == {"lr": 1e-4, "rate": 0.0, "depth": 1, "width": 8, "kind": "a", "on": False}
    assert space.at([1.0] * 6) == {"lr": 1.0, "rate": 0.5, "depth": 8, "width": 512, "kind": "c", "on": True}


def test_a_logarithmic_range_is_walked_by_its_logarithm(space):
    assert math.isclose(space["lr"].at(0.5), 1e-2)


def test_a_narrower_space_holds_only_what_it_names(space):
    narrower = space.narrowed(lr=(1e-3, 1e-2), width=(32, 128), kind=["c", "a"])
    assert [narrower["width"].at(share) for share in (0.0, 1.0)] == [32, 128]
    assert narrower["kind"].options == ("c", "a")
    assert not narrower.contains({**space.at([0.0] * 6)})
    assert space["lr"].low == 1e-4  # the other one is as it was


def test_what_is_pinned_is_no_dimension_until_it_is_narrowed_again(space):
    pinned = space.with_pinned(rate=0.25)
    assert [each.name for each in pinned.open] == ["lr", "depth", "width", "kind", "on"]
    assert [each.name for each in pinned.narrowed(rate=(0.1, 0.2)).open] == list(SPECS)


@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        ({"lr": (0.1, 0.01)}, "first is the lower one"),
        ({"lr": (0.0, 0.1)}, "above 0"),
        ({"lr": 0.1}, r"a pair \(low, high\)"),
        ({"rate": (0.2, 1.5)}, "below 1"),
        ({"kind": "a"}, "a list of some of a, b, c"),
        ({"kind": ["d"]}, "unknown kind 'd'"),
        ({"width": (20, 100)}, r"powers of 2, as \(16, 128\), or nbopt.Int\(20, low=20, high=100\)"),
        ({"width": (33, 60)}, r"as \(32, 64\)"),
        ({"lrr": (0.1, 1.0)}, "Did you mean 'lr'"),
    ],
)
def test_bounds_that_are_none_are_refused_in_words(space, bounds, told):
    with pytest.raises(InvalidHyperparam, match=told):
        space.narrowed(**bounds)


def test_a_grid_has_every_combination_in_the_order_of_scikit_learn(space):
    from sklearn.model_selection import ParameterGrid

    small = make_space({name: SPECS[name] for name in ("on", "kind")})
    assert small.grid(100) == list(ParameterGrid({"on": [False, True], "kind": ["a", "b", "c"]}))


def test_a_grid_of_ranges_has_about_as_many_places_as_there_may_be(space):
    rates = make_space({name: SPECS[name] for name in ("lr", "rate")})
    cells = rates.grid(25)
    assert len(cells) == 25 and cells[0] == {"lr": 1e-4, "rate": 0.0} and cells[-1] == {"lr": 1.0, "rate": 0.5}


def test_spaces_are_given_by_names_declarations_pairs_and_lists(space):
    def find(name, _bounds):
        return space[name].spec

    found = make_space(["lr", {"depth": (2, 3), "kind": ["b"]}, {"own": nbopt.Int(1, low=1, high=3)}], find)
    assert [each.words for each in found.values()] == ["1e-4 to 1, on a log scale", "2 to 3", "b", "1 to 3"]


def test_a_declaration_keeps_its_name_where_another_one_uses_it_too(space):
    assert make_space({"other": SPECS["lr"]})["other"].name == "other"
    assert SPECS["lr"].name == ""


@pytest.mark.parametrize("given", [5, [nbopt.Float(0.1, low=0.0, high=1.0)], {3: (0, 1)}])
def test_a_space_of_something_else_is_refused(given):
    with pytest.raises(InvalidHyperparam, match="space"):
        make_space(given)


def test_a_declaration_without_a_range_is_no_dimension():
    class Odd(nbopt.hyperparams.Hyperparam):
        pass

    with pytest.raises(InvalidHyperparam, match="no range"):
        Dimension.of(Odd(1))
