"""What a retreat of the guard leaves of the changes made beside a divergence."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbopt import RunState
from nbopt.training.state import Stepped
from tests.training.guarded import guarded, kept, line

SECONDS = 60
CHANGES = {"dropout": 0.5, "batch_size": 16, "epochs": 77, "weight_decay": 0.001, "weight_mse": 3.0}


@pytest.mark.parametrize("at_once", [True, False])
def test_changes_beside_a_divergence_are_made_again_and_a_replay_repeats_it_all(make_run, numbers, weights, at_once):
    def make():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1), nn.Linear(8, 1))

    run = make_run(make(), numbers, loss=[(1.0, "mse")], optimizer="adamw", batch_size=32, epochs=10, lr=1e-3)
    run.step(5)
    if at_once:
        run.set(lr=1e6, **CHANGES)
    else:
        events = run.events()
        run.set(lr=1e6)
        next(events)  # a step with that rate: the losses after it are not usual
        run.set(**CHANGES)
    run.step(30)
    assert kept(run, *CHANGES, "lr") == {**CHANGES, "lr": 5e-4}
    assert {name for _step, name in guarded(run)} == {"diverged", "rewind", "lr", *CHANGES}
    assert {entry.step for entry in run.journal.effective() if entry.kind == "change"} == {5}
    again = run.replay()
    again.wait(SECONDS)
    assert torch.equal(weights(run), weights(again))
    script, twin = {}, make()
    exec(run.to_python(), script)
    script["train"](twin, numbers)
    assert all(torch.equal(a, b) for a, b in zip(run.model.parameters(), twin.parameters(), strict=True))


def test_data_that_are_no_numbers_end_a_run_done_in_single_steps_and_the_rate_is_put_back(make_run, blobs):
    x, y = blobs
    run = make_run(train=(torch.where(x > 5, torch.nan, x), y), batch_size=60, epochs=100, lr=0.01)
    with pytest.raises(FloatingPointError, match="impute"):
        for _try in range(30):
            run.step(1)
    assert (run.state, run.hyperparams["lr"]) == (RunState.FAILED, 0.01)
    assert len(run.journal) < 100
    run.set(impute="mean", lr=0.02)
    run.step(5)
    assert kept(run, "impute", "lr") == {"impute": "mean", "lr": 0.02}
    assert run.step_count == 5 and torch.tensor(run.history["loss"][1]).isfinite().all()
    again = run.replay()
    again.wait(SECONDS)
    assert all(torch.equal(a, b) for a, b in zip(run.model.parameters(), again.model.parameters(), strict=True))


def test_each_try_that_does_not_help_halves_the_rate_once_more(make_run, blobs):
    x, y = blobs
    run = make_run(train=(x * torch.nan, y), epochs=3, lr=0.01)
    with pytest.raises(FloatingPointError):
        run.fit()
    rates = [entry.new for entry in run.journal if (entry.kind, entry.name) == ("change", "lr")]
    assert rates == pytest.approx([0.01 * 0.5**tried for tried in range(1, 13)])
    assert run.hyperparams["lr"] == 0.01


def test_a_rate_is_not_cut_without_end_where_each_retreat_gets_a_little_further(make_run, blobs):
    calls = []

    def loss(output, target):
        calls.append(1)
        return functional.cross_entropy(output, target) / (0.0 if len(calls) % 7 == 0 else 1.0)

    run = make_run(loss=loss, batch_size=20, epochs=1000, lr=0.01)
    with pytest.raises(FloatingPointError):
        for _try in range(400):
            run.step(1)
    assert run.hyperparams["lr"] == 0.01


@pytest.mark.filterwarnings("ignore:loss .*usual loss before")
def test_a_loss_that_is_another_function_from_a_step_on_is_no_divergence(make_run, numbers):
    factor = [1.0]

    def loss(output, target):
        return factor[0] * functional.mse_loss(output[:, 0], target)

    def go(run, steps):
        for event in run.events():
            run.training.flush()
            if isinstance(event, Stepped) and event.step >= steps:
                return run

    settings = {"loss": loss, "optimizer": "sgd", "batch_size": 32, "epochs": 100, "lr": 1e-9}
    run = go(make_run(line(), numbers, **settings), 20)
    factor[0] = 1e6  # as a thread may, or another cell, in the middle of training
    go(run, 40)
    assert run.hyperparams["lr"] == 1e-9
    assert [name for _step, name in guarded(run)].count("diverged") == 1
    assert "usual from here on" in next(entry.new for entry in run.journal if entry.name == "note")
    back_to = [entry.new for entry in run.journal if entry.name == "rewind"][-1]
    factor[0] = 1.0
    again = go(make_run(line(), numbers, recover=False, **settings), back_to - 1)
    factor[0] = 1e6
    assert torch.equal(run.model.weight, go(again, 40).model.weight)


def test_a_change_asked_for_while_a_divergence_waits_to_be_put_right_acts_at_once_and_stays(make_run, numbers):
    run = make_run(line(), numbers, loss="mse", batch_size=32, epochs=100, lr=1e-3)
    run.step(5)
    run.set(lr=1e6)
    events = run.events()
    while run.training.trouble is None:
        next(events)
        run.training.flush()
    run.set(epochs=77, weight_decay=0.1)
    assert kept(run, "epochs", "weight_decay") == {"epochs": 77, "weight_decay": 0.1}
    next(events)
    assert kept(run, "epochs", "weight_decay", "lr") == {"epochs": 77, "weight_decay": 0.1, "lr": 5e-4}


def test_a_run_that_failed_takes_changes_and_goes_on(make_run, blobs):
    broken = [True]

    def loss(output, target):
        if broken[0]:
            raise OSError("no more")
        return functional.cross_entropy(output, target)

    run = make_run(loss=loss, batch_size=20, epochs=3)
    with pytest.raises(OSError, match="no more"):
        run.step(1)
    run.set(lr=0.5, batch_size=30, epochs=2)
    broken[0] = False
    run.resume()
    assert run.wait(SECONDS) is RunState.FINISHED
    assert kept(run, "lr", "batch_size") == {"lr": 0.5, "batch_size": 30}
    assert run.step_count == 4


# -- dropout given ahead of the start


@pytest.mark.parametrize("layer", [nn.Dropout, nn.AlphaDropout])
@pytest.mark.parametrize("rates", [(0.1, 0.1), (0.1, 0.4)])
def test_a_run_back_at_its_beginning_has_the_dropout_of_a_fresh_one(make_run, blobs, weights, layer, rates):
    def make():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 24), layer(rates[0]), nn.ReLU(), layer(rates[1]), nn.Linear(24, 3))
        return make_run(model, epochs=1000)

    fresh, run = make(), make()
    fresh.step(6)
    run.set(dropout=0.72)
    run.step(4)
    run.rewind(0)
    assert (run.hyperparams["dropout"], [run.model[1].p, run.model[3].p]) == (max(rates), list(rates))
    run.step(6)
    assert torch.equal(weights(fresh), weights(run))
    run.set(dropout=max(rates))
    run.step(1)
    assert [run.model[1].p, run.model[3].p] == [max(rates)] * 2


def test_a_dropout_given_to_the_run_is_its_beginning(make_run, mlp):
    run = make_run(mlp(0.1), dropout=0.3)
    run.set(dropout=0.72)
    run.step(2)
    run.rewind(0)
    assert (run.hyperparams["dropout"], run.model[2].p) == (0.3, 0.3)
