"""A net whose layers are frozen and thawed, and a loop written by hand that does the same."""

import copy

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

BATCH = 10


def net(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))


def freeze(model, layers):
    """Freeze these layers, thaw all others."""
    for number in (0, 2, 4):
        model[number].requires_grad_(number not in layers)


def by_hand(model, make, data, schedule, steps, clip=None):
    """Train in a plain loop over batches in order; ``schedule`` says which layers are frozen from a step on."""
    model = copy.deepcopy(model)
    optimizer = make(model)
    x, y = data
    for step in range(steps):
        if step in schedule:
            freeze(model, schedule[step])
        at = step * BATCH % len(x)
        optimizer.zero_grad()
        functional.cross_entropy(model(x[at : at + BATCH]), y[at : at + BATCH]).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_([weight for weight in model.parameters() if weight.requires_grad], clip)
        optimizer.step()
    return model


def in_order(data):
    return DataLoader(TensorDataset(*data), batch_size=BATCH)


def follow(run, schedule, steps):
    """Do steps, with the layers frozen by hand in pauses."""
    for step in range(steps):
        if step in schedule:
            freeze(run.model, schedule[step])
        run.step(1)
    return run


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


SCHEDULE = {0: [0, 2], 2: [0], 4: [], 6: [0, 4], 9: []}
