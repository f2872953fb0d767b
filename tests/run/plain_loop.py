"""A loop that is not nbopt's own, attached to a session: the user keeps the loop, the optimizer and the thread."""

import time
from functools import partialmethod

import torch
from torch import nn

from nbopt.hyperparams import Float, Hyperparams, Tunable
from nbopt.record.history import History
from nbopt.run.session.session import Session
from nbopt.training.stage import NotBegun
from nbopt.training.state import RunState


class Settings(Tunable):
    lr = Float(1e-3, low=1e-5, high=10.0, log=True, ge=0.0, label="Learning rate", group="Optimizer")
    weight_decay = Float(0.0, low=1e-6, high=1.0, log=True, zero=True, ge=0.0, label="Weight decay", group="Optimizer")


class Place(NotBegun):
    """Where the loop is; a value that changes goes to the user's optimizer."""

    def __init__(self, optimizer, hyperparams, history):
        super().__init__()
        self.optimizer, self.hyperparams, self.history = optimizer, hyperparams, history
        self.losses, self.began = [], time.perf_counter()

    def flush(self):
        if count := len(self.losses):
            values = torch.stack(self.losses).tolist()
            self.losses.clear()
            self.history.extend("loss", range(self.step - count, self.step), values)
            self.history.append("_time", self.step - 1, time.perf_counter() - self.began)
            self.history.append("_epoch", self.step - 1, 0.0)

    def changed(self, name):
        for group in self.optimizer.param_groups:
            group[name] = self.hyperparams[name]
        return ""


class Attached(Session):
    """Call `after_step` with each loss; False ends the loop."""

    abilities = frozenset(("start", "pause", "stop"))

    def __init__(self, optimizer, name="a loop of my own"):
        hyperparams, history = Hyperparams(), History()
        hyperparams.declare(Settings)
        for key in Settings.declared():
            hyperparams.assign(key, optimizer.param_groups[0][key])
        self._place = Place(optimizer, hyperparams, history)
        super().__init__(name, hyperparams, self._place, history)
        self._wanted, self._asked_by, self._asked, self._due = RunState.RUNNING, "code", True, 0.0
        self._take = self._place.losses.append

    def after_step(self, loss):
        self._place.step += 1
        self._take(loss.detach())
        return self._between_steps() if self._asked or time.perf_counter() > self._due else True

    def _between_steps(self):
        with self.lock:
            self._asked = False
            if self.changes.apply():  # which flushes, too
                self.announce()
            if (wanted := self._wanted) is not self.state:
                self.journal.event(self.step_count, wanted.value, source=self._asked_by)
                self.become(wanted)
            if wanted is RunState.PAUSED:
                self.moved.wait_for(lambda: self._asked)
                return self._between_steps()
        self._due = time.perf_counter() + 0.05  # seconds to the next look
        return wanted is RunState.RUNNING

    def _ask(self, changes, source):
        with self.lock:
            self._asked = True
            super()._ask(changes, source)

    def _want(self, state, *, wait=True, source="code"):
        with self.lock:
            self._wanted, self._asked_by, self._asked = state, source, True
            self.announce()

    start = partialmethod(_want, RunState.RUNNING)
    pause = partialmethod(_want, RunState.PAUSED)
    stop = partialmethod(_want, RunState.STOPPED)


def train(session, model, optimizer, x, y):
    go_on = True
    while go_on:
        rows = torch.randint(len(x), (32,))
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        go_on = session.after_step(loss)
