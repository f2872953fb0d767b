"""Members that begin where a run is, runs that begin where a member is, and what is found out by that."""

import copy

import pytest
import torch
from torch import nn

import nbopt
from nbopt.errors import InvalidHyperparam
from tests.run.population.shared import SETTINGS, assert_same, dense, digits, model_of

__all__ = ["digits"]
pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def run(digits):
    """Return a run with a past: twelve steps, a change, three more."""
    run = nbopt.Run(model_of(dense), digits, 0.2, lr=0.002, store=None, **{**SETTINGS, "epochs": 6})
    run.step(12)
    run.set(lr=0.004)
    run.step(3)
    return run


def changes_of(session):
    return [entry[:4] for entry in session.journal.changes()]


def test_members_begin_where_a_run_is(run):
    population = run.population(lr=[0.004, 0.02])
    population.step(7)
    for member, lr in zip(population, [0.004, 0.02], strict=True):
        branch = run.branch(at=15, lr=lr)
        branch.step(7)
        assert_same(member, branch)
    assert run.step_count == 15 and changes_of(population[1])[-1] == (15, "lr", 0.004, 0.02)


def test_members_begin_where_a_run_was(run):
    population = run.population(at=8, weight_decay=[0.0, 0.1])
    population.step(3)
    branch = run.branch(at=8, weight_decay=0.1)
    branch.step(3)
    assert_same(population[1], branch)


def thawed(digits):
    """Return a run whose first layer trains three steps after the others."""
    model = model_of(dense)
    model[0].requires_grad_(False)
    run = nbopt.Run(model, digits, 0.2, lr=0.002, store=None, **SETTINGS)
    run.step(3)
    model[0].requires_grad_(True)
    run.step(2)
    return run


def deepened(digits):
    run = nbopt.Run(model_of(dense), digits, 0.2, lr=0.002, store=None, **SETTINGS)
    run.step(3)
    return run.change(nbopt.edits.Deepen("0"))


@pytest.mark.parametrize("begin", [thawed, deepened])
def test_weights_that_did_fewer_updates_than_others_are_members_of_a_population_too(digits, begin):
    run = begin(digits)
    population = run.population(lr=[0.002, 0.01])
    population.step(4)
    assert population.tier == "all members at once"
    run.step(4)
    for own, other in zip(run.model.parameters(), population[0].model.parameters(), strict=True):
        assert torch.allclose(own, other, atol=1e-6)


def freeze(run):
    run.model[0].requires_grad_(False)


def rest(run):
    run.model[2].eval()


def hasten(run):
    run.optimizer.param_groups[0]["lr"] = 0.1


ASKED = {
    "population": lambda run: run.population(lr=[0.004, 0.02]),
    "what_if": lambda run: run.what_if("lr", [0.004], steps=2),
    "hypergradient": lambda run: run.hypergradient("lr", steps=2),
    "repeat": lambda run: run.repeat(2),
}


@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize("change", [freeze, rest, hasten])
def test_what_was_changed_by_hand_since_the_last_step_is_not_lost_in_members(run, change, ask):
    change(run)
    with pytest.raises(RuntimeError, match="since the last step, the model was changed by hand"):
        ASKED[ask](run)
    run.step()
    ASKED[ask](run)


def test_a_member_is_copied_over_another_and_changed(digits):
    population = nbopt.Population(model_of(dense), digits, 0.2, lr=[0.001, 0.01, 0.1], **SETTINGS)
    population.step(4)
    population.clone(1, into=0, lr=0.03)
    population.set(weight_decay=0.01, members=[0, 2])
    population.stop(members=[2])
    population.step(3)
    run = nbopt.Run(model_of(dense), digits, 0.2, lr=0.01, store=None, **SETTINGS)
    run.step(4)
    run.set(lr=0.03)
    run.set(weight_decay=0.01)
    run.step(3)
    assert_same(population[0], run)
    assert [member.step_count for member in population] == [7, 7, 4]
    assert population.tier == "all members at once"
    with pytest.raises(InvalidHyperparam, match="one for all"):
        population.clone(1, into=0, batch_size=8)


