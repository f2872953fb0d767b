"""The tiers of a step compute the same, and a run is on the one that suits it."""

import itertools
import shutil
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbopt.training.compile.background import BackgroundCompile
from nbopt.training.compile.build import Build
from nbopt.training.compile.step import CannotCompile
from nbopt.training.state import Stepped
from tests.training.tiered import CHANGES, CLOSE, MORE, STEPS, batch_norm, only_compiled, pull, switches


@pytest.mark.parametrize(
    ("kind", "optimizer"), [("mlp", "adam"), ("mlp", "sgd"), ("batch norm", "sgd"), ("batch norm", "adamw")]
)
def test_both_tiers_compute_the_same_whatever_is_changed(make_tiered, mlp, compiled, weights, optimizer, kind):
    runs = []
    for tier in ("compiled", "eager"):
        model = mlp(dropout=0.3) if kind == "mlp" else batch_norm()
        run = make_tiered(model, optimizer=optimizer, tier=tier, lr=0.01, metrics=["accuracy"])
        step = 15
        pull(run, step)
        for change in CHANGES + MORE.get(optimizer, []):
            run.set(**change)
            step += 15  # an epoch: both are there at the same time
            pull(run, step)
        runs.append(run)
    ours, eager = runs
    assert ours.step_count == eager.step_count
    assert ours.training.tiers.steps == compiled.steps
    torch.testing.assert_close(weights(ours), weights(eager), rtol=1e-4, atol=1e-5)
    assert ours.history["loss"][1].tolist() == pytest.approx(eager.history["loss"][1].tolist(), rel=1e-4, abs=1e-5)
    assert ours.history["accuracy"][1].tolist() == pytest.approx(eager.history["accuracy"][1].tolist())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_both_tiers_compute_the_same_in_16_bits_and_channels_last(
    make_tiered, compiled, weights, precision, channels_last
):
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(60, 3, 6, 6, generator=generator), torch.arange(60) % 3
    settings = {"optimizer": "sgd", "momentum": 0.9, "lr": 0.01, "metrics": ["accuracy"]}
    settings |= {"precision": precision, "channels_last": channels_last}
    runs = []
    for tier in ("compiled", "eager"):
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Tanh(), nn.Dropout(0.3), nn.Flatten()
        run = make_tiered(nn.Sequential(*layers, nn.Linear(64, 3)), train=data, tier=tier, **settings)
        pull(run, 45)
        runs.append(run)
    ours, eager = runs
    assert ours.training.tiers.steps == compiled.steps
    torch.testing.assert_close(weights(ours), weights(eager), rtol=1e-3, atol=CLOSE[precision])
    assert ours.history["loss"][1].tolist() == pytest.approx(
        eager.history["loss"][1].tolist(), rel=1e-3, abs=10 * CLOSE[precision]
    )


def test_no_slider_compiles_again(make_tiered, compiled):
    run = make_tiered(optimizer="sgd")
    pull(run, 15)
    for change in CHANGES + MORE["sgd"]:
        run.set(**change)
        pull(run, run.step_count + 15)
    assert len(compiled) == 1


def test_a_change_acts_within_one_call(make_tiered, compiled):
    run = make_tiered()
    pull(run, 15)
    for _ in range(5):
        asked_at, events = run.step_count, run.events()
        run.set(lr=run.hyperparams["lr"] / 2)
        next(event for event in events if isinstance(event, Stepped))
        assert run.journal.changes()[-1].step - asked_at <= STEPS
        next(event for event in events if isinstance(event, Stepped))


def test_steps_are_done_together_where_the_epoch_fills_a_call(make_tiered, compiled):
    run = make_tiered()
    ends = pull(run, 45)
    last = [34, 38, 42, 43, 44, 45] if compiled.steps > 1 else [34, 38, 42, 45]  # a graph has as many as it has
    assert ends[-len(last) :] == last
    assert max(b - a for a, b in itertools.pairwise(ends)) == STEPS
    assert run.history["loss"][0].tolist() == list(range(45))


