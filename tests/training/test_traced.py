"""Steps of many runs by operations that were written down once, against the same steps by `torch.func`: bit for bit."""

import random
from functools import partial

import pytest
import torch
from torch import fx, nn

import nbopt
from nbopt.training.many import traced
from nbopt.training.many.news import News
from nbopt.training.many.sizes import generalize
from tests.run.population.shared import SETTINGS, convolutional, dense, digits, model_of
from tests.run.population.test_population import Attends, Sequences
from tests.run.population.test_random import CHANGES
from tests.tries import FACTOR

__all__ = ["digits"]

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SCALE = 1.0


class Scaled(nn.Module):
    """Reads a number that is no member's."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        return SCALE * self.layer(x)


class Deciding(nn.Module):
    """Goes by the numbers of the batch, which is one for all."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        return self.layer(x if x[0].sum() > x[1].sum() else -x)


def graphs_of(population):
    return population.puller.together._gradients._traced.graphs


def both(monkeypatch, live):
    """Return what lives the same life twice: by operations that were written down, and without any."""
    return [lived(monkeypatch, seconds, live) for seconds in (0.0, float("inf"))]


def lived(monkeypatch, seconds, live):
    """Return what lives, operations being written down that took so many seconds."""
    monkeypatch.setattr(traced, "_TRACED_SECONDS", seconds)
    return live()


def assert_same_bits(population, other):
    for one, two in zip(population, other, strict=True):
        for (name, own), same in zip(one.model.state_dict().items(), two.model.state_dict().values(), strict=True):
            assert torch.equal(own, same), name
        assert one.history.names == two.history.names
        for name in set(one.history.names) - {"_time"}:
            assert one.history[name][1].tolist() == two.history[name][1].tolist(), name


@pytest.mark.parametrize(
    ("make", "optimizer"),
    [(convolutional, "adamw"), (Sequences, "rmsprop"), (Attends, "sgd")],
)
def test_written_down_they_are_the_same(digits, monkeypatch, make, optimizer):
    def live():
        population = nbopt.Population(model_of(make), digits, lr=[1e-3, 0.1], optimizer=optimizer, **SETTINGS)
        population.step(3)
        return population

    written, plain = both(monkeypatch, live)
    assert graphs_of(written) and all(graph is not None for graph in graphs_of(written).values())
    assert not graphs_of(plain)
    assert_same_bits(written, plain)


@pytest.mark.parametrize("seed", range(FACTOR))
def test_written_down_any_life_is_the_same(digits, monkeypatch, seed):
    def live():
        draw = random.Random(seed)
        optimizer, loss = draw.choice(["sgd", "adam"]), draw.choice(["cross_entropy", "focal"])
        names = [name for name in CHANGES if name != "label_smoothing" or loss == "cross_entropy"]
        given = {"optimizer": optimizer, "loss": loss, "batch_size": 32, "epochs": 9, "seed": [0, 0, 1, 2]}
        population = nbopt.Population(model_of(dense), digits, 0.2, lr=0.01, **given)
        for _event in range(6):
            kind, (member, other) = draw.choice(["set", "stop", "clone", "all"]), draw.sample(range(4), 2)
            name = draw.choice(names)
            if kind == "set":
                population.set(members=[member], **{name: draw.choice(CHANGES[name])})
            elif kind == "stop" and sum(not one.state.is_ended for one in population) > 2:
                population.stop(members=[member])
            elif kind == "clone" and not population[member].state.is_ended:
                population.clone(member, into=other)
            elif not any(one.state.is_ended for one in population):
                population.set(batch_size=draw.choice([16, 32]))
            population.step(draw.randint(1, 4))
        return population

    plain = lived(monkeypatch, float("inf"), live)
    asked, broken_off = random.Random(seed), []

    def is_urgent(_news):
        broken_off.append(asked.random() < 0.2)
        return broken_off[-1]

    monkeypatch.setattr(News, "is_urgent", is_urgent)  # in the middle of steps, which are done anew then
    written = lived(monkeypatch, 0.0, live)
    assert any(graph is not None for graph in graphs_of(written).values()) and any(broken_off)
    assert_same_bits(written, plain)


def test_a_change_does_not_wait_for_the_step_under_way(digits, monkeypatch):
    monkeypatch.setattr(traced, "_TRACED_SECONDS", 0.0)
    population, other = (nbopt.Population(model_of(dense), digits, lr=[0.01, 0.1], **SETTINGS) for _each in range(2))
    for each in (population, other):
        each.step(2)

    def is_urgent(news):
        if not news.has_changes() and not changed:
            changed.append(population.set(lr=0.5, members=[1]))
        return news.has_changes()

    changed = []
    monkeypatch.setattr(News, "is_urgent", is_urgent)
    population.step(1)
    other.set(lr=0.5, members=[1])
    other.step(1)
    assert changed and [entry[:4] for entry in population[1].journal.changes()] == [(2, "lr", 0.1, 0.5)]
    assert_same_bits(population, other)


