"""Random changes, stops and copies: members are the single runs that their journals tell of, and the same again.

``NBOPT_LIVES=50`` has fifty populations live.
"""

import os
import random

import pytest
import torch

import nbopt
from tests.run.population.shared import assert_same, dense, digits, model_of, single_of

__all__ = ["digits"]
pytestmark = pytest.mark.usefixtures("one_torch_thread")

CHANGES = {
    "lr": [1e-4, 3e-3, 0.02],
    "weight_decay": [0.0, 0.01, 0.1],
    "l1": [0.0, 1e-3],
    "dropout": [0.0, 0.3],
    "label_smoothing": [0.0, 0.1],
    "clip_norm": [0.0, 0.5],
    "momentum": [0.0, 0.5, 0.9],
}
FOR_ALL = {"batch_size": [16, 32], "optimizer": ["sgd", "adam"]}


def live(seed, digits):
    """Return a population that went through a life drawn from a seed."""
    draw = random.Random(seed)
    values = [draw.choice(CHANGES["lr"]) for _member in range(5)]
    settings = {"optimizer": draw.choice(["sgd", "adam"]), "batch_size": 32, "epochs": 9}
    population = nbopt.Population(model_of(dense), digits, 0.2, lr=values, seed=[0, 0, 1, 2, 0], **settings)
    for _event in range(12):
        kind = draw.choice(["step", "step", "set", "set", "stop", "clone", "all"])
        member, other = draw.sample(range(5), 2)
        if kind == "step":
            population.step(draw.randint(1, 4))
        elif kind == "set":
            name = draw.choice(list(CHANGES))
            population.set(members=[member], **{name: draw.choice(CHANGES[name])})
        elif kind == "stop" and sum(not one.state.is_ended for one in population) > 2:
            population.stop(members=[member])
        elif kind == "clone" and not population[member].state.is_ended:
            population.clone(member, into=other, lr=draw.choice(CHANGES["lr"]))
        elif kind == "all" and not any(one.state.is_ended for one in population):
            name = draw.choice(list(FOR_ALL))
            population.set(**{name: draw.choice(FOR_ALL[name])})
    population.step(3)
    return population


@pytest.mark.parametrize("seed", range(int(os.environ["NBOPT_LIVES"])) if "NBOPT_LIVES" in os.environ else [1, 3])
def test_a_life_of_a_population(digits, seed):
    population, again = live(seed, digits), live(seed, digits)
    for member, other in zip(population, again, strict=True):
        for own, same in zip(member.model.state_dict().values(), other.model.state_dict().values(), strict=True):
            assert torch.equal(own, same)
        assert member.history["loss"][1].tolist() == other.history["loss"][1].tolist()
        assert_same(member, single_of(member, dense, digits))
