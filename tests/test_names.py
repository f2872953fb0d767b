import inspect

import pytest
from torch import nn

from nbopt import Run
from nbopt.errors import SYNONYMS, InvalidHyperparam, unknown


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


def test_of_many_names_the_three_closest_are_told():
    names = [f"part_{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    assert str(unknown("hyperparameter", "part_q2", names)).endswith("of 26: part_q, part_z, part_y.")
    assert str(unknown("hyperparameter", "@", names)).startswith("unknown hyperparameter '@'. The closest of 26: ")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("learning_rate", "lr"), ("n_epochs", "epochs"), ("criterion", "loss"), ("lr_scheduler", "schedule")],
)
def test_what_others_call_a_hyperparameter_is_understood(name, meant):
    with pytest.raises(InvalidHyperparam, match=rf"unknown hyperparameter '{name}'\. Did you mean '{meant}'\?"):
        Run(nn.Linear(2, 2), None, **{name: 1})


def test_synonyms_stand_for_what_there_is_and_are_no_names_themselves():
    hyperparams = Run(nn.Linear(2, 2), None, store=None).hyperparams
    known = set(hyperparams) | inspect.signature(Run).parameters.keys()
    assert set(hyperparams.synonyms.values()) <= known
    assert not hyperparams.synonyms.keys() & known
    assert len(hyperparams.synonyms) == sum(len(spec.synonyms.split()) for spec in hyperparams.specs) + len(SYNONYMS)
