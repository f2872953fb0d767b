"""What is the same in the facts of two snapshots is held once."""

import pytest

from nbopt.record.sharing import shared


def test_all_that_is_the_same_is_one_object_and_all_else_stays_as_it_is():
    known = {"a": [{"b": [1, 2.0]}, {"c": "d"}], "e": {"f": None}}
    value = {"a": [{"b": [1, 2.5]}, {"c": "d"}, {"g": []}], "e": {"f": None}}
    found = shared(value, known)
    assert found == {"a": [{"b": [1, 2.5]}, {"c": "d"}, {"g": []}], "e": {"f": None}}
    assert found["a"][1] is known["a"][1]
    assert found["e"] is known["e"]
    assert shared({**known, "a": [{"b": [1, 2.0]}, {"c": "d"}]}, known) is known


@pytest.mark.parametrize(("value", "known"), [([1], [True]), ([1.0], [1]), ([0.0], [-0.0]), ([], {}), ([1], [1, 2])])
def test_what_only_compares_as_equal_is_not_the_same(value, known):
    assert repr(shared(value, known)) == repr(value)


def test_the_order_of_names_counts():
    assert [*shared({"b": 1, "a": 2}, {"a": 2, "b": 1})] == ["b", "a"]
