"""What the user's hand changes in a pause: it acts as in a plain loop and is told of, or it is refused in words."""

import copy
import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from tests.training.by_hand import MADE, net, same, scale, set_group

BATCH = 10


def in_order(data):
    return DataLoader(TensorDataset(*data), batch_size=BATCH)


def by_hand(make, data, change, at, steps):
    """Train in a plain loop; ``change`` gets model and optimizer ahead of step number ``at``."""
    model = net()
    optimizer = make(model)
    x, y = data
    for step in range(steps):
        if step == at:
            change(model, optimizer)
        start = step * BATCH % len(x)
        optimizer.zero_grad()
        functional.cross_entropy(model(x[start : start + BATCH]), y[start : start + BATCH]).backward()
        optimizer.step()
    return model


def reasons(run):
    return [entry.new["reason"] for entry in run.journal if entry.name == "tuning"]


def load(model, optimizer):
    model[3].load_state_dict(nn.Linear(8, 3).state_dict())
    nn.init.constant_(model[3].weight, 0.1)
    nn.init.zeros_(model[3].bias)


TOLD = {
    "in place": (scale, r"3\.weight"),
    "data": (lambda model, optimizer: model[0].bias.data.fill_(0.5), r"0\.bias"),
    "another tensor": (lambda model, optimizer: setattr(model[0].bias, "data", torch.ones(8)), r"0\.bias"),
    "loaded": (load, r"3\.weight, 3\.bias"),
    "maximize": (set_group(maximize=True), "maximize"),
    "dampening": (set_group(dampening=0.5), "dampening"),
}


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("name", TOLD)
def test_what_is_changed_by_hand_in_a_pause_acts_as_in_a_plain_loop_and_is_told(make_run, blobs, kind, name):
    change, words = TOLD[name]
    if kind == "adam" and name == "dampening":
        pytest.skip("Adam has none")
    right = by_hand(MADE[kind], blobs, change, 3, 8)
    model = net()
    run = make_run(model, in_order(blobs), optimizer=MADE[kind](model), epochs=99)
    run.step(3)
    assert reasons(run) == []
    change(model, run.optimizer)
    run.step(5)
    assert same(model, right)
    (reason,) = reasons(run)
    assert "by hand" in reason
    assert re.search(words, reason)
    run.rewind(5)
    run.step(3)
    assert same(model, right)
    twin = run.branch(4)
    twin.step(4)
    assert same(twin.model, right)
    with pytest.raises(ValueError, match="in step 3 the model itself was changed by hand"):
        run.to_python()


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize(("name", "value"), [("lr", 0.01), ("weight_decay", 0.1)])
def test_a_setting_that_a_control_shows_is_a_change_where_the_hand_makes_it(make_run, blobs, kind, name, value):
    change = set_group(**{name: value})
    right = by_hand(MADE[kind], blobs, change, 3, 8)
    model = net()
    run = make_run(model, in_order(blobs), optimizer=MADE[kind](model), epochs=99)
    run.step(3)
    change(model, run.optimizer)
    with pytest.raises(RuntimeError, match=f"settings of the optimizer: {name}"):
        run.branch(3)
    run.step(5)
    assert same(model, right) and run.hyperparams[name] == value and reasons(run) == []
    assert [(entry.step, entry.name, entry.new) for entry in run.journal.changes()] == [(3, name, value)]
    twin = run.replay()
    twin.wait()
    assert same(twin.model, right) and twin.exact and name in twin.to_python()
    run.rewind(2)
    assert run.hyperparams[name] != value


def test_a_rate_set_by_hand_gives_way_to_one_that_is_set_after_it(make_run, blobs):
    run = make_run(net(), blobs, optimizer="sgd", lr=0.1, epochs=99)
    run.step(2)
    run.optimizer.param_groups[0]["lr"] = 0.01
    run.set(lr=0.1)
    run.step(1)
    assert run.hyperparams["lr"] == run.optimizer.param_groups[0]["lr"] == 0.1
    assert [entry.new for entry in run.journal.changes()] == [0.01, 0.1]


def test_rates_of_groups_set_by_hand_are_a_change_where_they_keep_their_proportion(make_run, blobs):
    def made():
        model = net()
        layers = [{"params": model[0].parameters(), "lr": 0.5}, {"params": model[3].parameters(), "lr": 0.25}]
        run = make_run(model, blobs, optimizer=torch.optim.SGD(layers), epochs=99)
        run.step(2)
        return run

    run = made()
    for group in run.optimizer.param_groups:
        group["lr"] *= 0.5
    run.step(1)
    assert run.hyperparams["lr"] == 0.25 and reasons(run) == []
    run = made()
    run.optimizer.param_groups[1]["lr"] = 0.125
    run.step(1)
    assert run.hyperparams["lr"] == 0.5 and "optimizer, changed by hand: lr" in reasons(run)[0]


def test_what_an_optimizer_remembers_may_be_cleared_by_hand(make_run, blobs):
    right = by_hand(MADE["sgd"], blobs, lambda model, optimizer: optimizer.state.clear(), 3, 8)
    model = net()
    run = make_run(model, in_order(blobs), optimizer=MADE["sgd"](model), epochs=99)
    run.step(3)
    run.optimizer.state.clear()
    run.step(5)
    assert same(model, right)


