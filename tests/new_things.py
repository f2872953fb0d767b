"""One of each kind of thing that can be added to nbopt, as a module of its own would have it."""

SAMPLER = """
import numpy as np

def ends(question):
    "Take the lower and the upper end of all ranges in turn."
    return question.space.at(np.full(question.size, question.number % 2))
"""

PRUNER = """
def strict(pruners, most):
    "Prune whatever has a loss."
    return pruners.ThresholdPruner(upper=0.0)
"""

EXECUTOR = """
from nbopt.search.executors.executor import Inline

class Counting(Inline):
    "Count the trials."

    taken = 0

    def submit(self, job):
        self.taken += 1
        super().submit(job)
"""

EDIT = """
from dataclasses import dataclass
import torch
from nbopt.training.structure.edit import Edit, Plan, Resize

@dataclass(frozen=True)
class Reorder(Edit):
    "Give the units between two layers another order."

    layer: str
    into: str
    kind = "reorder"

    def prepare(self, training):
        return self

    def plan(self, model, generator):
        layer = model.get_submodule(self.layer)
        units = torch.randperm(layer.out_features, generator=generator)
        resizes = {f"{self.layer}.{name}": Resize(0, units) for name, _weight in layer.named_parameters()}
        if self.into != self.layer:
            resizes[f"{self.into}.weight"] = Resize(1, units)
        return Plan(resizes, [], f"{self.layer}: another order")
"""

TECHNIQUE = """
import torch
import nbopt

class Shrink(nbopt.Technique):
    "Multiply all weights by a factor after each step."

    shrink = nbopt.Float(1.0, low=0.9, high=1.0, ge=0.0, label="Shrink", group="Own")

    @property
    def acts(self):
        return self.shrink != 1.0

    @torch.no_grad()
    def after_step(self, loss):
        for weight in self.weights:
            weight.mul_(self.shrink)
"""

SCHEDULE_MODULE = """
from nbopt.hyperparams import Float
from nbopt.techniques.schedules.planned import Schedule

class Root(Schedule):
    "The base rate over the root of the epochs."

    root_offset = Float(1.0, low=0.1, high=10.0, gt=0.0, label="Offset", group="Optimizer")

    def change_rate(self, rate, step, epoch, done):
        return rate / (self.root_offset + epoch) ** 0.5
"""

OPTIMIZER = """
import torch
from nbopt.techniques.optimizers.base import Optimizer

class Rprop(Optimizer):
    "Resilient backpropagation (Riedmiller and Braun 1993)."

    torch_class = torch.optim.Rprop
    memory = {"prev": "gradient before", "step_size": "step of each weight"}

    def settings(self):
        return {"lr": self.lr}
"""

LOSS = """
from torch.nn import functional
from nbopt.techniques.losses.regression import Elementwise

class SmoothL1(Elementwise):
    "Squared up to 1, linear beyond (Girshick 2015)."

    task, name = "regression", "smooth_l1"
    source = "functional.smooth_l1_loss(output, {target})"

    def __call__(self, output, target):
        return functional.smooth_l1_loss(output, target)
"""

METRIC = """
import torch

def worst(output, target):
    "Largest absolute error."
    return (output.reshape(len(output), -1) - target.reshape(len(target), -1)).abs().max()
"""

FAMILY = """
from torch import nn
from nbopt.techniques.models.base import Model, width_of

class Wide(Model):
    "One wide hidden layer."

    width = width_of(64)

    def build(self, inputs, outputs):
        self.layers = nn.Sequential(nn.Linear(inputs, self.width), nn.ReLU(), nn.Linear(self.width, outputs))

    def forward(self, x):
        return self.layers(x)
"""

SOURCE = """
import numpy as np
import torch
from nbopt.data.tensor_source import TensorSource

class CsvSource(TensorSource):
    "Rows of numbers, the last of each the class."

    def __init__(self, path):
        rows = torch.from_numpy(np.loadtxt(path, delimiter=",", dtype="float32"))
        super().__init__([rows[:, :-1], rows[:, -1].long()], True, None)
"""

PICTURE = """
from typing import NamedTuple

class Sparkline(NamedTuple):
    values: list

def sparkline(history):
    return Sparkline(history["loss"][1].tolist()[-20:])
"""

LESSON = """
from nbopt.notebook.playground.lessons import Lesson, Setup

PATIENCE = Lesson("Patience", "Wait.", Setup("moons"), {"lr": 0.02})
"""
