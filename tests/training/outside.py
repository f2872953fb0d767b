"""Models that keep something outside of their ``state_dict``, by name."""

import threading
from copy import deepcopy
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from tests.training.outside_modules import (
    Annealed,
    Base,
    Growing,
    NotPersistent,
    Plain,
    Rebound,
    ReboundOutside,
    Stateful,
    StatefulByName,
)


@dataclass
class Meter:
    total: torch.Tensor
    count: int = 0


class Slotted:
    __slots__ = ("value",)

    def __init__(self):
        self.value = 0


class Objects(Base):
    """Objects of the user's own, in a list that grows, one of them known by two names."""

    def start(self):
        self.meters = [Meter(torch.zeros(()))]
        self.current = self.meters[0]
        self.slotted = Slotted()

    def scale(self, x):
        self.current.total += x.detach().mean()
        self.current.count += 1
        self.slotted.value += 1
        if self.current.count == 4:
            self.current = Meter(self.current.total.clone())
            self.meters.append(self.current)
        assert self.current is self.meters[-1]
        return 1 + self.current.total / 10 + self.current.count / 20 + self.slotted.value / 50 + len(self.meters) / 9


class Teacher(Base):
    """A teacher that is no module of the model's, in a list, with a queue of its answers."""

    def start(self):
        self.teachers = [deepcopy(self.layer), nn.BatchNorm1d(4, momentum=None)]
        self.queue, self.pointer = torch.zeros(30, 3), 0

    def scale(self, x):
        teacher, norm = self.teachers
        with torch.no_grad():
            teacher.weight.mul_(0.9).add_(self.layer.weight, alpha=0.1)
            self.queue[self.pointer : self.pointer + 10] = teacher(norm(x))[:10]
        self.pointer = (self.pointer + 10) % 30
        return 1 + self.queue.mean()


class Views(Base):
    """Tensors that share their memory: of a bank, and of a weight, which one of them gives gradients."""

    def start(self):
        self.slot, self.bank = None, torch.zeros(3, 4)
        self.first = self.bank[0]
        self.flat, self.raw = self.layer.weight.view(-1), self.layer.weight.data[1]

    def scale(self, x):
        self.first += x.detach().mean(0)
        self.slot = self.bank[1]
        self.slot += self.first / 2
        return 1 + self.bank.mean(0) + self.raw + self.flat.sum() / 10


class Lazy(Base):
    """A layer that the first step makes."""

    def start(self):
        self.inner = None

    def scale(self, x):
        if self.inner is None:
            self.inner = nn.Linear(4, 4).requires_grad_(False)
        return self.inner(x)


class Extra(Base):
    def start(self):
        self.own = {"steps": 0, "mean": torch.zeros(())}

    def get_extra_state(self):
        return {"steps": self.own["steps"], "nested": [self.own["mean"], (1, None)]}

    def set_extra_state(self, state):
        self.own = {"steps": state["steps"], "mean": state["nested"][0].clone()}

    def scale(self, x):
        self.own["steps"] += 1
        self.own["mean"] = self.own["mean"] + x.detach().mean()
        return 1 + self.own["steps"] / 20 + self.own["mean"]


class Switching(Base):
    """Functions and layers that change their places."""

    def start(self):
        self.first, self.second = nn.Linear(4, 4), nn.Identity()
        with torch.no_grad():
            self.first.weight.copy_(torch.eye(4) / 2)
            self.first.bias.zero_()
        self.now, self.act, self.steps = self.first, torch.tanh, 0

    def scale(self, x):
        self.steps += 1
        self.now = self.first if self.steps % 3 else self.second
        self.act = torch.relu if self.steps % 2 else torch.tanh
        return self.act(self.now(x))


class Hooked(Base):
    """What a hook keeps: the output of the last step."""

    def start(self):
        self.last = {}
        self.layer.register_forward_hook(self.note)

    def note(self, module, inputs, output):
        self.last["output"] = output.detach()

    def scale(self, x):
        return 1 + self.last["output"].mean() if self.last else 1.0


class Activation(Base):
    """It keeps its last output, with its graph."""

    def start(self):
        self.kept = None

    def scale(self, x):
        return 1 if self.kept is None else 1 + self.kept.detach().mean() / 10

    def forward(self, x):
        self.kept = super().forward(x)
        return self.kept


class Locked(Base):
    def start(self):
        self.lock, self.calls = threading.Lock(), 0

    def scale(self, x):
        with self.lock:
            self.calls += 1
        return 1 + self.calls / 10


def scripted():
    return torch.jit.script(norm_of_old(lambda layer: None)())


def norm_of_old(make):
    def build():
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            with torch.no_grad():
                for weight in model.parameters():
                    weight.copy_(torch.randn(weight.shape) / 3)
            make(model[0])
        return model

    return build


MODELS = {
    kind.__name__: kind
    for kind in (
        NotPersistent,
        Rebound,
        ReboundOutside,
        Growing,
        Annealed,
        Plain,
        Stateful,
        StatefulByName,
        Objects,
        Teacher,
        Views,
        Lazy,
        Extra,
        Switching,
        Hooked,
        Activation,
        Locked,
    )
}
MODELS |= {
    "scripted": scripted,
    "weight_norm": norm_of_old(nn.utils.weight_norm),
    "spectral_norm": norm_of_old(nn.utils.spectral_norm),
    "parametrized weight_norm": norm_of_old(parametrizations.weight_norm),
    "parametrized spectral_norm": norm_of_old(parametrizations.spectral_norm),
}


OLD = pytest.mark.filterwarnings("ignore:.*(weight_norm|torch.jit.script).*")
