"""Runs with several outputs, repeated, stored, opened again and written as recipes."""

import copy

import numpy as np
import pytest
import torch

import nbopt
from nbopt import Run
from tests.training.outputs import LOSS, METRICS, Net, assert_same, data, make, replayed

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_of_a_step_that_evaluates_the_loss_again_and_again_the_first_losses_count():
    run = make(optimizer="lbfgs", lr=0.5)
    run.fit()
    steps, digit = run.history["digit_loss"]
    total = digit + 0.3 * run.history["angle_loss"][1]
    assert steps.tolist() == run.history["loss"][0].tolist()
    assert total.tolist() == pytest.approx(run.history["loss"][1].tolist(), rel=1e-5)


def test_mixup_mixes_the_targets_of_all_outputs():
    run = make(mixup=1.0)
    run.fit()
    total = run.history["digit_loss"][1] + 0.3 * run.history["angle_loss"][1]
    assert not np.allclose(
        total, run.history["loss"][1]
    )  # what is trained on is mixed, each curve is of its own target
    assert_same(replayed(run), run)


def test_uncertainty_balances_tasks():
    run = make(balance="uncertainty", balance_rate=0.5)
    run.fit()
    assert len(set(run.training.loss.scales)) == 2
    assert_same(replayed(run), run)


def test_replay_rewind_and_branch_repeat_all_of_it(tmp_path):
    run = make(net=Net(dropout=0.3), store=tmp_path, epochs=3)
    run.step(2)
    run.set(angle_weight=1.5)
    run.step(2)
    run.fit()
    assert_same(replayed(run), run)
    branch = run.branch(3)
    branch.fit()
    assert_same(branch, run)
    before = copy.deepcopy(run.model.state_dict()), {name: run.history[name][1].copy() for name in run.history.names}
    run.rewind(4)
    assert len(run.history["digit_loss"][0]) == 4
    run.fit()
    for name, values in before[1].items():
        assert np.array_equal(run.history[name][1], values), name
    assert all(torch.equal(a, b) for a, b in zip(before[0].values(), run.model.state_dict().values(), strict=True))


@pytest.mark.parametrize("step", [2, 5], ids=["within an epoch", "with metrics under way"])
def test_a_stored_run_goes_on_as_if_nothing_had_been(tmp_path, step):
    x, digit, angle = data()
    given = (x, {"digit": digit, "angle": angle})
    unbroken, broken = make(), make(store=tmp_path)
    unbroken.fit()
    broken.step(step)
    for own in ({}, {"loss": LOSS, "metrics": METRICS}):  # names are stored
        again = nbopt.open(broken.id, Net(), given, given, store=tmp_path, **own)
        assert again.step_count == step
    again.fit()
    assert_same(again, unbroken)


def test_what_only_the_user_has_is_to_be_given_again(tmp_path):
    def far(output, target):
        return (output[:, 0] - target).abs().max()

    x, digit, angle = data()
    given = (x, {"digit": digit, "angle": angle})
    own = {"loss": {"digit": "cross_entropy", "angle": (0.5, far)}, "metrics": {"angle": [far]}}
    run = make(store=tmp_path, **own)
    run.step(2)
    with pytest.raises(ValueError, match="loss digit: cross_entropy, angle: far: only you have it"):
        nbopt.open(run.id, Net(), given, given, metrics=own["metrics"], store=tmp_path)
    with pytest.raises(ValueError, match="metrics angle_far: only you have it"):
        nbopt.open(run.id, Net(), given, given, loss=own["loss"], store=tmp_path)
    assert nbopt.open(run.id, Net(), given, given, store=tmp_path, **own).step_count == 2


def test_before_its_first_step_a_stored_run_has_the_weights_it_was_given(tmp_path):
    x, digit, angle = data()
    given = (x, {"digit": digit, "angle": angle})
    run = make(store=tmp_path)
    run.set(digit_weight=0.5)
    again = nbopt.open(run.id, Net(), given, given, store=tmp_path)
    assert (again.hyperparams["digit_weight"], again.hyperparams["angle_weight"]) == (0.5, 0.3)


@pytest.mark.parametrize(
    "metrics", [METRICS, {"digit": {"top": "accuracy"}, "angle": ["mae", "r2"]}, None], ids=["listed", "named", "none"]
)
def test_a_recipe_holds_losses_and_metrics_by_output(metrics):
    x, digit, angle = data()
    given = (x, {"digit": digit, "angle": angle})
    run = make(metrics=metrics)
    run.set(angle_weight=0.7)
    run.step(2)
    run.set(digit_label_smoothing=0.1)
    run.fit()
    text = run.to_yaml()
    assert "loss: {digit: cross_entropy, angle: mse}\n" in text
    again = Run.from_yaml(text, Net(), given, given, device="cpu", store=None)
    again.fit()
    assert_same(again, run)


def test_a_share_for_validation_keeps_the_labels_of_all_outputs_in_proportion():
    x, _digit, angle = data(60)
    run = make(train=(x, {"digit": torch.arange(60) % 3, "angle": angle}), val=0.2)
    run.step(1)
    counts = torch.bincount(run.training.val.targets["digit",])
    assert counts.tolist() == [4, 4, 4]
