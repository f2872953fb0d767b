"""Steps of all members as one compiled function; the compiler itself is left out."""

import random

import pytest
import torch
from torch import nn

import nbopt
from nbopt.run.population.pulling import Puller
from nbopt.store import writer
from nbopt.training.compile.background import BackgroundCompile
from nbopt.training.compile.build import Build, NotKept
from nbopt.training.evaluating import evaluate_within_memory
from nbopt.training.many import blocks, judged, together
from nbopt.training.many.gradients import Gradients
from tests.run.population.shared import SETTINGS, assert_same, convolutional, dense, digits, model_of, single_of
from tests.run.population.test_stored import left_by

__all__ = ["digits"]
pytestmark = pytest.mark.usefixtures("one_torch_thread")
COMPILED = "all members at once, compiled"


@pytest.fixture
def made(monkeypatch):
    """What was compiled, as a list that grows; compiling takes no time."""
    made = []
    monkeypatch.setattr(Build, "compile", lambda self, chunk, example: made.append(chunk) or chunk)
    monkeypatch.setattr(BackgroundCompile, "start", BackgroundCompile.run)
    monkeypatch.setattr("nbopt.training.many.compiled._LOOK_SECONDS", -1.0)
    return made


@pytest.mark.parametrize(("make", "optimizer"), [(dense, "adam"), (dense, "sgd"), (convolutional, "sgd")])
def test_compiled_members_are_the_single_runs(digits, made, make, optimizer):
    given = {**SETTINGS, "optimizer": optimizer, "weight_decay": 1e-3, "l1": 1e-4, "metrics": ["accuracy"]}
    population = nbopt.Population(model_of(make), digits, 0.2, lr=[0.003, 0.01, 0.02], tier="compiled", **given)
    population.step(4)
    assert population.tier == COMPILED
    population.set(lr=0.005, members=[1])
    population.stop(members=[0])
    population.fit()
    assert len(made) == 1
    for member in population:
        assert_same(member, single_of(member, make, digits))


