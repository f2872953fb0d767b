"""Folds and repeated seeds."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import StratifiedKFold

import nbopt
from nbopt.errors import InvalidHyperparam


@pytest.mark.parametrize("executor", ["inline", "population"])
def test_a_trial_is_judged_by_the_mean_of_its_folds(make, blobs, executor):
    study = make(cv=3, trials=2, executor=executor, metrics=["accuracy"], objective="val_accuracy").fit()
    x, y = blobs
    for trial in study.trials:
        for (train, val), found in zip(StratifiedKFold(3).split(x, y), trial.parts, strict=True):
            torch.manual_seed(0)
            data = (x[train], y[train]), (x[val], y[val])
            given = {"epochs": 2, "batch_size": 32, "metrics": ["accuracy"], "store": None}
            run = nbopt.Run(torch.nn.Linear(4, 2), *data, **given, **trial.values).fit()
            assert found == pytest.approx((run.history.last("val_accuracy"),), abs=1e-6)
        assert trial.objective == pytest.approx(np.mean(trial.parts))


def test_a_trial_is_judged_by_several_seeds(make):
    study = make(repeats=3, trials=2).fit()
    first = study.trials[0]
    assert len(first.parts) == 3 and len(set(first.parts)) == 3
    assert first.objective == pytest.approx(np.mean(first.parts))
    assert study.best.run(store=None).epoch == 2


def test_a_bad_trial_is_pruned_between_folds(make):
    study = make(cv=4, trials=10, sampler="random", pruner="median", space={"lr": (1e-6, 1.0)}).fit()
    assert {len(trial.parts) for trial in study.trials if trial.state == "complete"} == {4}
    assert any(trial.state == "pruned" and len(trial.parts) < 4 for trial in study.trials)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"cv": 1}, "cv: "),
        ({"cv": "five"}, "cv: "),
        ({"repeats": 0}, "repeats must be"),
    ],
)
def test_what_is_no_way_to_judge_is_refused(make, given, told):
    with pytest.raises(InvalidHyperparam, match=told):
        make(**given)


def test_folds_need_arrays_and_no_validation_data(blobs):
    data = torch.utils.data.TensorDataset(*blobs)
    with pytest.raises(InvalidHyperparam, match=r"train=\(X, y\)"):
        nbopt.Study(torch.nn.Linear(4, 2), data, cv=3, space=["lr"], store=None)
    with pytest.raises(InvalidHyperparam, match="leave one of them out"):
        nbopt.Study(torch.nn.Linear(4, 2), blobs, 0.2, cv=3, space=["lr"], store=None)


class Counts(torch.utils.data.Dataset):
    def __init__(self, x, y, counts):
        self.x, self.y, self.counts, self.read = x, y, counts, 0

    def __len__(self):
        return len(self.x)

    def __getitem__(self, place):
        self.read += self.counts
        return self.x[place] + self.read, self.y[place]


@pytest.mark.parametrize("counts", [0, 1])
def test_a_data_set_that_counts_is_told_once_for_trials_share_it(blobs, counts):
    given = {"space": ["lr"], "epochs": 1, "trials": 3, "store": None, "executor": "inline"}
    study = nbopt.Study(torch.nn.Linear(4, 2), Counts(*blobs, counts), blobs, batch_size=64, **given).fit()
    told = [entry.new["reason"] for entry in study.journal if entry.name == "not_exact"]
    assert len(told) == counts and all("Counts.read: trials share it" in reason for reason in told)
