"""Spaces as people give them, of what nothing declares, and what comes of pruners beside them."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from torch import nn

import nbopt


def net(width, activation="relu", **_others):
    act = nn.ReLU() if activation == "relu" else nn.Tanh()
    return nn.Sequential(nn.Linear(4, width), act, nn.Linear(width, 2))


def test_an_objective_of_the_user_s_takes_pairs_and_lists():
    space = {"x": (-1.0, 1.0), "rate": (1e-4, 1e-1), "count": (2, 5), "kind": ["a", None]}
    study = nbopt.Study(objective=lambda trial: abs(trial.values["x"]), space=space, trials=12, store=None).fit()
    values = [trial.values for trial in study.trials]
    assert all(-1 <= v["x"] <= 1 and 1e-4 <= v["rate"] <= 1e-1 and v["count"] in range(2, 6) for v in values)
    assert {v["kind"] for v in values} == {"a", None} and study.space["rate"].log and not study.space["x"].log


def test_an_argument_of_the_user_s_own_is_searched_as_the_space_tells(make):
    """Whatever models of nbopt have by that name: ``width`` there is a power of 2."""
    study = make(net, space={"width": (3, 40), "activation": ["relu", "swish"]}, trials=12, epochs=1, sampler="random")
    assert study.space["width"].ends == [3, 40] and study.space["activation"].options == ("relu", "swish")
    assert any(trial.values["width"] not in (4, 8, 16, 32) for trial in study.fit().trials)
    assert make(net, space=["width"]).space["width"].powers  # where it tells nothing, as theirs


@pytest.mark.parametrize("build", [lambda **values: net(**values), lambda width, **_others: net(width)])
def test_a_function_of_any_arguments_gets_all_values_that_are_not_the_run_s(make, build):
    study = make(build, space={"width": [3, 5], "activation": ["relu", "tanh"], "lr": (1e-3, 1e-1)}).fit()
    for trial in study.trials:
        assert trial.run(store=None).model[0].out_features == trial.values["width"]
        assert trial.values.keys() == {"width", "activation", "lr"}


@pytest.mark.parametrize("pruner", ["median", "percentile"])
def test_a_pruner_that_compares_with_trials_that_have_ended_prunes_whatever_the_sampler(make, pruner):
    settings = {"space": ["lr"], "sampler": "random", "trials": 40, "epochs": 8, "executor": "auto"}
    states = [trial.state for trial in make(pruner=pruner, **settings).fit().trials]
    assert states.count("pruned") > 5 and states.count("complete") > 5


def test_failed_trials_are_counted_where_the_study_is_told():
    def objective(trial):
        return None if trial.number == 2 else trial.suggest_float("x", 0, 1)

    study = nbopt.Study(objective=objective, trials=4, store=None).fit()
    assert repr(study) == "<Study 'objective': finished, 4 of 4 trials, 1 failed>"
    assert "1 failed" in study._repr_html_()


def test_a_splitter_is_given_the_samples_themselves(make):
    class ByFirst(KFold):
        def split(self, x, y=None, groups=None):
            low = np.asarray(x)[:, 0] < 0
            yield np.flatnonzero(low), np.flatnonzero(~low)

    x = np.random.default_rng(0).normal(size=(40, 3))
    study = nbopt.Study(Ridge(), (x, x[:, 1]), space={"alpha": [1.0]}, cv=ByFirst(), trials=1, store=None).fit()
    low = x[:, 0] < 0
    assert study.best.objective == Ridge(alpha=1.0).fit(x[low], x[low, 1]).score(x[~low], x[~low, 1])
    assert len(make(cv=ByFirst(), trials=1).fit().best.parts) == 1


def test_a_study_of_tensors_may_have_a_splitter_that_looks_at_them(blobs):
    class Half(KFold):
        def split(self, x, y=None, groups=None):
            assert torch.equal(torch.as_tensor(x), blobs[0])
            yield np.arange(96), np.arange(96, 192)

    study = nbopt.Study(nn.Linear(4, 2), blobs, cv=Half(), space=["lr"], epochs=1, trials=1, store=None).fit()
    assert study.best.state == "complete"