class Counting(nn.Module):
    """Counts its calls, in evaluation too."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls.add_(1.0)
        return x


def counting():
    return nn.Sequential(nn.Linear(64, 12), Counting(), nn.Linear(12, 10))


@pytest.mark.parametrize(("make", "tier"), [(dense, "whole"), (convolutional, "whole"), (counting, "compiled")])
def test_validations_are_compiled_where_steps_are_and_are_those_of_single_runs(digits, made, monkeypatch, make, tier):
    """A batch of another size is evaluated otherwise, and so is all that a member does that was sent back."""
    monkeypatch.setattr(judged, "_LEAST", 1)
    monkeypatch.setattr("nbopt.training.validation.evaluation_size", lambda _source: 16)  # of 40 samples
    given = {**SETTINGS, "optimizer": "sgd", "metrics": ["accuracy"], "epochs": 3}
    population = nbopt.Population(model_of(make), digits, 0.2, lr=[0.003, 0.01, 0.02], tier="compiled", **given)
    population.fit()
    modes = [entry.new["many"] for entry in population[0].journal if entry.name == "switch"]
    assert modes[-1] == population.puller.together.tier == tier
    assert population.tier == COMPILED
    assert len(made) == 1 + (tier == "whole")
    training, evaluation = population[1].training, population.puller.together.evaluation
    for index, first in enumerate((0, 16, 32) if tier == "whole" else ()):
        batch = tuple(column[first : first + 16] for column in training.val.columns)
        found = evaluation._by_code(evaluation._code, evaluation._stack, training, lambda batch=batch: batch, index)
        assert (found is not None) == (index < 2)
        ((output, _target, loss, _part),) = evaluate_within_memory(training, batch, index)
        if found is not None:
            assert torch.allclose(found[0][0], output, 1e-6, 1e-6)
            assert float(found[0][2]) == pytest.approx(float(loss), rel=1e-6)
        with monkeypatch.context() as patch:
            patch.setattr(training, "step", training.step - 1)
            assert evaluation._by_code(evaluation._code, evaluation._stack, training, lambda: batch, 0) is None  # noqa: B023
    for member in population:
        assert_same(member, single_of(member, make, digits))


def test_machine_code_that_the_process_has_serves_the_same_model_again_and_no_other(digits, monkeypatch):
    traced, constant = [], 0.5
    monkeypatch.setattr(BackgroundCompile, "start", BackgroundCompile.run)
    monkeypatch.setattr("nbopt.training.compile.build.trace", lambda chunk, *_given: traced.append(chunk) or chunk)
    monkeypatch.setattr(Build, "_load", lambda _self, graph, _example: lambda flat: graph([*flat]))

    class Scaled(nn.Linear):
        def forward(self, x):
            return constant * super().forward(x)

    for slope, factor in ((0.1, 0.5), (0.1, 0.5), (0.2, 0.5), (0.2, 2.0), (0.1, 0.5)):
        constant = factor
        model = nn.Sequential(Scaled(64, 3), nn.LeakyReLU(slope), nn.Linear(3, 10))
        population = nbopt.Population(model, digits, 0.2, lr=[0.01, 0.02], optimizer="sgd", tier="compiled", **SETTINGS)
        population.step(3)
        assert population.tier == COMPILED
    assert len(traced) == 3


def test_compiling_that_begins_at_a_call_of_several_steps_moves_no_member(digits, made, monkeypatch):
    monkeypatch.setattr(together, "_CALL_SECONDS", 1e3)  # calls of as many steps as there are
    population = nbopt.Population(model_of(dense), digits, 0.2, lr=[0.003, 0.01, 0.02], tier="eager", **SETTINGS)
    population.step(2)
    population.set(tier="compiled")
    population.step(3)
    assert len(made) == 1
    assert [member.training.cursor.position for member in population] == [0] * 3  # five batches are an epoch
    for member in population:
        assert_same(member, single_of(member, dense, digits))


@pytest.mark.parametrize("tier", ["eager", "compiled"])
def test_where_somebody_has_news_decides_nothing(digits, made, monkeypatch, tier):
    """Steps that are planned together, and broken off anywhere between two of them, are the same steps."""
    monkeypatch.setattr(together, "_CALL_SECONDS", 1e3)
    draw, bits = random.Random(1), []
    for broken_off in (False, True):
        monkeypatch.setattr("nbopt.training.many.news._CALM_SECONDS", 0.0 if broken_off else 1e3)
        monkeypatch.setattr("nbopt.training.many.news._SECONDS", 0.0 if broken_off else 1e3)
        asked = []
        if broken_off:
            monkeypatch.setattr(Puller, "_has_news", lambda _: asked.append(draw.random() < 0.5) or asked[-1])  # noqa: B023
        given = {**SETTINGS, "schedule": "cosine", "metrics": ["accuracy"], "tier": tier}
        population = nbopt.Population(model_of(dense), digits, 0.2, lr=[0.003, 0.01, 0.02], **given)
        for steps in (1, 1, 4, 2):  # the first step is each member's own, and the second has something compiled
            population.step(steps)
        bits.append([population[1].model.state_dict(), *(population[1].history[name] for name in ("loss", "lr"))])
        assert any(asked) == broken_off
    (weights, losses, rates), (other_weights, other_losses, other_rates) = bits
    assert all(torch.equal(one, other_weights[name]) for name, one in weights.items())
    assert losses[1].tolist() == other_losses[1].tolist() and rates[1].tolist() == other_rates[1].tolist()
    assert len(losses[1]) == len(rates[1]) == 8


CHANGES = {
    "lr": [1e-4, 3e-3, 0.02],
    "weight_decay": [0.0, 0.01, 0.1],
    "l1": [0.0, 1e-3],
    "dropout": [0.1, 0.3],
    "momentum": [0.0, 0.5, 0.9],
}


def live(seed, digits, optimizer):
    """Return a population whose members stopped, joined, were copied over each other and changed, and who it was."""
    draw = random.Random(seed)
    given = {"optimizer": optimizer, "momentum": 0.5, "batch_size": 32, "epochs": 9, "metrics": ["accuracy"]}
    seeds = [0, 0, 1, 2, 0, 0, 0]
    population = nbopt.Population(model_of(dense), digits, 0.2, lr=0.003, seed=seeds, tier="compiled", **given)
    given_up = []
    population.step(2)
    for event in range(24):
        kind = draw.choice(["stop", "clone", "set"])
        member, other = draw.sample(range(len(population)), 2)
        alive = not population[member].state.is_ended
        if kind == "stop" and sum(not one.state.is_ended for one in population) > 1:
            population.stop(members=[member])
        elif kind == "clone" and alive:
            given_up.append(population[other])
            population.clone(member, into=other, lr=draw.choice(CHANGES["lr"]))
        elif kind == "set" and alive:
            name = draw.choice(list(CHANGES))
            population.set(members=[member], **{name: draw.choice(CHANGES[name])})
        if event % 3 == 0:
            population.step(draw.randint(2, 4))
            assert population.tier == COMPILED
    return population, given_up


@pytest.mark.parametrize(("runs", "slots"), [(128, 16), (10, 10), (127, 16)])
def test_blocks_have_few_rows_of_nobody(runs, slots):
    at_most_twenty = blocks._MOST_NUMBERS // 20
    assert blocks.find_slots([None] * runs, at_most_twenty, None) == slots


@pytest.mark.parametrize(("optimizer", "slots"), [("adam", 2), ("sgd", 5), ("adam", 7)])
def test_members_stop_join_are_copied_and_change_without_compiling_again(digits, made, monkeypatch, optimizer, slots):
    """All seven in one block, or in blocks of fewer, the last of which is not full."""
    monkeypatch.setattr(together, "find_slots", lambda *_given: slots)
    population, given_up = live(slots, digits, optimizer)
    assert len(made) == 1
    again, _given_up = live(slots, digits, optimizer)
    for member, same in zip(population, again, strict=True):
        for own, other in zip(member.model.state_dict().values(), same.model.state_dict().values(), strict=True):
            assert torch.equal(own, other)
    # Where rounding turns a hidden unit off for a sample for which it is just on, Adam makes much of it.
    tolerance = 5e-3 if optimizer == "adam" else 1e-4
    for member in (*population, *given_up):
        assert_same(member, single_of(member, dense, digits), tolerance)


def test_what_one_member_cannot_have_compiled_is_not(digits, made):
    """The loss's settings are numbers in the compiled code: a member in the middle that gets others has them."""
    population = nbopt.Population(model_of(dense), digits, 0.2, lr=[0.003, 0.01, 0.02], tier="compiled", **SETTINGS)
    population.step(3)
    assert population.tier == COMPILED
    population.set(label_smoothing=0.3, members=[1])
    population.step(3)
    assert population.tier == "all members at once (not compiled: the loss has settings of its own)"
    population.set(label_smoothing=0.0, members=[1])
    population.step(2)  # the first after a change of the loss is done one member after the other
    assert population.tier == COMPILED
    assert len(made) == 1
    for member in population:
        assert_same(member, single_of(member, dense, digits))


