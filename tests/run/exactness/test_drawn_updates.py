"""Optimizers and their hooks that draw random numbers: the same in steps done again, a seeded loop and a script."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nbopt
from tests.field.harness import SEED, SeededAlike

pytestmark = pytest.mark.usefixtures("one_torch_thread")


class Langevin(torch.optim.SGD):
    """Adds noise to each step (Welling and Teh 2011)."""

    @torch.no_grad()
    def step(self, closure=None):
        super().step(closure)
        for weight in self.param_groups[0]["params"]:
            weight.add_(0.01 * torch.randn_like(weight))


class Shaken(torch.optim.SGD):
    """Draws from Python's, from numpy's and from two generators of its own."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)
        self.own, self.other = torch.Generator().manual_seed(4), np.random.default_rng(1)

    @torch.no_grad()
    def step(self, closure=None):
        super().step(closure)
        for weight in self.param_groups[0]["params"]:
            weight.add_(0.01 * torch.randn(weight.shape, generator=self.own))
            weight.add_(0.01 * (random.random() + np.random.rand() + self.other.normal()))


def hooked(params, lr=0.1):
    optimizer = torch.optim.SGD(params, lr=lr)

    def shake(own, args, kwargs):
        for weight in own.param_groups[0]["params"]:
            weight.grad.add_(torch.empty_like(weight).normal_(0, 0.1))

    optimizer.register_step_pre_hook(shake)
    return optimizer


def loader(blobs):
    return DataLoader(TensorDataset(*blobs), batch_size=20)


def make(dropout):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(dropout), nn.Linear(8, 3))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("kind", [Langevin, Shaken, hooked])
def test_steps_done_again_draw_the_same(blobs, weights, kind, dropout):
    model = make(dropout)
    run = nbopt.Run(model, loader(blobs), optimizer=kind(model.parameters(), lr=0.1), epochs=9, store=None)
    run.step(12)
    right = weights(run).clone()
    run.rewind(5)
    run.step(7)
    branch, replay = run.branch(at=5), run.replay()
    branch.step(7)
    replay.wait()
    for led in (run, branch, replay):
        assert torch.equal(weights(led), right) and led.exactness == "exact"


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_loop_seeded_alike_and_a_script_draw_the_same(blobs, weights, dropout):
    theirs, model, scripted = make(dropout), make(dropout), make(dropout)
    optimizer = Langevin(theirs.parameters(), lr=0.1)
    batches = SeededAlike(loader(blobs))
    for _epoch in range(2):
        for x, y in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(theirs(x), y).backward()
            optimizer.step()
    given = Langevin(model.parameters(), lr=0.1)
    run = nbopt.Run(model, loader(blobs), optimizer=given, epochs=2, seed=SEED, store=None).fit()
    script = {"__name__": "script"}
    exec(run.to_python(), script)
    script["train"](scripted, loader(blobs))
    for other in (theirs, scripted):
        assert torch.equal(weights(run), nn.utils.parameters_to_vector(other.parameters()).detach())
