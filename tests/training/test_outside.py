"""State that no ``state_dict`` holds: it goes back with the run, into copies, and into another process."""

import threading
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import nbopt
from nbopt.store import writer
from nbopt.store.schema import StoreError
from nbopt.store.tensors import load, save
from nbopt.training.outside import name_unheld

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
# what a run opened in another process cannot be given: a class or function that only steps bring in
NOT_REOPENED = {"StatefulByName", "Lazy", "Switching"}


@OLD
@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_keeps_goes_back_with_it_and_into_its_copies(make_run, weights, name):
    run = make_run(MODELS[name](), batch_size=20, lr=0.1, epochs=99)
    past = []
    for _step in range(12):
        past.append(weights(run))
        run.step(1)
    end = weights(run)
    twin = run.replay()
    twin.wait()
    assert torch.equal(weights(twin), end)
    branch = run.branch(7)
    assert torch.equal(weights(branch), past[7])
    branch.step(5)
    assert torch.equal(weights(branch), end)
    run.find_lr(steps=10)
    assert torch.equal(weights(run), end)
    run.rewind(3)
    assert torch.equal(weights(run), past[3])
    run.step(9)
    assert torch.equal(weights(run), end)
    run.rewind(0)
    run.step(12)
    assert torch.equal(weights(run), end)


@OLD
@pytest.mark.parametrize("name", [name for name in MODELS if name not in NOT_REOPENED])
def test_what_a_model_keeps_is_stored(make_run, weights, blobs, tmp_path, name):
    run = make_run(MODELS[name](), batch_size=20, lr=0.1, epochs=99, store=tmp_path)
    run.step(9)
    run.stop()
    again = nbopt.open(run.id, MODELS[name](), blobs, store=tmp_path)
    assert torch.equal(weights(again), weights(run))
    run.step(5)
    again.step(5)
    assert torch.equal(weights(again), weights(run))


# -- looking at it


class Watching(Base):
    """It keeps of all that passes, in evaluation mode too."""

    def start(self):
        self.register_buffer("mean", torch.zeros(4))
        self.seen, self.before = [], torch.zeros(4)

    def scale(self, x):
        with torch.no_grad():
            self.mean += x.mean(0)
        self.seen.append(len(x))
        self.before = self.before + x.detach().mean(0)
        return 1 + self.mean / 10 + len(self.seen) / 20 + self.before / 10


@pytest.mark.parametrize("kind", [Watching, Stateful], ids=lambda kind: kind.__name__)
def test_looking_at_a_model_leaves_what_it_keeps(make_run, weights, blobs, kind):
    def make():
        run = make_run(kind(), batch_size=20, lr=0.1, epochs=99)
        run.step(5)
        return run

    alone, run = make(), make()
    run.predict(blobs[0][:20])
    if kind is Stateful:  # what is in its state_dict is the user's to change
        with run.at_rest():
            run.model(blobs[0][:20])
    alone.step(3)
    run.step(3)
    assert torch.equal(weights(run), weights(alone))


def test_finding_out_how_a_batch_is_cut_leaves_what_a_model_keeps(make_run, blobs, mlp):
    def begin(**settings):
        model = Annealed()
        run = make_run(model, batch_size=20, epochs=99, **settings)
        run.step(2)
        return model.calls

    assert begin() == 2
    assert begin(micro_batch=10) == 4  # two parts, each once


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
