"""Modes of modules: those that the user put into evaluation mode stay so, and a look leaves the training alone."""

import copy
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbopt
from tests.export.scripts import execute
from tests.training.tiered import pull, switches

BATCH = 10


def normed(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inner = nn.Sequential(nn.BatchNorm1d(8))
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), inner, nn.Linear(8, 3))


def in_order(data):
    return DataLoader(TensorDataset(*data), batch_size=BATCH)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def by_hand(model, data, steps, still):
    """Train in a plain loop; ``still`` says which modules are in evaluation mode from a step on."""
    model = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(steps):
        if step in still:
            hold(model, still[step])
        at = step * BATCH % len(data[0])
        optimizer.zero_grad()
        functional.cross_entropy(model(data[0][at : at + BATCH]), data[1][at : at + BATCH]).backward()
        optimizer.step()
    return model


def hold(model, still):
    for number in (1, 3):
        model[number].train(number not in still)


@pytest.mark.parametrize("val", [False, True])
def test_modules_in_evaluation_mode_stay_so_through_validations(make_run, blobs, val, tmp_path):
    model, still = normed(), {0: [1], 8: [3], 14: [1, 3]}
    hold(model, still[0])
    right = by_hand(model, blobs, 18, still)
    settings = {"val": in_order(blobs)} if val else {}
    run = make_run(model, in_order(blobs), optimizer="sgd", lr=0.1, epochs=99, store=tmp_path, **settings)
    for step in range(18):
        if step in still:
            hold(model, still[step])
        run.step(1)
    assert same(model, right)
    told = [entry.new["reason"] for entry in run.journal if entry.name == "tuning"]
    assert told == [
        "in evaluation mode from here on: 3; in training mode from here on: 1",
        "in evaluation mode from here on: 1",
    ]
    twin, branch = run.replay(), run.branch(10)
    twin.wait()
    assert [module.training for module in branch.model] == [True, True, True, False, True]
    for step in range(10, 18):
        hold(branch.model, still.get(step, [3] if step < 14 else [1, 3]))
        branch.step(1)
    assert same(twin.model, right) and same(branch.model, right)
    run.stop()
    given = normed()
    again = nbopt.open(run.id, given, in_order(blobs), in_order(blobs) if val else None, store=tmp_path)
    assert same(given, right)
    assert [module.training for module in given] == [True, False, True, False, True]
    again.step(1)


def test_a_model_that_comes_in_evaluation_mode_is_trained(make_run, blobs):
    model = normed().eval()
    right = by_hand(normed(), blobs, 4, {})
    make_run(model, in_order(blobs), optimizer="sgd", lr=0.1, epochs=99).step(4)
    assert same(model, right)


def test_a_model_of_which_only_the_head_is_in_training_mode_stays_so(make_run, blobs):
    model = normed().eval()
    model[3].train()
    right = by_hand(model, blobs, 9, {})
    run = make_run(model, in_order(blobs), val=in_order(blobs), optimizer="sgd", lr=0.1, epochs=99)
    run.step(9)
    assert same(model, right)
    assert (model.training, model[1].training, model[3][0].training) == (False, False, True)


def test_what_train_leaves_in_evaluation_mode_stays_so_from_the_first_step_on(make_run, blobs):
    class Frozen(nn.Sequential):
        def train(self, mode=True):
            super().train(mode)
            self[1].eval()
            return self

    model = Frozen(*normed())
    right = by_hand(copy.deepcopy(model).train(), blobs, 4, {})
    given = copy.deepcopy(model).eval()
    run = make_run(model, in_order(blobs), val=in_order(blobs), optimizer="sgd", lr=0.1, epochs=99)
    run.step(4)
    assert same(model, right) and not model[1].training
    execute(run.to_python(), given, in_order(blobs), in_order(blobs))
    assert same(given, right)


