"""The update is torch's own, bit for bit, whatever the optimizer's state and settings."""

import copy

import pytest
import torch
from torch import nn

from nbopt.techniques.optimizers.update import Update

KINDS = {
    "sgd": lambda params: torch.optim.SGD(params, lr=0.1),
    "sgd decaying": lambda params: torch.optim.SGD(params, lr=0.1, weight_decay=0.3),
    "momentum": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.3),
    "nesterov": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True),
    "dampening": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9, dampening=0.5),
    "adam": lambda params: torch.optim.Adam(params, lr=0.1, weight_decay=0.3, fused=True),
    "adamw": lambda params: torch.optim.AdamW(params, lr=0.1, fused=True),
    "adam, not fused": lambda params: torch.optim.Adam(params, lr=0.1),
    "amsgrad": lambda params: torch.optim.Adam(params, lr=0.1, amsgrad=True, fused=True),
    "groups": lambda params: torch.optim.SGD([{"params": params[:1]}, {"params": params[1:], "momentum": 0.9}], lr=0.1),
    "maximize": lambda params: torch.optim.SGD(params, lr=0.1, maximize=True),
    "rmsprop": lambda params: torch.optim.RMSprop(params, lr=0.1),
}


class Pair:
    """The same weights twice: one updated by torch, one by us."""

    def __init__(self, make, dtype=torch.float32):
        torch.manual_seed(0)
        first = [nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in ((5, 4), (5,), (3, 5))]
        self.weights = [first, copy.deepcopy(first)]
        self.optimizers = [make(weights) for weights in self.weights]
        self.updates = [self.optimizers[0].step, Update(self.optimizers[1])]

    def step(self, skip=None):
        gradients = [torch.randn_like(weight) for weight in self.weights[0]]
        for weights, update in zip(self.weights, self.updates, strict=True):
            for k, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
                weight.grad = None if k == skip else gradient.clone()
            update()

    def change(self, **settings):
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group.update(settings)

    @property
    def same(self):
        states = [torch.cat([w.detach().flatten() for w in weights]) for weights in self.weights]
        return torch.equal(*states)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_torch_s_own_numbers(kind, dtype):
    pair = Pair(KINDS[kind], dtype)
    for step in range(8):
        if step == 4:
            pair.change(lr=0.03, weight_decay=0.1)
        pair.step()
        assert pair.same


def test_momentum_that_comes_and_goes():
    pair = Pair(KINDS["sgd"])
    for momentum in (0.0, 0.9, 0.9, 0.0, 0.5, 0.5):
        pair.change(momentum=momentum)
        pair.step()
        assert pair.same


@pytest.mark.parametrize("kind", ["momentum", "adam"])
def test_a_weight_without_gradient_stays(kind):
    pair = Pair(KINDS[kind])
    for skip in (1, None, 1, None):
        pair.step(skip)
        assert pair.same


@pytest.mark.parametrize("kind", ["momentum", "adam"])
def test_a_loaded_state_counts(kind):
    pair = Pair(KINDS[kind])
    for _ in range(3):
        pair.step()
    kept = [copy.deepcopy(optimizer.state_dict()) for optimizer in pair.optimizers]
    pair.step()
    for optimizer, state in zip(pair.optimizers, kept, strict=True):
        optimizer.load_state_dict(state)
    pair.step()
    assert pair.same


def test_what_the_user_hooked_to_the_optimizer_is_called():
    pair = Pair(KINDS["sgd"])
    calls = []
    pair.optimizers[1].register_step_post_hook(lambda *_args: calls.append(1))
    pair.step()
    assert calls == [1]
    assert pair.same


def test_a_step_of_the_user_s_own_is_used():
    pair = Pair(KINDS["sgd"])
    optimizer, calls = pair.optimizers[1], []
    optimizer.step = lambda: calls.append(1)
    pair.updates[1] = Update(optimizer)
    pair.step()
    assert calls == [1]


def test_sparse_gradients_are_left_to_torch():
    layers = [nn.Embedding(6, 3, sparse=True) for _side in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    optimizers = [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in layers]
    updates = [optimizers[0].step, Update(optimizers[1])]
    for rows in ([0, 2], [2, 2], [5]):
        for layer, update in zip(layers, updates, strict=True):
            layer.weight.grad = None
            layer(torch.tensor(rows)).sum().backward()
            update()
        assert torch.equal(layers[0].weight, layers[1].weight)
