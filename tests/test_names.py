import pytest

from nbopt.names import InvalidHyperparam, unknown


def test_the_error_says_what_was_probably_meant_and_what_is_allowed():
    error = unknown("optimizer", "adm", ["sgd", "adam"])
    assert str(error) == "unknown optimizer 'adm'. Did you mean 'adam'? Allowed: sgd, adam."


def test_without_anything_similar_there_is_no_guess():
    assert str(unknown("loss", "xyz", ["mse"])) == "unknown loss 'xyz'. Allowed: mse."


def test_where_there_is_nothing_to_choose_from_it_says_so():
    assert str(unknown("measurement", "loss", [])) == "unknown measurement 'loss'. There is none yet."


@pytest.mark.parametrize("kind", [InvalidHyperparam, ValueError, TypeError, KeyError])
def test_the_error_is_caught_as_whatever_the_caller_expects(kind):
    assert isinstance(unknown("loss", object(), []), kind)