def test_a_new_batch_size_goes_on_eagerly_until_its_steps_are_compiled(make_tiered, compiled):
    run = make_tiered()
    pull(run, 30)
    run.set(batch_size=6)
    pull(run, 60)
    assert [steps for _step, _before, steps in switches(run)] == [compiled.steps, 0, compiled.steps]
    assert len(compiled) == 2


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.drop = nn.Linear(4, 3), nn.Dropout(0.5)

    def forward(self, x):
        return self.linear(self.drop(self.drop(x)))


class Noisy(nn.Linear):
    def forward(self, x):
        return super().forward(x + torch.randn_like(x))


def hooked():
    model = nn.Linear(4, 3)
    model.register_forward_hook(lambda *_args: None)
    return model


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"model": Own}, "dropout layer twice"),
        ({"model": lambda: Noisy(4, 3)}, "random numbers"),
        ({"model": hooked}, "hooks on Linear"),
        ({"forward": lambda model, batch: (model(batch[0]), batch[1])}, "forward function is your own"),
        ({"loss": lambda output, target: functional.cross_entropy(output, target)}, "loss is your own"),
        ({"optimizer": "rmsprop"}, "no formula"),
        ({"micro_batch": 2}, "split"),
        ({"precision": "float16"}, "float16 scales the loss"),
        ({"model": lambda: nn.Sequential(nn.AlphaDropout(0.2), nn.Linear(4, 3))}, "AlphaDropout"),
    ],
)
def test_what_cannot_be_compiled_stays_eager_and_says_why(make_tiered, compiled, settings, reason):
    settings = dict(settings)
    model = settings.pop("model", lambda: None)()
    run = make_tiered(model, **settings)
    pull(run, 20)
    assert run.training.tiers.steps == 0
    assert reason in run.training.tiers.reason
    assert not switches(run)


@only_compiled
def test_a_compiler_that_fails_is_tried_once(make_tiered, compiled, monkeypatch):
    tries = []

    def fail(self, chunk, example):
        tries.append(1)
        raise CannotCompile("no compiler here")

    monkeypatch.setattr(Build, "compile", fail)
    run = make_tiered()
    pull(run, 40)
    assert tries == [1]
    assert run.training.tiers.reason == "no compiler here"


@only_compiled
def test_a_short_run_never_compiles(make_tiered, compiled):
    run = make_tiered(tier="auto", epochs=5)
    run.fit()
    assert not compiled


@only_compiled
def test_auto_compiles_a_long_run_and_leaves_a_tier_that_is_no_faster(make_tiered, compiled, monkeypatch):
    monkeypatch.setattr("nbopt.training.step.mode._TRAINED_SECONDS", 0.0)
    monkeypatch.setattr("nbopt.training.step.mode._GAIN", 1e9)
    run = make_tiered(tier="auto")
    pull(run, 60)
    assert [steps for _step, _before, steps in switches(run)] == [compiled.steps, 0]
    assert "times as fast" in run.training.tiers.reason
    assert len(compiled) == 1


@only_compiled
def test_what_a_run_says_of_its_steps(make_tiered, compiled):
    run = make_tiered()
    assert run.tier == "eager steps"
    pull(run, 30)
    assert run.tier == "compiled"
    run.set(tier="eager")
    pull(run, 35)
    assert run.tier == "eager steps (as requested)"


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_compiler_computes_the_same_and_no_slider_wakes_it(make_tiered, monkeypatch, weights):
    """How it rounds numbers of 16 bits is looked at in `test_products.py`."""
    monkeypatch.setattr("nbopt.training.loss_buffer._FLUSH_SECONDS", -1.0)
    monkeypatch.setattr("nbopt.training.core._LOOK_SECONDS", -1.0)
    monkeypatch.setattr("nbopt.training.step.mode._WATCHED_SECONDS", 0.0)
    monkeypatch.setattr("nbopt.training.step.mode._fitting", lambda speed: 2)
    monkeypatch.setattr(BackgroundCompile, "start", BackgroundCompile.run)
    changes = [{}, *CHANGES, *MORE["sgd"]]
    run, eager = (make_tiered(optimizer="sgd", tier=tier) for tier in ("compiled", "eager"))
    builds, build = [], Build.compile
    monkeypatch.setattr(Build, "compile", lambda *arguments: builds.append(1) or build(*arguments))
    for number, change in enumerate(changes):
        for each in (run, eager):
            each.set(**change)
            pull(each, 15 * (number + 1))
        assert switches(run), run.tier
    assert len(builds) == len(switches(run)) == 1
    torch.testing.assert_close(weights(run), weights(eager), rtol=1e-4, atol=CLOSE["float32"])
    again = run.replay()
    again.wait(60)
    assert torch.equal(weights(again), weights(run))


