"""An optimizer of a run over two weights, beside a loop written by hand."""

import torch
from torch import nn

from nbopt.hyperparams import Hyperparams
from nbopt.techniques.optimizers.groups import Groups
from nbopt.techniques.optimizers.standard import optimizer_choice


def weights(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in [(4, 3), (3,)]]


def differentiate(params, step):
    """Set gradients that depend on weights and step."""
    for number, param in enumerate(params):
        param.grad = torch.sin(param.detach() * (number + 2) + step)


class Tuned:
    """One of nbopt's optimizers over weights, with its live values."""

    def __init__(self, given, params, adopt=None, **values):
        spec, own = optimizer_choice(given)
        self.hyperparams = Hyperparams()
        self.hyperparams.declare(spec)
        for name, value in self.hyperparams.check({**own, **values}).items():
            self.hyperparams.assign(name, value)
        self.part = spec.classes[spec.default]()
        self.hyperparams.bind(self.part)
        self.torch = self.part.build(Groups(params, adopt))

    def set(self, **changes):
        for name, value in self.hyperparams.check(changes).items():
            self.hyperparams.assign(name, value)
