"""State that losses and optimizers hold; what cannot be kept; a store that somebody else wrote."""

import threading
from collections import deque

import numpy as np
import pytest
import torch
from torch import nn

import nbopt
from nbopt.store import writer
from nbopt.store.schema import StoreError
from nbopt.store.tensors import load, save
from nbopt.training.snapshots.outside import name_unheld
from tests.training.outside_modules import Base

# -- the loss and the optimizer


class Momentum:
    """A loss that is an object: it knows the losses before, and a teacher of the outputs."""

    def __init__(self):
        self.losses, self.teacher = deque(maxlen=3), nn.Linear(4, 3).requires_grad_(False)
        with torch.no_grad():
            self.teacher.weight.zero_(), self.teacher.bias.zero_()

    def __call__(self, output, target):
        loss = nn.functional.cross_entropy(output, target)
        self.losses.append(float(loss.detach()))
        with torch.no_grad():
            self.teacher.bias.mul_(0.9).add_(output.mean(0), alpha=0.1)
        return loss * (1 + sum(self.losses) / 10) + (output - self.teacher.bias).square().mean()


class Remembering(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0
        self.register_buffer("mean", torch.zeros(()), persistent=False)

    def get_extra_state(self):
        return {"calls": self.calls}

    def set_extra_state(self, state):
        self.calls = state["calls"]

    def forward(self, output, target):
        self.calls += 1
        self.mean.mul_(0.9).add_(output.detach().mean(), alpha=0.1)
        return (
            nn.functional.cross_entropy(output, target) / (1 + self.calls / 20) + (output - self.mean).square().mean()
        )


class Counting(torch.optim.Optimizer):
    """It remembers in attributes, in groups and beside weights, and not in tensors alone."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr, "history": {"n": 0}, "last": deque(maxlen=3), "best": float("inf")})
        self.calls, self.log, self.mean, self.table = 0, [], torch.zeros(()), {"a": {"b": 1}}

    @torch.no_grad()
    def step(self, closure=None):
        self.calls += 1
        self.log.append(self.calls)
        self.mean = self.mean + 1
        self.table["a"]["b"] += 1
        scale = 1 + self.calls / 10 + len(self.log) / 20 + float(self.mean) / 30 + self.table["a"]["b"] / 40
        for group in self.param_groups:
            group["history"]["n"] += 1
            group["last"].append(group["history"]["n"])
            group["best"] = min(group["best"], 1 / self.calls)
            for weight in group["params"]:
                own = self.state[weight]
                own.setdefault("gradients", deque(maxlen=2)).append(weight.grad.clone())
                own["factor"] = np.float64(own.get("factor", 1.0) * 0.99)
                own["seen"] = own.get("seen", set()) | {self.calls % 4}
                rate = group["lr"] * own["factor"] * group["best"] * sum(group["last"]) / len(own["seen"]) / scale
                weight.sub_(sum(own["gradients"]) * rate)


OWN = {
    "loss object": lambda model: {"loss": Momentum()},
    "loss method": lambda model: {"loss": Momentum().__call__},
    "loss module": lambda model: {"loss": Remembering()},
    "loss of terms": lambda model: {"loss": [(0.5, Momentum()), (0.5, Remembering())]},
    "optimizer class": lambda model: {"optimizer": Counting},
    "optimizer": lambda model: {"optimizer": Counting(model.parameters())},
}


@pytest.mark.parametrize("name", OWN)
def test_what_loss_and_optimizer_keep_goes_back_and_is_stored(make_run, mlp, weights, blobs, tmp_path, name):
    model = mlp()
    run = make_run(model, batch_size=20, lr=0.1, epochs=99, store=tmp_path, **OWN[name](model))
    past = []
    for _step in range(9):
        past.append(weights(run))
        run.step(1)
    end = weights(run)
    twin = run.replay()
    twin.wait()
    assert torch.equal(weights(twin), end)
    branch = run.branch(4)
    branch.step(5)
    assert torch.equal(weights(branch), end)
    run.rewind(3)
    assert torch.equal(weights(run), past[3])
    run.step(6)
    assert torch.equal(weights(run), end)
    run.stop()
    other = mlp()
    again = nbopt.open(run.id, other, blobs, store=tmp_path, **OWN[name](other))
    run.step(4)
    again.step(4)
    assert torch.equal(weights(again), weights(run))


# -- what is not kept


class Opaque(Base):
    def start(self):
        self.inside = {"stream": iter([1.0] * 1000)}
        self.lock = threading.Lock()

    def scale(self, x):
        return next(self.inside["stream"])


COUNT = 0


def test_what_no_snapshot_holds_is_named(make_run):
    seen = []

    def forward(net, batch):
        global COUNT
        COUNT += 1
        seen.append(COUNT)
        return net(batch[0]), batch[1]

    run = make_run(Opaque(), forward=forward)
    run.step(2)
    assert name_unheld(run.training) == [
        "model.inside['stream'] (a list_iterator)",
        "COUNT, which forward sets",
        "seen, which forward reads",
    ]


def test_of_a_model_of_torch_s_all_is_held(make_run):
    run = make_run()
    run.step(2)
    assert name_unheld(run.training) == []


def test_what_does_not_change_is_held_once(make_run):
    class Constant(Base):
        def start(self):
            self.table, self.words = torch.zeros(1000, 100), {f"word {k}": k for k in range(1000)}

        def scale(self, x):
            return 1.0

    run = make_run(Constant(), batch_size=20, epochs=99)
    for _step in range(4):
        run.step(1)
        run.training.securing.take()
    held = [snapshot.tensors["kept.model.table"] for snapshot in run.snapshots]
    assert len(held) > 3
    assert all(tensor is held[0] for tensor in held)


# -- a store that somebody else wrote


def rewrite(run, change):
    """Change what the stored snapshots say of what the model keeps, and their checksums with it."""
    for path in run.store.glob("snapshots/*/*.safetensors"):
        snapshot = load(path)
        change(snapshot.facts["kept"])
        snapshot.facts["kept"]["token"] = "of another process"
        save(snapshot, path)


def attribute(kept, name):
    return next(pair for pair in kept["roots"]["model"]["module"] if pair[0] == name)


class Named(Base):
    def start(self):
        self.calls, self.folder, self.phase = 0, "/safe", "warm up"

    def scale(self, x):
        self.calls += 1
        return 1 + self.calls / 10


def stored(make_run, tmp_path):
    run = make_run(Named(), batch_size=20, lr=0.1, epochs=99, store=tmp_path)
    run.step(3)
    run.stop()
    writer.flush()
    return run


def test_a_stored_text_that_could_be_a_path_is_not_taken_over(make_run, blobs, tmp_path):
    run = stored(make_run, tmp_path)

    def change(kept):
        attribute(kept, "folder")[1], attribute(kept, "phase")[1] = "/etc", "main"

    rewrite(run, change)
    with pytest.warns(UserWarning, match=r"model\.folder could not be put back"):
        again = nbopt.open(run.id, Named(), blobs, store=tmp_path)
    assert (again.model.folder, again.model.phase) == ("/safe", "main")


BAD = {
    "no form": lambda kept: kept.update(roots=3),
    "unknown kind": lambda kept: attribute(kept, "calls").__setitem__(1, {"code": "import os"}),
    "two kinds": lambda kept: attribute(kept, "calls").__setitem__(1, {"float": "nan", "list": []}),
    "no such tensor": lambda kept: attribute(kept, "calls").__setitem__(1, {"tensor": "x", "device": False}),
    "a list": lambda kept: attribute(kept, "calls").__setitem__(1, [1]),
    "endless": lambda kept: attribute(kept, "calls").__setitem__(
        1, {"array": "kept.model", "dtype": "f8", "shape": [2**60]}
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_kept_in_another_form_is_spoilt(make_run, blobs, tmp_path, name):
    run = stored(make_run, tmp_path)
    rewrite(run, BAD[name])
    with pytest.raises(StoreError, match="is spoilt: its snapshot"):
        nbopt.open(run.id, Named(), blobs, store=tmp_path)


@pytest.mark.parametrize("kind", ["os.system", "subprocess.Popen", "builtins.eval", "test_outside.Named"])
def test_no_class_is_looked_up_that_was_not_seen(make_run, blobs, tmp_path, kind):
    run = stored(make_run, tmp_path)
    made = {"object": [["x", 1]], "class": kind}
    rewrite(run, lambda kept: attribute(kept, "calls").__setitem__(1, made))
    with pytest.warns(UserWarning, match=r"model\.calls could not be put back"):
        again = nbopt.open(run.id, Named(), blobs, store=tmp_path)
    assert isinstance(again.model.calls, int)
