"""Torch's schedulers, and a plain loop that steps them."""

from functools import partial

import torch
from torch.nn import functional
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 6


def loader(blobs):
    return DataLoader(TensorDataset(*blobs), batch_size=16)  # four steps an epoch


def sgd(model):
    groups = [{"params": model[0].parameters(), "lr": 0.2}, {"params": model[3].parameters()}]
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


def same(one, other):
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def pulled(run):
    for _event in run.events():
        pass
    return run


def plain(model, optimizer, scheduler, blobs, interval, epochs=EPOCHS):
    """Train as a loop of one's own does; return the rates used."""
    rates = []
    for _epoch in range(epochs):
        losses = []
        for x, y in loader(blobs):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            losses.append(loss.detach())
            if interval == "step":
                scheduler.step()
        if interval == "epoch":
            scheduler.step()
        if interval == "plateau":
            scheduler.step(sum(losses[1:], losses[0]).item() / len(losses))
    return rates


class Halving(lr_scheduler.LRScheduler):
    """A scheduler of the user's own, with a state of its own."""

    def __init__(self, optimizer):
        self.past = []
        super().__init__(optimizer)

    def get_lr(self):
        self.past.append(self.last_epoch)
        return [group["lr"] * (0.5 if len(self.past) % 3 == 0 else 1.0) for group in self.optimizer.param_groups]


def sequential(optimizer):
    parts = [lr_scheduler.ConstantLR(optimizer, 0.1, 3), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    return lr_scheduler.SequentialLR(optimizer, parts, [3])


MAKERS = {
    "one cycle": (partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=40), "step"),
    "cyclic": (partial(lr_scheduler.CyclicLR, base_lr=0.01, max_lr=0.1, step_size_up=5), "step"),
    "step": (partial(lr_scheduler.StepLR, step_size=2, gamma=0.3), "epoch"),
    "step by step": (partial(lr_scheduler.StepLR, step_size=2, gamma=0.9), "step"),
    "several steps": (partial(lr_scheduler.MultiStepLR, milestones=[2, 4]), "epoch"),
    "cosine": (partial(lr_scheduler.CosineAnnealingLR, T_max=20), "step"),
    "restarts": (partial(lr_scheduler.CosineAnnealingWarmRestarts, T_0=2), "epoch"),
    "lambda": (partial(lr_scheduler.LambdaLR, lr_lambda=lambda step: 1 / (step + 1)), "step"),
    "sequential": (sequential, "epoch"),
    "own class": (Halving, "step"),
    "plateau": (partial(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=0.9), "plateau"),
}
