"""Losses of several terms; the newer losses against their formulas; what a script makes of them."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import hinge_loss
from torch import nn
from torch.nn import functional

from nbopt import Run
from nbopt.errors import InvalidHyperparam
from nbopt.techniques.losses.choice import LOSSES, loss_choice
from tests.export import scripts
from tests.export.scripts import is_tidy

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SCORES = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 3, 1, 2, 2, 0])


def data(kind):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(24, 3, generator=generator)
    y = {"classification": torch.arange(24) % 3, "binary": torch.arange(24) % 2, "regression": x @ torch.ones(3)}[kind]
    return x, y


def net(task):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 3 if task == "classification" else 1))


def value(name, output, target, **values):
    loss = LOSSES[name]()
    loss.__dict__.update(values)
    loss.check(output, target)
    return loss(output, loss.prepare(output, target))


# -- formulas


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_is_equation_4(gamma):
    p = SCORES.softmax(1)[torch.arange(6), CLASSES]
    torch.testing.assert_close(value("focal", SCORES, CLASSES, gamma=gamma), (-((1 - p) ** gamma) * p.log()).mean())
    labels, p = torch.tensor([0, 1, 1, 0, 1, 0]), SCORES[:, 0].sigmoid()
    p = torch.where(labels == 1, p, 1 - p)
    expected = (-((1 - p) ** gamma) * p.log()).mean()
    torch.testing.assert_close(value("binary_focal", SCORES[:, :1], labels, gamma=gamma), expected)


def test_without_focus_the_focal_loss_is_the_cross_entropy():
    expected = functional.cross_entropy(SCORES, CLASSES)
    torch.testing.assert_close(value("focal", SCORES, CLASSES, gamma=0.0), expected)


@pytest.mark.parametrize("margin", [0.5, 1.0])
def test_hinge_losses_are_written_out(margin):
    wrong = [
        max(0.0, margin - float(SCORES[n, CLASSES[n]] - SCORES[n, k])) / 4
        for n in range(6)
        for k in range(4)
        if k != CLASSES[n]
    ]
    assert float(value("hinge", SCORES, CLASSES, margin=margin)) == pytest.approx(sum(wrong) / 6, rel=1e-5)
    labels = torch.tensor([0, 1, 1, 0, 1, 0])
    ours = float(value("binary_hinge", SCORES[:, 0], labels, margin=margin))
    signs = 2 * labels.numpy() - 1
    assert ours == pytest.approx(np.maximum(0, margin - signs * SCORES[:, 0].numpy()).mean(), rel=1e-5)
    if margin == 1.0:
        assert ours == pytest.approx(hinge_loss(labels, SCORES[:, 0].numpy()), rel=1e-5)


@pytest.mark.parametrize("name", ["focal", "hinge"])
def test_probabilities_are_no_classes_for_them(name):
    with pytest.raises(ValueError, match=f"{name}: .*class indices as integers"):
        value(name, SCORES, SCORES.softmax(1))


def test_smoothing_acts_in_training_alone():
    x, y = data("classification")
    model = net("classification")
    run = Run(model, (x, y), (x, y), label_smoothing=0.2, lr=0.0, optimizer="sgd", batch_size=24, epochs=1, store=None)
    run.fit()
    output = model(x).detach()
    smooth = 0.8 * functional.one_hot(y, 3) + 0.2 / 3
    assert run.history.last("loss") == pytest.approx(float(functional.cross_entropy(output, smooth)), rel=1e-5)
    assert run.history.last("val_loss") == pytest.approx(float(functional.cross_entropy(output, y)), rel=1e-5)


# -- terms


def close_to_zero(output, target):
    return output.square().mean()


def test_terms_are_weighted_and_their_weights_are_live():
    x, y = data("regression")
    model = net("regression")
    run = Run(model, (x, y), loss=[(0.5, "mse"), "huber", (2, close_to_zero)], delta=0.3, batch_size=24, store=None)
    assert run.hyperparams["loss"] == "mse + huber + close_to_zero"

    def expected(*weights):
        f, t = model(x), y[:, None]
        parts = (functional.mse_loss(f, t), functional.huber_loss(f, t, delta=0.3), f.square().mean())
        return float(sum(w * p for w, p in zip(weights, parts, strict=True)))

    for weights in ((0.5, 1.0, 2.0), (0.0, 3.0, 2.0)):
        run.set(weight_mse=weights[0], weight_huber=weights[1])
        before = expected(*weights)
        run.step(1)
        run.training.flush()
        assert run.history.last("loss") == pytest.approx(before, rel=1e-5)


def test_balanced_terms_follow_the_paper_s_gradient():
    x, y = data("regression")
    settings = {"balance": "uncertainty", "balance_rate": 0.1, "lr": 0.0, "optimizer": "sgd", "batch_size": 24}
    run = Run(net("regression"), (x, y), loss=["mse", (0.5, "mae")], store=None, **settings)
    f = run.model(x).detach()
    losses = [float(functional.mse_loss(f, y[:, None])), float(functional.l1_loss(f, y[:, None]))]
    s = torch.zeros(2, requires_grad=True)
    weights = torch.tensor([1.0, 0.5])
    for _step in range(5):
        objective = (weights * (torch.exp(-s) * torch.tensor(losses) / 2 + s / 2)).sum()
        run.step(1)
        run.training.flush()
        assert run.history.last("loss") == pytest.approx(objective.item(), rel=1e-5)
        (slope,) = torch.autograd.grad(objective, s)
        s = (s - 0.1 * slope).detach().requires_grad_()
    assert run.training.loss.scales == pytest.approx(s.tolist(), rel=1e-5)


def test_left_alone_each_uncertainty_comes_to_its_loss():
    run = Run(
        *(net("regression"), data("regression")),
        **{"loss": ["mse", "mae"], "balance": "uncertainty", "balance_rate": 1.0},
        **{"lr": 0.0, "optimizer": "sgd", "batch_size": 24, "epochs": 200, "store": None},
    )
    run.fit()
    f, (_x, y) = run.model(data("regression")[0]).detach(), data("regression")
    expected = [math.log(functional.mse_loss(f, y[:, None])), math.log(functional.l1_loss(f, y[:, None]))]
    assert run.training.loss.scales == pytest.approx(expected, rel=1e-3)


def test_uncertainties_survive_a_rewind_and_a_replay():
    run = Run(net("regression"), data("regression"), loss=["mse", "mae"], balance="uncertainty", store=None, epochs=9)
    run.step(6)
    scales, weights = run.training.loss.scales, run.model[0].weight.detach().clone()
    run.rewind(2)
    assert run.training.loss.scales != scales
    run.step(4)
    assert run.training.loss.scales == scales
    twin = run.replay()
    twin.wait(60)
    assert torch.equal(twin.model[0].weight, weights)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([], "the list of terms is empty"),
        (["mse", "mse"], "each term needs a different name"),
        (["mse", "cross_entropy"], "need different targets: mse .regression., cross_entropy .classification."),
        ([(-1, "mse")], "weight of at least 0"),
        ([("mse", 1)], "weight of at least 0"),
        (["msee"], "Did you mean 'mse'"),
    ],
)
def test_terms_that_do_not_go_together_are_told_in_words(terms, message):
    with pytest.raises(InvalidHyperparam, match=message):
        loss_choice(terms)


# -- as a script


@pytest.mark.parametrize("name", LOSSES)
def test_a_script_knows_every_loss_and_its_changes(name):
    kind = LOSSES[name]
    change = dict.fromkeys(kind.declared(), 0.3)
    samples = data(kind.task)
    other = next(other for other, each in LOSSES.items() if each.task == kind.task and other != name)
    for plan in ({}, {3: change}, {3: change, 5: {"loss": other}, 8: {"loss": name}}):
        run, initial = scripts.make(net(kind.task), samples, samples, loss=name, epochs=4, batch_size=8, lr=0.05)
        text, largest = scripts.check(scripts.follow(run, plan), initial, samples, samples)
        assert largest <= 1e-6
        assert is_tidy(text)


@pytest.mark.parametrize("terms", [["mse", (0.5, "huber")], [(2.0, "mae"), close_to_zero]])
def test_a_script_knows_terms(terms):
    samples = data("regression")
    run, initial = scripts.make(net("regression"), samples, samples, loss=terms, epochs=4, batch_size=8, lr=0.05)
    name = next(name for name in run.hyperparams if name.startswith("weight_m"))
    text, largest = scripts.check(scripts.follow(run, {4: {name: 0.3}}), initial, samples, samples)
    assert largest <= 1e-6
    assert is_tidy(text)
