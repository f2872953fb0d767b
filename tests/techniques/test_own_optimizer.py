"""An optimizer that neither nbopt nor torch has, written as people write one."""

import copy

import pytest
import torch
from torch import nn

import nbopt
from tests.export import scripts

pytestmark = pytest.mark.usefixtures("one_torch_thread")


class Lion(torch.optim.Optimizer):
    """Step by the sign of an interpolated momentum (Chen et al. 2023, algorithm 2)."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            first, second = group["betas"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                mean = self.state[weight].setdefault("exp_avg", torch.zeros_like(weight))
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(torch.sign(mean * first + weight.grad * (1 - first)), alpha=-group["lr"])
                mean.mul_(second).add_(weight.grad, alpha=1 - second)


def make():
    torch.manual_seed(0)
    x = torch.randn(24, 6)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    data = x, torch.arange(24) % 3
    initial = copy.deepcopy(model)
    return nbopt.Run(model, data, data, optimizer=Lion, lr=0.01, batch_size=8, epochs=4, store=None), initial


def weights(model):
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


@pytest.mark.parametrize(
    "changes",
    [{5: {"lr": 0.003, "weight_decay": 0.1}}, {4: {"optimizer": "adam"}, 8: {"optimizer": "Lion"}}],
    ids=["settings", "swapped away and back"],
)
def test_it_is_replayed_and_exported_with_changes(changes):
    run, initial = make()
    scripts.follow(run, changes)
    replay = run.replay()
    replay.wait(60)
    assert torch.equal(weights(replay.model), weights(run.model))
    _text, largest = scripts.check(run, initial, run.spec.train, run.spec.val)
    assert largest == 0.0
