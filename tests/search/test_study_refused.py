"""What cannot be searched is refused before the first trial, in words."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.svm import SVC

import nbopt
from nbopt.errors import InvalidHyperparam, UnknownName


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"space": None}, InvalidHyperparam, "what is to be searched"),
        ({"space": ["lrr"]}, UnknownName, "Did you mean 'lr'"),
        ({"space": ["learning_rate"]}, UnknownName, "Did you mean 'lr'"),
        ({"space": ["lr"], "lr": 0.1}, InvalidHyperparam, "leave one of them out"),
        ({"space": {"lr": (-1, 1)}}, InvalidHyperparam, "at least 0"),
        ({"objective": "val_los"}, UnknownName, "Did you mean 'val_loss'"),
        ({"objective": "val_accuracy"}, InvalidHyperparam, r"not measured: give metrics=\['accuracy'\]"),
        ({"objective": "val_mine", "metrics": {"mine": torch.dist}}, InvalidHyperparam, "direction='maximize'"),
        ({"direction": "up"}, UnknownName, "unknown direction"),
        ({"space": {"lr": nbopt.Float(0.1, low=0, high=1, log=True)}}, InvalidHyperparam, "logarithmic scale begins"),
        ({"trials": 0}, InvalidHyperparam, "trials must be"),
        ({"executor": "treads"}, UnknownName, "Did you mean 'threads'"),
        ({"slots": 0}, InvalidHyperparam, "slots must be"),
        ({"nonsense": 1}, UnknownName, "nonsense"),
        ({"build": 5}, TypeError, "build must be"),
        ({"build": LogisticRegression}, InvalidHyperparam, r"a class: give an estimator, LogisticRegression\(\)"),
        ({"build": lambda width, depth: None, "space": ["width"]}, InvalidHyperparam, "build needs depth"),
        ({"build": lambda mine: None, "space": ["mine", "lr"]}, InvalidHyperparam, "say what to try"),
        ({"build": lambda: 5}, TypeError, "must return a torch.nn.Module"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_the_first_trial(make, given, error, told):
    with pytest.raises(error, match=told):
        make(**given)


def test_validation_is_missing_in_words(blobs):
    with pytest.raises(InvalidHyperparam, match="give val="):
        nbopt.Study(torch.nn.Linear(4, 2), blobs, space=["lr"], store=None)
    with pytest.raises(InvalidHyperparam, match="training data"):
        nbopt.Study(torch.nn.Linear(4, 2), space=["lr"], store=None)
    with pytest.raises(InvalidHyperparam, match="no build"):
        nbopt.Study(objective="val_loss", store=None)


@pytest.mark.parametrize("returned", [None, "low", [0.1, None], torch.zeros(2)])
def test_what_an_objective_returns_that_is_no_number_is_told(returned):
    study = nbopt.Study(objective=lambda trial: returned, trials=2, store=None)
    with pytest.raises(TypeError, match="the objective must return a number; it returned"):
        study.fit()


@pytest.mark.parametrize("executor", ["threads", "inline"])
def test_modes_that_trials_would_not_have(executor):
    found = []
    mine = {"objective": lambda trial: found.append(torch.is_autocast_enabled("cpu")) or 1.0, "store": None}
    study = nbopt.Study(**mine, trials=1, executor=executor)
    with torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(RuntimeError, match="holds in this thread alone"):
            (study.fit if executor == "threads" else study.start)()
        if executor == "inline":
            study.fit()
    assert found == [True] * (executor == "inline")


def test_values_to_search_may_be_an_array(make):
    study = make(space={"lr": np.logspace(-3, 0, 4)}, sampler="grid", trials=4).fit()
    assert sorted(trial.values["lr"] for trial in study.trials) == pytest.approx([0.001, 0.01, 0.1, 1.0])


def test_an_optimizer_that_exists_is_refused(make):
    model = torch.nn.Linear(4, 2)
    with pytest.raises(TypeError, match="weights of one model"):
        make(model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))


def test_without_optuna_it_says_what_to_install(make, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'nbopt\[search\]'"):
        make()


def test_a_name_that_stands_in_the_space_twice_is_refused(make):
    grids = [{"kernel": ["linear"], "C": [1, 10]}, {"kernel": ["rbf"], "gamma": [0.1, 1]}]
    iris = np.zeros((30, 2)), np.arange(30) % 3
    with pytest.raises(InvalidHyperparam, match="kernel stands in the space twice"):
        nbopt.Study(SVC(), iris, space=grids, store=None)
    with pytest.raises(InvalidHyperparam, match="lr stands in the space twice"):
        make(space=["lr", {"lr": (1e-3, 1e-1)}])


def test_what_an_estimator_cannot_be_fitted_to_is_told():
    x, y = np.zeros((30, 2)), np.arange(30) % 3
    with pytest.raises(InvalidHyperparam, match=r"fitted to \(X, y\); got 3 parts"):
        nbopt.Study(SVC(), (x, y, y), space={"C": [1, 10]}, store=None)
    with pytest.raises(InvalidHyperparam, match=r"cv=list\(splitter.split\(X, y, groups\)\)"):
        nbopt.Study(SVC(), (x, y), space={"C": [1, 10]}, cv=GroupKFold(3), store=None)


@pytest.mark.parametrize(("train", "val"), [("X", "y"), (("X", "y"), "X"), (("X", "y"), ("X", "y", "X"))])
def test_validation_data_of_an_estimator_are_a_pair_too(blobs, train, val):
    given = {"X": blobs[0].numpy(), "y": blobs[1].numpy()}
    train, val = (given[one] if isinstance(one, str) else tuple(given[each] for each in one) for one in (train, val))
    with pytest.raises(InvalidHyperparam, match="both pairs"):
        nbopt.Study(SVC(), train, val, space={"C": (0.1, 1.0)}, store=None)


def test_names_that_the_objective_suggests_are_told_where_they_are_given_by_hand():
    study = nbopt.Study(objective=lambda trial: trial.suggest_float("x", 0, 1), trials=2, store=None)
    for act in (study.pin, study.add):
        with pytest.raises(InvalidHyperparam, match=r"suggests all values by itself; declare them, as space={'x'"):
            act(x=0.5)


def test_an_objective_that_returns_several_numbers_says_how_they_are_searched():
    study = nbopt.Study(objective=lambda trial: (1.0, 2.0), trials=2, store=None)
    with pytest.raises(
        ValueError, match=r"returned 2 numbers, and the study has 1: .* direction=\['minimize', 'minimize'\]"
    ):
        study.fit()
