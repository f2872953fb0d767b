"""Modules that keep something outside of their ``state_dict``."""

from collections import Counter, OrderedDict, defaultdict, deque, namedtuple

import numpy as np
import torch
from torch import nn

State = namedtuple("State", ["h", "c"])


class Base(nn.Module):
    """A linear model whose inputs are scaled by what it remembers."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = nn.Linear(4, 3)
        self.start()

    def start(self):
        pass

    def forward(self, x):
        return self.layer(x * self.scale(x))

    def scale(self, x):
        raise NotImplementedError


class NotPersistent(Base):
    def start(self):
        self.register_buffer("mean", torch.zeros(4), persistent=False)

    def scale(self, x):
        self.mean.mul_(0.9).add_(x.detach().mean(0), alpha=0.1)
        return 1 + self.mean


class Rebound(Base):
    """A buffer, persistent or not, that is another tensor after each step, and at first none."""

    persistent = True

    def start(self):
        self.register_buffer("mean", None, persistent=self.persistent)

    def scale(self, x):
        before = torch.zeros(4) if self.mean is None else self.mean
        self.mean = 0.9 * before + 0.1 * x.detach().mean(0)
        return 1 + self.mean


class ReboundOutside(Rebound):
    persistent = False


class Growing(Base):
    """A persistent buffer whose shape changes."""

    def start(self):
        self.register_buffer("seen", torch.zeros(0))

    def scale(self, x):
        self.seen = torch.cat([self.seen, x.detach().mean().reshape(1)])
        return 1 + self.seen.sum() / 10


class Annealed(Base):
    def start(self):
        self.calls = 0

    def scale(self, x):
        self.calls += self.training
        return 1 / (1 + 0.1 * self.calls)


class Plain(Base):
    """Containers of all kinds, one in another, and numbers that JSON does not know."""

    def start(self):
        self.history = [0.0]
        self.last = deque([1.0, 2.0], maxlen=3)
        self.table = {"a": {1: [0, (1, 2)]}, ("b", 2): None}
        self.order = OrderedDict(x=1)
        self.counts = Counter()
        self.by_kind = defaultdict(list)
        self.kinds = {0}
        self.lowest = float("inf")
        self.phase = 1 + 0j
        self.flag = None
        self.raw = bytearray(b"\0")
        self.mode = "warm up"
        self.number = np.float64(0.5)
        self.array = np.zeros((2, 2))
        self.same = self.history

    def scale(self, x):
        self.history.append(float(x.mean()))
        self.last.append(self.history[-1])
        self.table["a"][1][0] += 1
        self.order.move_to_end("x")
        self.order[f"y{len(self.history)}"] = len(self.history)
        self.counts["steps"] += 1
        self.by_kind[len(self.history) % 2].append(self.counts["steps"])
        self.kinds.add(len(self.history))
        self.lowest = min(self.lowest, self.history[-1])
        self.phase *= 1j
        self.flag = not self.flag
        self.raw[0] += 1
        self.mode = "main" if self.counts["steps"] > 4 else self.mode
        self.number = self.number * np.float64(0.9)
        self.array[0, 0] += 1
        assert self.same is self.history
        value = sum(self.last) + self.lowest + self.phase.real + self.flag + self.raw[0] + len(self.kinds)
        value += len(self.order) + sum(self.by_kind[0]) + self.table["a"][1][0] + self.array.sum() + self.number
        return 1 + value / (100 if self.mode == "main" else 50)


class Stateful(nn.Module):
    """A recurrent network that carries its state over."""

    kind = tuple

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.cell = nn.LSTM(4, 5, batch_first=True)
            self.head = nn.Linear(5, 3)
        self.carried = None

    def forward(self, x):
        h, carried = self.cell(x[:, None], self.carried)
        self.carried = self.kind(part.detach() for part in carried)
        return self.head(h[:, -1])


class StatefulByName(Stateful):
    @staticmethod
    def kind(parts):
        return State(*parts)
