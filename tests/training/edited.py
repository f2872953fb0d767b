"""What tests of edits share, beside the fixture `make`."""

import torch
from torch import nn

import nbopt

STEPS = 5  # before the edit


def net(seed=0, norm=False):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        between = [nn.BatchNorm1d(16)] if norm else []
        return nn.Sequential(nn.Linear(4, 16), *between, nn.Tanh(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))


def widened(run, by=5, layer="0", at=STEPS, **settings):
    """Return a branch with a wider layer."""
    return run.branch(at=at, edit=nbopt.Widen(layer, by=by), **settings)


def same(one, other):
    states = one.model.state_dict(), other.model.state_dict()
    assert states[0].keys() == states[1].keys()
    return all(torch.equal(a, b) for a, b in zip(*(state.values() for state in states), strict=True))


def losses(run):
    return run.history["loss"][1].tolist()


def edits(run):
    return [entry for entry in run.journal if entry.name == "edit"]
