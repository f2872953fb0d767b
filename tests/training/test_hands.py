"""What the user's hand changes in a pause: it acts as in a plain loop and is told of, or it is refused in words."""

import copy
import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune
from torch.utils.data import DataLoader, TensorDataset

from tests.training.tiered import pull

BATCH = 10


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.0), nn.Linear(8, 3))


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


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def reasons(run):
    return [entry.new["reason"] for entry in run.journal if entry.name == "tuning"]


def set_group(**settings):
    return lambda model, optimizer: optimizer.param_groups[0].update(settings)


@torch.no_grad()
def scale(model, optimizer):
    model[3].weight.mul_(-1)


def load(model, optimizer):
    model[3].load_state_dict(nn.Linear(8, 3).state_dict())
    nn.init.constant_(model[3].weight, 0.1)
    nn.init.zeros_(model[3].bias)


TOLD = {
    "in place": (scale, r"3\.weight"),
    "data": (lambda model, optimizer: model[0].bias.data.fill_(0.5), r"0\.bias"),
    "another tensor": (lambda model, optimizer: setattr(model[0].bias, "data", torch.ones(8)), r"0\.bias"),
    "loaded": (load, r"3\.weight, 3\.bias"),
    "rate": (set_group(lr=0.01), "optimizer, changed by hand: lr"),
    "decay": (set_group(weight_decay=0.1), "weight_decay"),
    "maximize": (set_group(maximize=True), "maximize"),
    "dampening": (set_group(dampening=0.5), "dampening"),
}

MADE = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
    "adam": lambda model: torch.optim.Adam(model.parameters(), lr=0.1, fused=True),
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


class Head(nn.Linear):
    def __init__(self):
        super().__init__(8, 3)


EXCHANGED = {
    "head": (lambda model: setattr(model, "3", Head()), r"new: 3\.weight, 3\.bias"),
    "weight": (lambda model: setattr(model[0], "bias", nn.Parameter(torch.zeros(8))), r"new: 0\.bias"),
    "layer of weights more": (lambda model: model.append(nn.Linear(3, 3)), r"new: 4\.weight, 4\.bias"),
    "layer less": (lambda model: model.__delitem__(3), r"gone: 3\.weight, 3\.bias"),
    "pruned": (lambda model: prune.l1_unstructured(model[0], "weight", amount=0.5), r"new: 0\.weight_orig; gone: 0\.w"),
}


@pytest.mark.parametrize("name", EXCHANGED)
@pytest.mark.parametrize("given", ["sgd", "instance"])
def test_weights_exchanged_in_a_pause_are_refused_and_once_put_back_the_run_goes_on(make_run, blobs, given, name):
    change, words = EXCHANGED[name]
    model = net()
    optimizer = "sgd" if given == "sgd" else torch.optim.Adam(model.parameters())
    run = make_run(model, blobs, optimizer=optimizer, epochs=99)
    run.step(3)
    modules, biases = dict(model._modules), dict(model[0]._parameters)
    hooks = dict(model[0]._forward_pre_hooks)
    change(model)
    for go_on in (run.resume, lambda: run.rewind(1), lambda: run.branch(1), run.replay, run.find_lr):
        with pytest.raises(ValueError, match=words):
            go_on()
    model._modules, model[0]._parameters = modules, biases
    model[0]._forward_pre_hooks.clear()
    model[0]._forward_pre_hooks.update(hooks)
    model[0]._buffers.clear()
    vars(model[0]).pop("weight", None)
    run.step(1)
    assert run.step_count == 4
    twin = run.replay()
    twin.wait()
    assert same(twin.model, model)


CHANGED = {
    "weights": scale,
    "rate": set_group(lr=0.01),
    "maximize": set_group(maximize=True),
    "memory": lambda model, optimizer: optimizer.state.clear(),
    "part of the memory": lambda model, optimizer: optimizer.state.pop(model[3].weight),
}


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("name", CHANGED)
def test_compiled_steps_follow_what_is_changed_by_hand_in_a_pause(make_tiered, compiled, kind, name):
    models, stops = [], [40, 60]
    for tier in ("compiled", "eager"):
        model = net()
        settings = {"momentum": 0.9} if kind == "sgd" else {}
        run = make_tiered(model, optimizer=kind, lr=0.02, tier=tier, **settings)
        pull(run, stops[0])
        assert bool(run.training.tiers.steps) == (tier == "compiled")
        first = run.step_count
        run.training.hands.leave()
        CHANGED[name](model, run.optimizer)
        pull(run, stops[1])
        models.append(model)
        stops = [first, run.step_count]
    for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", MADE)
def test_weights_thawed_later_than_others_are_stepped_by_their_own_count(make_tiered, compiled, kind):
    models, stops = [], [30, 45, 90]
    for tier in ("compiled", "eager"):
        model = net()
        run = make_tiered(model, optimizer=kind, lr=0.02, tier=tier)
        for number, frozen in enumerate((False, True, False)):
            model[0].requires_grad_(not frozen)
            pull(run, stops[number])
            stops[number] = run.step_count
        models.append(model)
    for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("kind", MADE)
def test_parameter_groups_added_or_taken_away_in_a_pause_are_refused(make_run, blobs, kind, swapped):
    model = net()
    optimizer = type(MADE[kind](model))([{"params": model[3].parameters()}, {"params": [model[0].weight]}], lr=0.1)
    run = make_run(model, blobs, optimizer=optimizer, epochs=99)
    run.step(3)
    if swapped:
        run.set(optimizer="adagrad")
        run.step(1)
    groups = list(optimizer.param_groups)
    for change in (lambda: optimizer.add_param_group({"params": [model[0].bias]}), optimizer.param_groups.pop):
        change()
        for go_on in (run.resume, lambda: run.rewind(1), lambda: run.branch(1), run.replay, run.find_lr):
            with pytest.raises(ValueError, match=r"groups hold other weights \(2 \+ 1, now 2( \+ 1 \+ 1)?\)"):
                go_on()
        optimizer.param_groups[:] = groups
    run.step(1)
    run.set(lr=0.05)
    run.step(1)


def test_weights_exchanged_while_it_trains_end_the_run_in_words(make_run, blobs):
    run = make_run(net(), blobs, optimizer="sgd", epochs=10**6, store=None)
    run.start()
    run.model[3] = nn.Linear(8, 3)
    with pytest.raises(ValueError, match="not those that this run began with"):
        run.wait(20)


def test_modules_without_weights_may_be_exchanged_and_have_their_modes(make_run, blobs):
    model = net()
    run = make_run(model, blobs, val=blobs, optimizer="sgd", epochs=99)
    run.step(1)
    model[2] = nn.Dropout(0.5)
    run.step(4)  # with a validation
    assert model[2].training


def test_a_copy_of_a_model_is_not_the_model_that_was_changed(make_run, blobs):
    run = make_run(net(), blobs, optimizer="sgd", epochs=99)
    run.step(2)
    other = copy.deepcopy(run.model)
    scale(other, None)
    run.step(1)
    assert reasons(run) == []