def test_a_member_goes_on_as_a_run(digits, tmp_path):
    population = nbopt.Population(model_of(dense), digits, 0.2, lr=[0.001, 0.01], **{**SETTINGS, "epochs": 3})
    population.step(7)
    population.set(lr=0.02, members=[1])
    population.step(2)
    alone = population.run(1, store=tmp_path)
    assert type(alone) is nbopt.Run and alone.step_count == 9 and changes_of(alone) == [(7, "lr", 0.01, 0.02)]
    assert_same(population[1], alone, 0)
    alone.fit()
    population.fit()
    assert_same(population[1], alone)
    assert "0.02" in alone.to_python()
    again = alone.replay()
    again.wait()
    assert_same(again, alone)
    assert alone.id in [stored.id for stored in nbopt.runs(store=tmp_path)]


def test_what_if_leaves_the_run_as_it_is(run):
    before = copy.deepcopy(run.model.state_dict()), len(run.journal), run.history.measured
    found = run.what_if("lr", values=[1e-5, 0.004, 0.03], steps=8)
    assert (found.values, found.steps, found.present) == ([1e-5, 0.004, 0.03], 8, 0.004)
    assert found.mean.shape == found.spread.shape == (3,) and found.best == 0.03
    assert found.mean[0] == pytest.approx(found.now, rel=1e-2) and found.spread[1] > 0
    assert (len(run.journal), run.history.measured) == before[1:]
    assert all(torch.equal(before[0][name], tensor) for name, tensor in run.model.state_dict().items())
    branch = run.branch(at=15, lr=0.03)
    branch.step(8)
    branch.training.validation_due = True
    branch.set(validate_every=1)
    next(event for event in branch.events() if type(event).__name__ == "Validated")
    assert found.losses[2, 0] == pytest.approx(branch.history.last("val_loss"), rel=1e-4)


def test_what_was_found_out_is_told_with_values_as_controls_write_them(run):
    told = repr(run.what_if("lr", values=[1e-6, 0.5], steps=2, draws=1))
    assert told.startswith("<WhatIf lr after 2 steps; 1e-6: ") and ", 0.5: " in told
    both = [(1e-6, 16), (0.5, 16)]
    assert "; (1e-6, 16): " in repr(run.what_if(["lr", "batch_size"], values=both, steps=2, draws=1))


@pytest.mark.parametrize("name", ["batch_size", "optimizer", "loss", "early_stopping", "initialization", "patience"])
def test_what_if_takes_every_kind_of_hyperparameter(run, name):
    values = ["adam", "sgd"] if name == "optimizer" else None
    found = run.what_if(name, values, steps=2, draws=1)
    assert len(found.values) == len(found.mean) >= 2 and run.hyperparams[name] in found.values
    assert not any(map(bool, (found.mean != found.mean).tolist()))


def test_a_run_is_repeated_under_other_seeds(run):
    repeats = run.repeat(seeds=2)
    assert repeats.wait() is nbopt.RunState.FINISHED
    assert_same(repeats[0], run)  # which has that seed
    for seed, member in enumerate(repeats):
        assert (member.seed, changes_of(member)) == (seed, [(12, "lr", 0.002, 0.004)])
    assert repeats[0].history.last("loss") != repeats[1].history.last("loss")


def test_a_validation_loss_of_zero_is_a_loss():
    model = nn.Linear(2, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    run = nbopt.Run(model, (torch.randn(40, 2), torch.zeros(40, 1)), 0.25, loss="mse", store=None)
    run.step(1)
    found = run.what_if("lr", values=[0.001, 0.01], steps=2)
    assert (found.now, found.mean.tolist(), found.best) == (0.0, [0.0, 0.0], 0.001)