def test_a_loss_in_whose_settings_members_differ(digits, monkeypatch):
    given = {**SETTINGS, "loss": "focal", "gamma": [0.5, 2.0], "epochs": 1}
    assert_same_bits(*both(monkeypatch, lambda: nbopt.Population(model_of(dense), digits, 0.2, **given).fit()))


def test_a_number_that_changes_is_followed(digits, monkeypatch):
    def live():
        population = nbopt.Population(model_of(Scaled), digits, lr=[0.01, 0.1], **SETTINGS)
        population.step(2)
        monkeypatch.setattr(f"{__name__}.SCALE", 3.0)
        population.step(2)
        monkeypatch.setattr(f"{__name__}.SCALE", 1.0)
        return population

    assert_same_bits(*both(monkeypatch, live))


def test_what_goes_by_numbers_is_not_written_down(digits, monkeypatch):
    monkeypatch.setattr(traced, "_TRACED_SECONDS", 0.0)
    population = nbopt.Population(model_of(Deciding), digits, lr=[0.01, 0.1], **SETTINGS)
    population.step(2)
    assert population.tier == "all members at once"
    assert set(graphs_of(population).values()) == {None}


def test_a_change_of_the_first_member_writes_down_nothing_anew(digits, monkeypatch):
    monkeypatch.setattr(traced, "_TRACED_SECONDS", 0.0)
    population = nbopt.Population(model_of(dense), digits, lr=[0.01, 0.1], **SETTINGS)
    population.step(2)
    known = list(graphs_of(population).values())
    population.set(lr=0.02, members=[0])
    population.step(2)
    assert list(graphs_of(population).values()) == known


@pytest.mark.parametrize("make", [dense, convolutional, Sequences, Attends])
def test_of_two_numbers_of_members_follow_those_of_any(digits, monkeypatch, make):
    """Attention is done for one member after the other: there, each number has its own operations."""

    def live():
        given = {"batch_size": 40, "epochs": 9, "device": "cpu", "optimizer": "sgd", "seed": [0, 0, 0, 0, 1]}
        population = nbopt.Population(model_of(make), digits, lr=[1e-3, 2e-3, 3e-3, 0.01, 0.02], **given)
        for member in (4, 3, 2, 1, None):
            population.step(3)
            if member is not None:
                population.stop(members=[member])
        return population

    traces, trace = [], traced.trace
    monkeypatch.setattr(traced, "trace", lambda *given: traces.append(given) or trace(*given))
    written, plain = both(monkeypatch, live)
    sizes = {form.tensors[0][0][0]: graph for form, graph in graphs_of(written).items()}
    assert set(sizes) == {5, 4, 3, 2, 1} and None not in sizes.values()
    assert isinstance(sizes[2], partial) == (make is not Attends)
    if make is not Attends:
        assert len(traces) <= 4  # five have batches of their own; four and three see the same ones; and a single one
    assert_same_bits(written, plain)


def test_where_more_than_sizes_differs_nothing_follows():
    def view(runs):
        return fx.symbolic_trace(lambda x: x.view(runs, 1) * 2)

    two, three = view(2), view(3)
    found = generalize(two, three, (2, 3))
    assert found is not None and found.of(7)(torch.ones(7)).shape == (7, 1)
    others = {
        "more of them": lambda x: x.view(3, 1).neg() * 2,
        "another one": lambda x: x.reshape(3, 1) * 2,
        "a factor": lambda x: x.view(3, 1) * 2.0,
        "what is taken": lambda x: x.view(3, 1) * x,
    }
    assert [name for name, work in others.items() if generalize(two, fx.symbolic_trace(work), (2, 3))] == []
    assert generalize(two, three, (2, 5)) is None  # no line


def test_what_gives_other_numbers_is_not_used(digits, monkeypatch):
    trace = traced.trace
    monkeypatch.setattr(traced, "_TRACED_SECONDS", 0.0)
    monkeypatch.setattr(
        traced, "trace", lambda chunk, *rest: trace(lambda flat: [1.01 * one for one in chunk(flat)], *rest)
    )
    population = nbopt.Population(model_of(dense), digits, lr=[0.01, 0.1], **SETTINGS)
    population.step(2)
    assert list(graphs_of(population).values()) == [None]