def test_changes_asked_for_validations_and_looks_are_not_the_hand_s(make_run, blobs):
    run = make_run(net(), blobs, val=blobs, optimizer="adam", epochs=9, batch_size=30, dropout=0.1)
    for change in ({"lr": 0.1}, {"dropout": 0.3}, {"optimizer": "sgd", "momentum": 0.5}, {"batch_size": 20}):
        run.step(2)
        run.set(**change)
    run.rewind(3)
    run.model.eval()
    with torch.no_grad():
        run.model(blobs[0])
    run.predict(blobs[0])
    run.fit()
    twin = run.branch(2)
    twin.step(3)
    assert reasons(run) == reasons(twin) == []


def test_steps_of_whoever_pulls_events_are_not_the_hand_s(make_run, blobs):
    run = make_run(net(), blobs, optimizer="adam", epochs=9)
    run.step(2)
    events = run.events()
    for lr in (0.1, 0.2):
        run.set(lr=lr)
        next(events)
    run.step(1)
    assert reasons(run) == []


def test_a_rate_set_by_hand_beside_a_schedule_is_told_that_it_does_not_last(make_run, blobs):
    run = make_run(net(), blobs, optimizer="sgd", schedule="cosine", epochs=99)
    run.step(2)
    run.optimizer.param_groups[0]["lr"] = 1.0
    run.step(1)
    assert "the schedule goes on" in reasons(run)[0]


def test_a_change_by_hand_ahead_of_another_one_is_told_too(make_run, blobs):
    run = make_run(net(), blobs, epochs=99)
    run.step(2)
    scale(run.model, None)
    run.set(lr=0.01)
    for copy_it in (lambda: run.branch(2), run.find_lr):
        with pytest.raises(RuntimeError, match=r"put in by hand: 3\.weight"):
            copy_it()
    with pytest.warns(UserWarning, match=r"put in by hand: 3\.weight.*its replay ends before that"):
        replay = run.replay()
    replay.wait()
    assert replay.exact
    assert replay.step_count == 2
    run.step(1)
    assert "3.weight" in reasons(run)[0]


def test_the_guard_does_not_undo_weights_put_in_by_hand(make_run, blobs):
    def enlarge(model, optimizer):
        with torch.no_grad():
            model[3].weight.mul_(-1e5)

    right = by_hand(MADE["sgd"], blobs, enlarge, 20, 30)
    model = net()
    run = make_run(model, in_order(blobs), optimizer=MADE["sgd"](model), epochs=99)
    run.step(20)
    enlarge(model, None)
    run.step(10)
    assert [entry for entry in run.journal if entry.source == "guard"] == []
    assert same(model, right)


FACTOR, FACTORS, RECORD = 1.0, {"mse": 1.0}, SimpleNamespace(factor=1.0)


class Weighted(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = 1.0

    def forward(self, output, target):
        return self.factor * functional.cross_entropy(output, target)


class Scaled:
    factor = 1.0

    def __call__(self, output, target):
        return self.factor * functional.cross_entropy(output, target)


def closing():
    factor = 1.0

    def loss(output, target):
        return factor * functional.cross_entropy(output, target)

    loss.cell = loss.__closure__[0]
    return loss


LARGER = {
    "global": (
        lambda: lambda output, target: FACTOR * functional.cross_entropy(output, target),
        lambda loss, patch: patch.setitem(globals(), "FACTOR", 1e5),
    ),
    "dict": (
        lambda: lambda output, target: FACTORS["mse"] * functional.cross_entropy(output, target),
        lambda loss, patch: patch.setitem(FACTORS, "mse", 1e5),
    ),
    "record": (
        lambda: lambda output, target: RECORD.factor * functional.cross_entropy(output, target),
        lambda loss, patch: patch.setattr(RECORD, "factor", 1e5),
    ),
    "module": (Weighted, lambda loss, patch: patch.setattr(loss, "factor", 1e5)),
    "class": (Scaled, lambda loss, patch: patch.setattr(Scaled, "factor", 1e5)),
    "closure": (closing, lambda loss, patch: patch.setattr(loss.cell, "cell_contents", 1e5)),
}


@pytest.mark.parametrize("name", LARGER)
def test_a_factor_of_a_loss_of_one_s_own_raised_by_hand_is_told_and_no_divergence(make_run, blobs, monkeypatch, name):
    make, change = LARGER[name]
    weights = []
    for way in ("loop", "run"):
        with monkeypatch.context() as patch:
            model, loss = net(), make()
            optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
            if way == "run":
                run = make_run(model, in_order(blobs), loss=loss, optimizer=optimizer, epochs=99)
                run.step(5)
                change(loss, patch)
                run.step(7)
            else:
                for step in range(12):
                    if step == 5:
                        change(loss, patch)
                    x, y = (column[step * BATCH % 60 :][:BATCH] for column in blobs)
                    optimizer.zero_grad()
                    loss(model(x), y).backward()
                    optimizer.step()
        weights.append(model)
    assert same(*weights)
    assert [entry for entry in run.journal if entry.source == "guard"] == []
    assert "loss or forward read, changed by hand" in reasons(run)[0]


def test_a_copy_of_a_model_is_not_the_model_that_was_changed(make_run, blobs):
    run = make_run(net(), blobs, optimizer="sgd", epochs=99)
    run.step(2)
    other = copy.deepcopy(run.model)
    scale(other, None)
    run.step(1)
    assert reasons(run) == []