def test_what_a_module_does_when_its_mode_changes_is_done(make_run, blobs):
    class Merging(nn.Linear):
        """It folds a part of its weights in for evaluation, as LoRA's layers do."""

        folded = False

        def train(self, mode=True):
            self.folded = not mode
            return super().train(mode)

    torch.manual_seed(0)
    model = nn.Sequential(Merging(4, 8), nn.Linear(8, 3))
    run = make_run(model, in_order(blobs), val=in_order(blobs), epochs=99)
    run.step(6)
    assert not model[0].folded
    model.eval()
    run.step(1)
    assert not model[0].folded


def test_a_look_in_a_pause_changes_nothing(make_run, blobs, mlp):
    models = [mlp(dropout=0.5), mlp(dropout=0.5)]
    for look, model in enumerate(models):
        run = make_run(model, in_order(blobs), epochs=99)
        run.step(3)
        if look:
            model.eval()
            model(blobs[0])
        run.step(3)
    assert same(*models)
    assert [entry.name for entry in run.journal] == ["step", "pause"] * 2


def test_a_look_ahead_of_the_start_changes_nothing(make_run, blobs):
    model, right = normed(), normed()
    hold(right, [1])
    right = by_hand(right, blobs, 4, {})
    hold(model, [1])
    run = make_run(model, in_order(blobs), optimizer="sgd", lr=0.1, epochs=99)
    model.eval()
    run.step(4)
    assert same(model, right)


@pytest.mark.filterwarnings("ignore:the model's mode")
def test_a_look_in_the_middle_of_a_step_is_told_of_and_put_right(make_run, blobs):
    begun, looked, modes = threading.Event(), threading.Event(), []

    def forward(model, batch):
        if len(modes) == 3:
            begun.set()
            looked.wait(10)
        modes.append(model[1].training)
        return model(batch[0]), batch[1]

    model = normed()
    run = make_run(model, in_order(blobs), forward=forward, epochs=2)
    run.start(wait=False)
    begun.wait(10)
    model.eval()
    looked.set()
    run.wait(10)
    assert modes == [step != 3 for step in range(12)]
    told = [entry.new for entry in run.journal if entry.name == "note"]
    assert len(told) == 1 and "in the middle of step 3" in told[0]


def test_a_look_between_two_steps_is_put_right(make_run, blobs, mlp):
    models = [mlp(dropout=0.5), mlp(dropout=0.5)]
    for look, model in enumerate(models):
        run = make_run(model, in_order(blobs), epochs=99)
        events = run.events()
        for _step in range(8):
            next(events)
            if look:
                model.eval()
                model[2].train()  # the other thread is not done with it
    assert same(*models)


def test_modes_of_a_loss_are_those_of_training_and_of_validation(make_run, blobs):
    class Noted(nn.CrossEntropyLoss):
        def forward(self, output, target):
            modes.append((self.training, output.requires_grad))
            return super().forward(output, target)

    modes = []
    run = make_run(nn.Linear(4, 3), in_order(blobs), val=in_order(blobs), loss=Noted(), epochs=99)
    run.step(7)
    assert set(modes[1:]) == {(True, True), (False, False)}


def test_compiled_steps_keep_modules_in_evaluation_mode(make_tiered, compiled):
    torch.manual_seed(0)
    layers = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)
    model = nn.Sequential(*layers)
    model[1].eval()
    model[2].eval()
    before = copy.deepcopy(model[1].running_mean)
    run = make_tiered(model, optimizer="sgd", lr=0.05)
    pull(run, 30)
    assert torch.equal(model[1].running_mean, before)
    model[1].train()
    model[4].eval()
    pull(run, 60)
    assert not torch.equal(model[1].running_mean, before)
    assert [steps for _step, _before, steps in switches(run)] == [compiled.steps, 0, compiled.steps]
    twin = run.replay()
    twin.wait(60)
    assert same(twin.model, model)
    eager = make_tiered(copy.deepcopy(twin.model), optimizer="sgd", lr=0.05, tier="eager")
    assert eager.model[2].training is False
