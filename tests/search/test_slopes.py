"""Search by the derivative of the validation loss."""

import numpy as np
import pytest

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.search.samplers.slopes import NOTE

SPACE = {"lr": (1e-4, 1.0), "weight_decay": (1e-4, 1.0)}


def follow(make, sampler="hypergradient", **given):
    return make(
        **{"space": SPACE, "sampler": sampler, "trials": 10, "optimizer": "sgd", "executor": "auto", **given}
    ).fit()


def test_each_trial_goes_where_the_loss_falls(make):
    study = follow(make)
    for before, after in zip(study.trials, study.trials[1:], strict=False):
        for name, slope in before.attrs[NOTE].items():
            moved = after.values[name] - before.values[name]
            at_edge = before.values[name] in SPACE[name]
            assert moved * slope < 0 or (at_edge and moved == 0), (name, before, after)
    assert study.trials[-1].objective < study.trials[0].objective


def test_the_derivative_is_that_of_the_trials_own_training(make):
    """Against differences of whole trainings."""
    study = follow(make, trials=1)
    trial, losses = study.trials[0], []
    for factor in (0.999, 1.001):
        values = {**trial.values, "lr": trial.values["lr"] * factor}
        run = nbopt.Run.of(study._subject.blueprint.spec(values, None, (None, 0)))
        losses.append(run.fit().history.last("val_loss"))
    difference = (losses[1] - losses[0]) / (0.002 * trial.values["lr"])
    assert trial.attrs[NOTE]["lr"] == pytest.approx(difference, rel=0.05)


def test_it_follows_from_its_seed_and_stays_inside(make):
    first, again = (follow(make, seed=3, trials=4) for _time in range(2))
    assert [trial.values for trial in first.trials] == [trial.values for trial in again.trials]
    assert first.trials[0].values != follow(make, seed=4, trials=1).trials[0].values
    for trial in first.trials:
        assert all(low <= trial.values[name] <= high for name, (low, high) in SPACE.items())


def test_it_is_better_than_chance_at_equal_budget(make):
    found, chance = (
        np.median([follow(make, sampler, seed=seed).best.objective for seed in range(2)])
        for sampler in ("hypergradient", "random")
    )
    assert found < chance


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"space": ["lr", "batch_size"]}, "batch_size: there is no derivative"),
        ({"space": ["lr", "clip_norm"]}, "ClipNorm acts"),
        ({"executor": "threads"}, "one after the other"),
        ({"objective": "loss"}, "needs a model"),
        ({"objective": "val_accuracy", "metrics": ["accuracy"]}, "val_loss' alone"),
        ({"cv": 3}, "no folds"),
    ],
)
def test_what_has_no_derivative_is_refused_before_the_first_trial(make, given, told):
    with pytest.raises((InvalidHyperparam, ValueError), match=told):
        make(**{"sampler": "hypergradient", "space": ["lr"], "executor": "auto", **given})