@pytest.mark.parametrize("least", [1, 2**20])
def test_one_that_was_compiled_is_opened_as_it_was(digits, made, tmp_path, monkeypatch, least):
    """What was done since the last state is done again by machine code, and so is what comes then, validations too."""
    monkeypatch.setattr(judged, "_LEAST", least)
    given = {**SETTINGS, "tier": "compiled", "batch_size": 16, "validate_every": 2}
    population = nbopt.Population(model_of(dense), digits, 0.2, lr=[0.003, 0.01], store=tmp_path / "own", **given)
    population.step(4)
    assert population.tier == COMPILED
    writer.flush()
    with monkeypatch.context() as patch:
        patch.setattr(type(population.keeping), "take", lambda keeping: None)
        population.step(3)
        population.set(lr=0.02, members=[1])
    again = nbopt.open(population.id, model_of(dense), digits, store=left_by(population, tmp_path))
    monkeypatch.setattr(Gradients, "__call__", None)  # no step is done otherwise
    for one in (population, again):
        for _step in range(3):
            one.step()
        assert one.tier == COMPILED
        assert one.puller.together.tier == ("whole" if least == 1 else "compiled")
    for member, other in zip(population, again, strict=True):
        assert [entry[:4] for entry in member.journal] == [entry[:4] for entry in other.journal]
        for name in ("loss", "val_loss"):
            assert member.history[name][1].tolist() == other.history[name][1].tolist()


def test_it_says_why_it_is_not_compiled(digits, made):
    """A technique that keeps steps from being compiled does so at once, in the journal too."""
    given = {**SETTINGS, "tier": "compiled"}
    population = nbopt.Population(model_of(dense), digits, 0.2, lr=[0.003, 0.01], optimizer="adagrad", **given)
    population.step(2)
    assert population.tier == "all members at once (not compiled: no formula for this optimizer)"
    population = nbopt.Population(model_of(dense), digits, 0.2, lr=[0.003, 0.01], **given)
    population.step(2)
    population.set(clip_norm=1.0)
    population.step(2)
    assert population.tier == "all members at once (not compiled: ClipNorm acts)"
    modes = [entry.new["many"] for entry in population[0].journal if entry.name == "switch"]
    assert modes[-2:] == ["compiled", "together"]
    population.set(clip_norm=0.0)
    population.step(2)
    assert population.tier == COMPILED


@pytest.mark.parametrize("is_kept", [True, False])
def test_on_a_short_way_only_what_was_compiled_before_is_used(digits, monkeypatch, is_kept):
    """Here, a compiler that would have to compile has nothing to do it with."""
    asked = []

    def compile_kept(build, chunk, example):
        asked.append(chunk)
        if not build._only_kept or not is_kept:
            raise NotKept
        return chunk

    monkeypatch.setattr(Build, "compile", compile_kept)
    monkeypatch.setattr(BackgroundCompile, "start", BackgroundCompile.run)
    monkeypatch.setattr("nbopt.training.many.compiled._LOOK_SECONDS", -1.0)
    for name in ("_KEPT_TRAINED", "_KEPT_LEFT"):
        monkeypatch.setattr(f"nbopt.training.many.compiled.{name}", 0.0)
    population = nbopt.Population(model_of(dense), digits, 0.2, lr=[0.003, 0.01, 0.02], **SETTINGS)
    population.step(6)
    assert population.tier == (COMPILED if is_kept else "all members at once")
    assert len(asked) == 1  # and not again, where there is nothing
    for member in population:
        assert_same(member, single_of(member, dense, digits))
