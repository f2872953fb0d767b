"""The learning-rate finder: it finds where a quadratic diverges, and leaves no trace."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import nbopt
from nbopt.run.lr_finder import suggest
from nbopt.run.session import registry


def test_the_steepest_point_before_the_lowest_is_suggested():
    rates = np.geomspace(1e-4, 1.0, 41)
    log = np.log10(rates)
    smoothed = 1 - 1 / (1 + np.exp(-8 * (log + 2))) + 10 * np.maximum(0, log + 0.5)
    assert suggest(rates, smoothed) == pytest.approx(1e-2, rel=0.01)
    assert suggest(rates, np.linspace(1, 2, 41)) is None


def test_a_fall_within_the_noise_and_one_of_the_first_few_losses_are_none():
    rng, rates = np.random.default_rng(0), np.geomspace(1e-7, 1.0, 100)

    def smooth(losses):
        weights = 0.9 ** np.arange(len(losses))
        return np.array([np.average(losses[: k + 1], weights=weights[k::-1]) for k in range(len(losses))])

    flat = 0.4 + 0.05 * rng.standard_normal(100)
    assert suggest(rates, smooth(flat)) is not None  # a fall there is, of noise
    assert suggest(rates, smooth(flat), flat) is None
    falling = flat - 0.3 / (1 + np.exp(-3 * (np.log10(rates) + 2)))
    falling[0] += 0.4  # an outlier that the smoothed loss comes down from
    assert 3e-3 < suggest(rates, smooth(falling), falling) < 0.2


def test_the_sweep_ends_where_a_quadratic_diverges(make_run):
    x = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    y = x @ torch.ones(4, 1)
    # Gradient descent on the mean of (x w - y)^2 diverges above 2 over its largest curvature.
    limit = 2 / float(torch.linalg.eigvalsh(2 * x.T @ x / 32).max())
    torch.manual_seed(0)
    model = nn.Linear(4, 1, bias=False)
    run = make_run(model, train=(x, y), loss="mse", optimizer="sgd", batch_size=32, store=None)
    found = run.find_lr(1e-4, 100.0, 80)
    assert found.rates[0] == pytest.approx(1e-4)
    assert found.rates[-1] < 100.0
    assert limit / 100 < found.suggestion < limit
    assert found.losses[0] == pytest.approx(nn.functional.mse_loss(model(x), y).item())
    ratio = found.rates[1:] / found.rates[:-1]
    np.testing.assert_allclose(ratio, ratio[0])


@pytest.mark.parametrize("steps", [0, 5])
def test_the_run_notices_nothing(make_run, mlp, weights, steps):
    settings = {"epochs": 4, "batch_size": 20, "schedule": "cosine", "lr": 0.01, "store": None}
    run, alone = make_run(mlp(0.3), **settings), make_run(mlp(0.3), **settings)
    for each in (run, alone):
        if steps:
            each.step(steps)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    before = (dict(run.hyperparams), len(run.journal), run.state, len(run.snapshots))
    run.find_lr(1e-6, 1.0, 30)
    assert torch.equal(torch.rand(3), expected)
    assert (dict(run.hyperparams), len(run.journal), run.state, len(run.snapshots)) == before
    for each in (run, alone):
        each.step(7)
    assert torch.equal(weights(run), weights(alone))
    assert run.history["loss"][1].tolist() == alone.history["loss"][1].tolist()


def test_a_sweep_is_no_run_of_any_list_or_chart(make_run, monkeypatch, tmp_path):
    run = make_run(store=tmp_path)
    run.step(3)
    entered, made = [], []
    monkeypatch.setattr(registry, "enter", entered.append)
    monkeypatch.setattr(type(run), "viewer", SimpleNamespace(made=made.append, follow=lambda: None))
    assert len(run.find_lr(1e-6, 1.0, 30).rates) == 30
    assert entered == made == []
    assert [line.id for line in nbopt.runs(tmp_path)] == [run.id]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 1.0, "high": 0.1}, "low must be below high"),
        ({"low": -1.0}, "low must be a finite number above 0"),
        ({"steps": 3}, "steps must be a whole number at least 10"),
    ],
)
def test_what_is_no_sweep_is_told_in_words(make_run, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_run(store=None).find_lr(**arguments)
