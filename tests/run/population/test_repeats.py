"""A run done again under other seeds, and two of them compared."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.run.population.comparing import find_interval
from tests.run.population.shared import SETTINGS, assert_same, dense, digits, model_of

__all__ = ["digits"]
pytestmark = pytest.mark.usefixtures("one_torch_thread")


def made(digits, seed=0, **others):
    x, y = digits
    given = {**SETTINGS, "epochs": 6, "lr": 0.002, "store": None, **others}
    return nbopt.Run(model_of(dense), (x[:160], y[:160]), (x[160:], y[160:]), seed=seed, **given)


def changes_of_what_is_one_for_all(run):
    run.step(5)
    run.set(batch_size=16)
    run.step(4)
    run.set(optimizer="sgd", lr=0.1)
    run.step(4)
    run.set(schedule="cosine", dropout=0.4)
    run.step(3)


def a_rewind(run):
    run.step(8)
    run.set(lr=0.05)
    run.step(6)
    run.rewind(5)
    run.set(lr=0.004)
    run.step(6)


def frozen_for_a_while(run):
    run.step(4)
    run.model[0].weight.requires_grad_(False)
    run.step(5)
    run.model[0].weight.requires_grad_(True)
    run.model[2].eval()
    run.step(4)


def a_wider_layer(run):
    run.step(4)
    run.edit(nbopt.Widen("0", by=4))
    run.step(5)


def what_is_done_one_after_the_other(run):
    run.step(4)
    run.set(mixup=0.3)
    run.step(8)


def begun_otherwise(run):
    run.set(initialization="kaiming")
    run.step(6)


PASTS = [changes_of_what_is_one_for_all, a_rewind, frozen_for_a_while, what_is_done_one_after_the_other]


@pytest.mark.parametrize("past", [*PASTS, a_wider_layer, begun_otherwise])
def test_all_that_was_done_to_a_run_is_done_under_another_seed(digits, past):
    runs = [made(digits, seed) for seed in (0, 1)]
    if past is a_wider_layer:  # of a run that has a model of its own
        for number, run in enumerate(runs):
            run.step(1)
            runs[number] = run.branch(at=0)
    for run in runs:
        past(run)
    repeats = runs[0].repeat(seeds=2)
    assert repeats.wait() is nbopt.RunState.FINISHED and runs[0].repeats is repeats
    for member, run in zip(repeats, runs, strict=True):
        assert member.step_count == run.step_count
        others = run.model.state_dict()
        assert all(torch.allclose(own, others[name], atol=1e-6) for name, own in member.model.state_dict().items())
        if past is not a_rewind:  # of which the journal of members has only what it led to
            assert_same(member, run)


def test_what_nothing_repeats_is_refused(digits):
    run = made(digits)
    run.step(4)
    with torch.no_grad():
        run.model[0].weight.mul_(0.5)
    run.step(2)
    with pytest.raises(RuntimeError, match=r"cannot be repeated.* at step 4: other numbers, put in by hand: 0\.weight"):
        run.repeat(seeds=2)


@pytest.mark.parametrize("seeds", [0, True, [1, 1], [], [-1]])
def test_seeds_that_are_none_are_refused(digits, seeds):
    with pytest.raises(ValueError, match="seed"):
        made(digits).repeat(seeds)


@pytest.fixture(scope="module")
def repeats(digits):
    found = {}
    for lr in (0.002, 0.01):
        run = made(digits, lr=lr, metrics=["accuracy"])
        run.step(15)
        found[lr] = run.repeat(seeds=range(3, 11))
        found[lr].wait()
    return found


def test_what_is_better_is_said_with_an_interval(repeats):
    found = nbopt.compare(repeats[0.002], repeats[0.01])
    own = [[member.history["val_loss"][1][-1] for member in repeats[lr]] for lr in (0.002, 0.01)]
    assert (found.one.tolist(), found.other.tolist(), found.seeds) == (own[0], own[1], list(range(3, 11)))
    assert found.difference == pytest.approx(np.mean(own[0]) - np.mean(own[1])) and 0 < found.low < found.difference
    assert found.p == stats.wilcoxon(*own).pvalue and found.better == 1 and found.at == 15 - 15 % 5
    turned = nbopt.compare(repeats[0.01], repeats[0.002])
    assert str(turned) == str(found)
    assert str(found).startswith("lr 0.01 is better than lr 0.002: validation loss lower by 0.")
    assert str(found).endswith("8 seeds, Wilcoxon p = 0.0078).")
    accuracy = nbopt.compare(repeats[0.01], repeats[0.002], "val_accuracy")
    assert accuracy.better is None and "val_accuracy higher by" in str(accuracy)
    assert "No difference is shown" in str(nbopt.compare(repeats[0.01], repeats[0.01], at="best"))


def test_the_interval_of_a_mean_is_near_that_of_student(repeats):
    differences = np.random.default_rng(4).normal(0.2, 1.0, 16)
    low, high, p = find_interval(differences, 0.95)
    known = stats.t.interval(0.95, 15, differences.mean(), stats.sem(differences))
    assert (low, high) == pytest.approx(known, abs=0.12) and p == stats.wilcoxon(differences).pvalue
    assert find_interval(np.full(8, -0.5), 0.95) == (-0.5, -0.5, pytest.approx(2 / 2**8))


def of_other_seeds(run, digits):
    return run.population(seed=[0, 1, 2, 3, 4, 5])


def that_trained_for_less(run, digits):
    return run.repeat(seeds=range(3, 11))


def on_other_data(run, digits):
    x, y = digits
    run = nbopt.Run(model_of(dense), (x[:160], y[:160]), (x[150:190], y[150:190]), store=None, **SETTINGS)
    run.step(10)
    return run.repeat(seeds=range(3, 11))


def with_another_loss(run, digits):
    run.set(loss="focal")
    run.step(7)
    return run.repeat(seeds=range(3, 11))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (of_other_seeds, r"not done under the same seeds \(0, 1, 2, 6, 7, \.\.\. on one side only\)"),
        (that_trained_for_less, r"not of the same step \(5, 15\)"),
        (on_other_data, "validated on other data"),
        (with_another_loss, "their losses are not the same"),
    ],
)
def test_what_is_not_to_be_compared_is_refused(repeats, digits, other, words):
    run = made(digits, metrics=["accuracy"])
    run.step(8)
    others = other(run, digits)
    if other is not of_other_seeds:
        others.wait()
    with pytest.raises(ValueError, match=words):
        nbopt.compare(repeats[0.01], others)


def test_what_is_not_there_to_compare_is_said(repeats, digits):
    few = [made(digits).repeat(seeds=2) for _side in range(2)]
    with pytest.raises(ValueError, match="at least 6 seeds are needed"):
        nbopt.compare(*few)
    with pytest.raises(InvalidHyperparam, match=r"give what run\.repeat\(seeds=16\) returned"):
        nbopt.compare(made(digits), repeats[0.01])
    with pytest.raises(InvalidHyperparam, match="Did you mean 'val_accuracy'"):
        nbopt.compare(*repeats.values(), "val_acc")
    with pytest.raises(ValueError, match="no number for val_loss at 4"):
        nbopt.compare(*repeats.values(), at=4)
    with pytest.raises(ValueError, match="give val_accuracy a step"):
        nbopt.compare(*repeats.values(), "val_accuracy", at="best")


def test_seeds_that_decide_nothing_show_nothing(digits):
    sides = []
    for lr in (0.001, 0.01):  # all samples in each step: an order makes a difference of rounding
        run = nbopt.Run(nn.Linear(64, 10), digits, digits, batch_size=200, epochs=3, lr=lr, store=None)
        run.step(3)
        sides.append(run.repeat(seeds=6))
        sides[-1].wait()
    with pytest.raises(ValueError, match="the seeds made no difference"):
        nbopt.compare(*sides)