def test_a_model_set_up_anew_after_compiling_goes_on_eagerly(make_tiered, compiled, weights):
    class Scaled(nn.Linear):
        scale = 1.0

        def forward(self, x):
            return super().forward(x) * self.scale

    model = Scaled(4, 3)
    model.scale = 2.0
    run = make_tiered(model)
    pull(run, 30)
    model.scale = 3.0
    pull(run, 60)
    assert [steps for _step, _before, steps in switches(run)] == [compiled.steps, 0]
    assert "scale of the model changed" in run.tier
    assert len(compiled) == 1
    again = run.replay()  # comes by the tier that was given up
    again.wait(60)
    assert again.step_count == run.step_count


def test_weights_put_elsewhere_are_the_ones_trained(make_tiered, compiled, weights):
    runs = []
    for tier in ("compiled", "eager"):
        run = make_tiered(tier=tier)
        pull(run, 30)
        for parameter in run.model.parameters():
            parameter.data = parameter.data.clone() / 2
        pull(run, 45)
        runs.append(run)
    assert switches(runs[0])
    torch.testing.assert_close(weights(runs[0]), weights(runs[1]), rtol=1e-4, atol=1e-5)


def test_epochs_shorter_than_the_time_between_two_looks_do_not_put_them_off(make_tiered, monkeypatch):
    now, looks = [0.0], []
    for module in ("core", "loss_buffer"):
        monkeypatch.setattr(f"nbopt.training.{module}.time", SimpleNamespace(perf_counter=lambda: now[0]))
    run = make_tiered(tier="eager", val=0.2)
    monkeypatch.setattr(run.training.tiers, "look", lambda: looks.append(now[0]))
    for event in run.events():
        now[0] += 0.002 * isinstance(event, Stepped)  # an epoch takes 0.024
        if now[0] > 1:
            break
    assert len(looks) >= 9


def test_updates_skipped_between_two_compiled_calls_are_counted(make_tiered, compiled, weights):
    """As float16 skips them: Adam's bias correction follows updates, not steps."""
    runs = []
    for tier in ("compiled", "eager"):
        run = make_tiered(tier=tier)
        pull(run, 30)
        run.set(tier="eager", precision="bfloat16")
        pull(run, 35)
        for state in run.training.torch_optimizer.state.values():
            state["step"] -= 20
        run.set(tier=tier, precision="float32")
        pull(run, 60)
        runs.append(run)
    assert [steps for _step, _before, steps in switches(runs[0])] == [compiled.steps, 0, compiled.steps]
    torch.testing.assert_close(weights(runs[0]), weights(runs[1]), rtol=1e-4, atol=1e-5)


@only_compiled
def test_a_tier_is_judged_by_all_its_steps_and_not_by_a_pause_or_a_first_one(make_tiered, compiled, monkeypatch):
    """The speed shown starts anew at each resume, from one call; a tier was given up by that."""
    monkeypatch.setattr("nbopt.training.step.mode._TRAINED_SECONDS", 0.0)
    monkeypatch.setattr("nbopt.training.step.mode._GAIN", 0.0)
    run = make_tiered(tier="auto")
    pull(run, 30)
    tiers = run.training.tiers
    assert tiers.steps == compiled.steps
    monkeypatch.setattr("nbopt.training.step.mode._WATCHED_SECONDS", 1e9)
    monkeypatch.setattr("nbopt.training.step.mode._GAIN", 1e9)
    for _pause in range(5):
        run.training.meter.tick(running=False)
        run.training.meter.tick(running=True)
        pull(run, run.step_count + 8)
    assert tiers.steps == compiled.steps
