"""Weights, groups and modules exchanged by hand: refused until they are put back, or taken as they are."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from tests.training.by_hand import MADE, net, same, scale, set_group
from tests.training.tiered import pull


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


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.width = nn.Linear(4, 3)

    def forward(self, x):
        return self.width(x)


FACTORS = {"mse": 1.0}


def total(output, target):
    return sum(FACTORS["mse"] * output.square().mean() for _time in (1,))


def test_a_variable_that_is_called_as_a_part_of_the_model_is_none_of_it(make_run, blobs, monkeypatch):
    """And one that an expression within a function reads is."""
    monkeypatch.setitem(globals(), "width", 1)
    run = make_run(Named(), blobs, loss=total, epochs=99)
    run.step(2)
    monkeypatch.setitem(globals(), "width", 2)
    run.branch(2)
    run.step()
    assert [entry for entry in run.journal if entry.name == "tuning"] == []
    monkeypatch.setitem(FACTORS, "mse", 3.0)
    run.step()
    assert len([entry for entry in run.journal if entry.name == "tuning"]) == 1
