"""Steps captured as CUDA graphs: the same curves as eager steps, under every slider, and on every way back."""

import pytest
import torch
from torch import nn

from nbopt.training.compile.background import BackgroundCompile
from tests.training.tiered import STEPS, pull

CHANGES = [{"lr": 3e-3}, {"weight_decay": 0.01}, {"l1": 1e-4}, {"dropout": 0.4}, {"dropout": 0.0}, {"lr": 1e-4}]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch, cuda_only):
    """Capture steps at once, and look at how they are done after each of them."""
    monkeypatch.setattr("nbopt.training.loss_buffer._FLUSH_SECONDS", -1.0)
    monkeypatch.setattr("nbopt.training.core._LOOK_SECONDS", -1.0)
    monkeypatch.setattr("nbopt.training.step.mode._WATCHED_SECONDS", 0.0)
    monkeypatch.setattr("nbopt.training.step.mode._GAIN", 0.0)
    monkeypatch.setattr("nbopt.training.step.mode._fitting", lambda speed: STEPS)
    monkeypatch.setattr(BackgroundCompile, "start", BackgroundCompile.run)


@pytest.fixture
def capture(make_run):
    """Return a maker of runs that are pulled until their steps are captured."""

    def make(*given, **settings):
        run = make_run(*given, tier="compiled", batch_size=16, **settings)
        run.events()
        run.training.meter.tick(running=True)
        pull(run, 40)
        assert run.training.tiers.steps == STEPS, run.tier
        return run

    return make


def switches(run):
    return [entry.new for entry in run.journal if entry.name == "switch"]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_captured_steps_compute_what_eager_steps_do(capture, make_run, weights, optimizer):
    run = capture(optimizer=optimizer)
    pull(run, run.step_count + 40)
    plain = make_run(optimizer=optimizer, batch_size=16, tier="eager")
    plain.step(run.step_count)
    torch.testing.assert_close(weights(run), weights(plain), rtol=2e-3, atol=2e-4)


def test_sliders_act_on_captured_steps(capture, make_run, net, weights):
    run = capture(net(dropout=0.2))
    for change in CHANGES:
        run.set(**change)
        pull(run, run.step_count + 24)
    plain = make_run(net(dropout=0.2), batch_size=16, tier="eager")
    for entry in run.journal.changes():
        plain.step(entry.step - plain.step_count) if entry.step > plain.step_count else None
        plain.set(**{entry.name: entry.new})
    plain.step(run.step_count - plain.step_count)
    torch.testing.assert_close(weights(run), weights(plain), rtol=5e-3, atol=5e-4)


def test_a_replay_of_captured_steps_is_exact(capture, net, weights):
    run = capture(net(dropout=0.2))
    run.set(lr=5e-3)
    pull(run, run.step_count + 40)
    again = run.replay()
    again.wait(120)
    assert torch.equal(weights(again), weights(run))
    assert switches(again) == switches(run)


def test_a_rewind_among_captured_steps_is_exact(capture, net, weights):
    run = capture(net(dropout=0.2))
    pull(run, run.step_count + 20)
    there, back_to = weights(run), run.step_count
    pull(run, run.step_count + 40)
    run.rewind(back_to)
    assert torch.equal(weights(run), there)


@pytest.mark.parametrize("channels_last", [False, True])
def test_convolutions_are_captured(capture, channels_last):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    )
    images = torch.randn(640, 3, 16, 16), torch.arange(640) % 10
    run = capture(model, images, channels_last=channels_last)
    pull(run, run.step_count + 40)
    assert run.history.last("loss") < 3
