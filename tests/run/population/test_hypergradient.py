"""The derivative of the validation loss by hyperparameters, against finite differences."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

import nbopt
from nbopt.errors import InvalidHyperparam
from tests.run.population.shared import dense, digits, model_of

__all__ = ["digits"]
pytestmark = pytest.mark.usefixtures("one_torch_thread")

STEPS = 8


def smooth():
    return nn.Sequential(nn.Linear(64, 12), nn.Tanh(), nn.Dropout(0.2), nn.Linear(12, 10)).double()


def normed():
    return nn.Sequential(nn.Linear(64, 12, bias=False), nn.BatchNorm1d(12), nn.Tanh(), nn.Linear(12, 10)).double()


def scaled():
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(64, 12)), nn.Tanh(), nn.Linear(12, 10)).double()


class Attends(nn.Module):
    """Attends to the rows of an image, up to each."""

    def __init__(self):
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 10)
        self.double()

    def forward(self, x):
        rows = x.view(-1, 8, 8)
        rows = self.attention(rows, rows, rows, need_weights=False)[0]
        return self.head(functional.scaled_dot_product_attention(rows, rows, rows, is_causal=True).mean(1))


class Averaging(nn.Module):
    """Takes the mean of its features so far from them."""

    def __init__(self):
        super().__init__()
        self.layers, self.head = nn.Sequential(nn.Linear(64, 12), nn.Tanh()), nn.Linear(12, 10)
        self.register_buffer("mean", torch.zeros(12))

    def forward(self, x):
        features = self.layers(x)
        if self.training:
            with torch.no_grad():
                self.mean.mul_(0.9).add_(features.mean(0) * 0.1)
        return self.head(features - self.mean)


class Renormed(nn.Module):
    """Looks up vectors, which it shortens where they are too long."""

    def __init__(self):
        super().__init__()
        self.vectors = nn.Embedding(17, 10, max_norm=0.5)

    def forward(self, x):
        return self.vectors((16 * x).long()).sum(1)


def brightened(model, batch):
    x, y = batch
    return model(2 * x), (y + 1) % 10


def noisy(output, target):
    return functional.cross_entropy(output + 0.1 * torch.randn_like(output), target)


def measured(run, name, value):
    """Return the validation loss of a branch, STEPS steps further on."""
    branch = run.branch(at=run.step_count, **{name: value})
    branch.step(STEPS)
    branch.set(validate_every=1)
    branch.training.validation_due = True
    next(event for event in branch.events() if type(event).__name__ == "Validated")
    return branch.history.last("val_loss")


def compare(run, names):
    """Hold the derivatives against finite differences."""
    run.step(3)
    before = copy.deepcopy(run.model.state_dict())
    found = run.hypergradient(names, steps=STEPS)
    assert all(torch.equal(before[name], tensor) for name, tensor in run.model.state_dict().items())
    for name in names:
        now, width = run.hyperparams[name], 1e-4 * max(run.hyperparams[name], 0.01)
        slope = (measured(run, name, now + width) - measured(run, name, now - width)) / (2 * width)
        assert found[name] == pytest.approx(slope, rel=0.01), name


@pytest.mark.parametrize(
    ("optimizer", "names"),
    [
        ("sgd", ("lr", "weight_decay", "momentum", "l1")),
        ("adam", ("lr", "beta1", "beta2")),
        ("adamw", ("lr", "weight_decay", "label_smoothing")),
    ],
)
def test_it_is_what_finite_differences_give(digits, optimizer, names):
    x, y = digits
    given = {"optimizer": optimizer, "lr": 0.02, "weight_decay": 0.01, "epochs": 20, "store": None}
    given |= {"momentum": 0.5, "l1": 1e-3} if optimizer == "sgd" else {"label_smoothing": 0.1}
    compare(nbopt.Run(model_of(smooth), (x.double(), y), (x.double(), y), schedule="cosine", **given), names)


@pytest.mark.parametrize(
    ("make", "forward"),
    [(normed, None), (scaled, None), (Attends, None), (smooth, brightened)],
    ids=["batch norm", "weight norm", "attention", "forward"],
)
def test_so_it_is_where_torch_has_no_derivative_of_it(digits, make, forward):
    x, y = digits
    given = {"optimizer": "adam", "lr": 0.02, "weight_decay": 0.01, "epochs": 20, "store": None}
    run = nbopt.Run(model_of(make), (x.double(), y), (x.double(), y), forward=forward, **given)
    compare(run, ("lr", "weight_decay"))


@pytest.mark.parametrize(
    ("given", "make", "reason"),
    [
        ({"loss": noisy}, dense, "the loss draws random numbers"),
        ({"max_norm": 1.0}, dense, "MaxNorm acts"),
        ({}, Averaging, "a pass changes mean, which is no part of its graph"),
        ({}, Renormed, "a pass changes vectors.weight, which is no part of its graph"),
        ({"optimizer": lambda model: torch.optim.Adam(model.parameters(), amsgrad=True)}, dense, "an unusual way"),
    ],
    ids=["loss", "max norm", "buffer", "weight", "optimizer"],
)
def test_what_would_be_left_out_is_said(digits, given, make, reason):
    model = model_of(make)
    given = {name: value(model) if name == "optimizer" else value for name, value in given.items()}
    run = nbopt.Run(model, digits, digits, store=None, **given)
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match=f"cannot be differentiated: .*{reason}"):
        run.hypergradient("lr")
    assert torch.equal(torch.get_rng_state(), state)


def test_updates_are_counted_for_each_weight(digits):
    x, y = digits
    given = {"lr": 0.02, "epochs": 20, "store": None}
    found, losses = [], []
    for rate in (0.02, 0.02 + 1e-6, 0.02 - 1e-6):
        run = nbopt.Run(model_of(smooth), (x.double(), y), (x.double(), y), optimizer="sgd", **given)
        run.step(3)
        run.set(optimizer="adam", lr=rate)
        found.append(run.hypergradient("lr", steps=2)["lr"])
        run.step(2)
        losses.append(functional.cross_entropy(run.predict(x.double()), y).item())
    assert found[0] == pytest.approx((losses[1] - losses[2]) / 2e-6, rel=1e-3)


def test_settings_that_no_hyperparameter_tells_of_are_said(digits):
    run = nbopt.Run(model_of(dense), digits, digits, store=None)
    run.step(2)
    run.optimizer.param_groups[0]["betas"] = (0.5, 0.9)
    run.step(2)
    with pytest.raises(ValueError, match="the optimizer is set up in an unusual way"):
        run.hypergradient("lr")


def test_what_has_no_derivative_is_said(digits):
    run = nbopt.Run(model_of(dense), digits, digits, store=None)
    with pytest.raises(InvalidHyperparam, match="batch_size"):
        run.hypergradient("batch_size")
    with pytest.raises(ValueError, match="there is no validation"):
        nbopt.Run(model_of(dense), digits, store=None).hypergradient("lr")
