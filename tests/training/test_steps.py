"""Steps as the unit: a run's length, its schedules and its validations, on streams without an end too."""

import itertools
import math

import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader

from nbopt import Run
from nbopt.training.state import Validated
from tests.training.streams import SIZE, Endless, endless, same


class Counted(Endless):
    """The same, ended after 60 samples without telling so."""

    def __iter__(self):
        return itertools.islice(super().__iter__(), 60)


def pulled(run):
    for _event in run.events():
        pass
    return run


def rates(run):
    return run.history["lr"][1].tolist()


def plain(model, factor, steps, lr=0.1):
    """Train as a loop of one's own does, with torch's LambdaLR stepped after each step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    for x, y in itertools.islice(endless(), steps):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        scheduler.step()
    return model


FACTORS = {
    "linear": ({"schedule": "linear"}, lambda step: 1 - step / 40),
    "cosine": ({"schedule": "cosine"}, lambda step: (1 + math.cos(math.pi * step / 40)) / 2),
    "warm-up": ({"warmup_steps": 10}, lambda step: 0.01 + 0.99 * min(1.0, step / 10)),
    "both": (
        {"schedule": "linear", "warmup_steps": 10},
        lambda step: (0.01 + 0.99 * min(1.0, step / 10)) * (1 - step / 40),
    ),
}


@pytest.mark.parametrize("name", FACTORS)
def test_on_a_stream_without_an_end_the_weights_are_those_of_a_plain_loop(mlp, name):
    settings, factor = FACTORS[name]
    run = pulled(Run(mlp(), endless(), optimizer="sgd", lr=0.1, steps=40, store=None, **settings))
    assert run.end_reason or run.step_count == 40
    assert rates(run) == pytest.approx([0.1 * factor(step) for step in range(40)], rel=1e-12)
    right = plain(mlp(), factor, 40)
    if name in ("linear", "cosine", "warm-up"):  # a product of three has two orders
        assert same(run.model, right)
    for ours, theirs in zip(run.model.parameters(), right.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_one_cycle_goes_up_and_far_down_on_a_stream_without_an_end(mlp):
    found = rates(pulled(Run(mlp(), endless(), schedule="one_cycle", pct_start=0.25, lr=0.1, steps=40, store=None)))
    assert found.index(max(found)) == 10
    assert max(found) == pytest.approx(0.1)
    assert found[0] == pytest.approx(0.004)
    assert found[-1] < 0.001


def test_a_run_in_steps_ends_there_whatever_its_epochs(mlp, blobs):
    with pytest.warns(UserWarning, match="epochs: no effect while steps is 10"):
        run = Run(mlp(), blobs, blobs, batch_size=SIZE, epochs=2, steps=10, store=None).fit()
    assert (run.step_count, run.epoch, run.end_reason) == (10, 3, "all 10 steps done")
    assert run.history["val_loss"][0].tolist() == [3, 6, 9, 10]
    assert run.share == 1.0
    with pytest.raises(RuntimeError, match=r"all 10 steps done\). Set steps higher to go on"):
        run.resume()
    run.set(steps=12)
    run.fit()
    assert run.step_count == 12
    run.set(steps=0, epochs=5)
    run.fit()
    assert (run.step_count, run.end_reason) == (15, "all 5 epochs done")


def test_progress_and_time_left_are_counted_in_steps(mlp, capsys):
    run = Run(mlp(), endless(), steps=40, store=None)
    assert "epoch 0, step 0/40" in repr(run)
    run.step(10)
    assert run.share == 0.25
    assert run.seconds_left == pytest.approx(3 * run.history.last("_time"))
    run.fit()
    assert "epoch 0 step 40/40" in capsys.readouterr().err


def test_early_stopping_ends_a_stream_without_an_end(mlp, blobs):
    run = Run(mlp(), endless(), blobs, steps=10_000, validate_every=5, patience=2, min_delta=1e6, store=None).fit()
    assert run.history["val_loss"][0].tolist() == [5, 10, 15]
    assert run.end_reason.startswith("stopped early")
    assert run.step_count == 15


def test_validations_stand_where_they_are_asked_for(mlp, blobs):
    run = Run(mlp(), blobs, blobs, metrics="accuracy", batch_size=SIZE, epochs=4, validate_every=5, store=None)
    events = [event.step for event in run.events() if isinstance(event, Validated)]
    assert events == [5, 10, 12]
    for name in ("val_loss", "val_accuracy", "accuracy"):
        assert run.history[name][0].tolist() == events
    at, epochs = run.history["_epoch"]
    assert dict(zip(at.tolist(), epochs.tolist(), strict=True))[5] == pytest.approx(5 / 3)


def test_the_interval_is_live_and_a_replay_follows(mlp, blobs, weights):
    run = Run(mlp(0.2), blobs, blobs, batch_size=SIZE, epochs=6, validate_every=4, schedule="plateau", store=None)
    run.set(plateau_patience=0, lr=0.5)
    run.step(6)
    run.set(validate_every=2)
    run.step(4)
    run.set(validate_every=0)
    run.fit()
    steps = run.history["val_loss"][0].tolist()
    assert steps == [4, 8, 10, 12, 15, 18]
    assert len(set(rates(run))) > 1
    twin = run.replay()
    twin.wait()
    branch = run.branch(at=7)
    branch.set(validate_every=2)
    branch.step(3)
    branch.set(validate_every=0)
    branch.fit()
    run.rewind(9)
    run.set(validate_every=2)
    run.step(1)
    run.set(validate_every=0)
    run.fit()
    for other in (twin, branch, run):
        assert torch.equal(weights(other), weights(twin))
        assert other.history["val_loss"][0].tolist() == steps
        assert other.history["val_loss"][1].tolist() == twin.history["val_loss"][1].tolist()


def test_the_end_of_an_epoch_by_a_change_is_not_validated_twice(mlp, blobs):
    x, y = (tensor[:50] for tensor in blobs)
    loader = DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=10, drop_last=True)
    run = Run(mlp(), loader, blobs, epochs=2, validate_every=2, store=None)
    run.step(4)
    run.set(batch_size=20)  # which drops the ten that are left
    run.fit()
    assert run.history["val_loss"][0].tolist() == [2, 4, 6]


def test_a_compiled_call_stops_for_a_validation(make_tiered, blobs, compiled):
    settings = {"val": blobs, "epochs": 4, "validate_every": 7, "metrics": "accuracy"}
    run = pulled(make_tiered(**settings))
    assert any(entry.name == "switch" and entry.new["steps"] == compiled.steps for entry in run.journal)
    eager = pulled(make_tiered(tier="eager", **settings))
    for name in ("val_loss", "accuracy"):
        assert run.history[name][0].tolist() == eager.history[name][0].tolist() == [*range(7, 60, 7), 60]
        assert run.history[name][1] == pytest.approx(eager.history[name][1], rel=1e-3)


def test_words_say_where_the_rate_stands_still(mlp):
    loader = DataLoader(Counted(), batch_size=SIZE)
    with pytest.warns(UserWarning, match="warmup, schedule: the stream has no length.*steps=.*warmup_steps="):
        run = pulled(Run(mlp(), loader, schedule="cosine", warmup=0.5, epochs=2, store=None))
    assert run.step_count == 6
    assert [entry.new for entry in run.journal if entry.name == "note"] != []


@pytest.mark.filterwarnings("error::UserWarning")
def test_where_the_rate_moves_nothing_is_said(mlp, blobs):
    pulled(Run(mlp(), endless(), schedule="cosine", warmup_steps=5, steps=9, store=None))
    pulled(Run(mlp(), blobs, schedule="cosine", warmup=0.5, epochs=2, batch_size=SIZE, store=None))


def test_rates_are_tried_beyond_the_run_s_length(mlp, blobs):
    run = Run(mlp(), endless(), blobs, optimizer="sgd", steps=12, warmup_steps=9, validate_every=2, store=None)
    run.step(10)
    sweep = run.find_lr(1e-4, 1e-2, 20)
    assert len(sweep.rates) == 20
    assert run.step_count == 10
