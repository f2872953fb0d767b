"""Optimizers that step by another one that they hold: as in a plain loop, there and back, or refused in words."""

import pytest
import torch
from torch.nn import functional

import nbopt
from nbopt.errors import InvalidHyperparam

pytestmark = pytest.mark.usefixtures("one_torch_thread")


class Lookahead(torch.optim.Optimizer):
    """Zhang et al. 2019, around any optimizer, whose groups and state it shares."""

    def __init__(self, inner):
        super().__init__(inner.param_groups, inner.defaults)
        self.inner, self.steps = inner, 0
        self.param_groups, self.state = inner.param_groups, inner.state
        self.slow = [weight.detach().clone() for group in self.param_groups for weight in group["params"]]

    @torch.no_grad()
    def step(self, closure=None):
        self.inner.step()
        self.steps += 1
        weights = [weight for group in self.param_groups for weight in group["params"]]
        for weight, slow in zip(weights, self.slow, strict=True):
            if not self.steps % 5:
                weight.copy_(slow.lerp_(weight, 0.5))


class Both(torch.optim.Optimizer):
    """One for matrices, one for all else, as people combine Muon with Adam."""

    def __init__(self, weights):
        weights = list(weights)
        self.first = torch.optim.SGD([weight for weight in weights if weight.ndim > 1], lr=0.1, momentum=0.9)
        self.second = torch.optim.Adam([weight for weight in weights if weight.ndim < 2], lr=0.01)
        super().__init__(weights, {"lr": 0.1})
        self.param_groups = self.first.param_groups + self.second.param_groups

    def step(self, closure=None):
        self.first.step()
        self.second.step()


class Apart(torch.optim.Optimizer):
    """Steps by an optimizer with groups of its own."""

    def __init__(self, weights):
        weights = list(weights)
        super().__init__(weights, {"lr": 0.1})
        self.inner = torch.optim.SGD(weights, lr=0.1)

    def step(self, closure=None):
        self.inner.step()


class Unmade(Lookahead):
    """Made without torch's own ``__init__``."""

    def __init__(self, inner):
        self.inner, self.param_groups, self.state = inner, inner.param_groups, inner.state


def around(weights):
    return Lookahead(torch.optim.SGD(weights, lr=0.1, momentum=0.9))


@pytest.mark.parametrize("make", [around, Both])
def test_they_do_as_in_a_plain_loop_and_go_back(mlp, blobs, weights, make):
    theirs, model = mlp(), mlp()
    optimizer = make(theirs.parameters())
    x, y = blobs
    for step in range(12):
        optimizer.zero_grad()
        part = slice(20 * (step % 3), 20 * (step % 3) + 20)
        functional.cross_entropy(theirs(x[part]), y[part]).backward()
        optimizer.step()
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x[:60], y[:60]), batch_size=20)
    run = nbopt.Run(model, data, optimizer=make(model.parameters()), epochs=99, store=None)
    run.step(12)
    right = torch.nn.utils.parameters_to_vector(theirs.parameters())
    assert torch.equal(weights(run), right)
    run.rewind(4)
    run.step(8)
    branch = run.branch(at=4)
    branch.step(8)
    for led in (run, branch):
        assert torch.equal(weights(led), right) and led.exactness == "exact"
        led.set(lr=0.0)  # which reaches the optimizer inside after a rewind, too
        before = weights(led).clone()
        led.step(2)
        assert torch.equal(weights(led), before)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (Apart, r"steps by another optimizer \(inner\), whose parameter groups are others"),
        (lambda weights: Unmade(torch.optim.SGD(weights, lr=0.1)), r"no whole torch\.optim\.Optimizer: its __init__"),
    ],
    ids=["apart", "unmade"],
)
def test_what_no_setting_would_reach_is_refused(mlp, blobs, make, told):
    model = mlp()
    with pytest.raises(InvalidHyperparam, match=told):
        nbopt.Run(model, blobs, optimizer=make(model.parameters()), store=None)
