"""Compiled steps repeat what a model's Python code reads, or it is said why they cannot."""

import collections
import enum
import functools
import math
import os
import random
import re
import time
from types import MethodType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from nbopt.training.compile.reads import Reads
from tests.training.reading import (
    NUMBER,
    STATE,
    Config,
    Model,
    closing_over,
    helper,
    inner_helper,
    model_of,
    table,
    tagged,
)

WORDS = ("a", "b")
LIST = [1.0]
ARRAY = np.ones(3)
TENSOR = torch.ones(3)
LAYER = nn.Linear(3, 3)
SETTINGS = SimpleNamespace(scale=1.0)
COUNT = 0


class Kind(enum.Enum):
    PLAIN = "plain"


class Pair(collections.namedtuple("Pair", "a b")):
    pass


def deep_helper(x):
    return inner_helper(x)


def keeping(x, seen=[]):  # noqa: B006
    seen.append(1)
    return x / len(seen)


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.two = 2
        return x**2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.two * ctx.saved_tensors[0]


class Careless(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * STATE["now"]


class CarelessConfig:
    scales = [1.0]  # noqa: RUF012


class Mixin:
    def mix(self, x):
        return x * STATE["now"]


class Mixed(Mixin, Model):
    def forward(self, x):
        return self.mix(self.layer(x))


class OtherModel(Model):
    def careless(self, x):
        return x * STATE["now"]


class Grown(nn.Linear):
    def forward(self, x):
        return super().forward(x) * self.scale()

    def scale(self):
        return NUMBER


class Overridden(nn.MultiheadAttention):
    def merge_masks(self, *given):
        return STATE["now"]


def carelessly_tagged(x):
    return x * carelessly_tagged.scale[0]


carelessly_tagged.scale = [1.0]


def count_up(self, x):
    global COUNT
    COUNT += 1
    return self.layer(x) / COUNT


def closure_counter():
    count = 0

    def forward(self, x):
        nonlocal count
        count += 1
        return self.layer(x) / count

    return forward


def sets_attribute(self, x):
    self.last = self.layer(x)
    return self.last


def imports(self, x):
    import random as r

    return self.layer(x) * r.random()


def prints(self, x):
    print(len(x))
    return self.layer(x)


def nested(self, x):
    def scale(y):
        return next(y * STATE[key] for key in ("now",))

    return scale(self.layer(x))


OBSTACLES = {
    "global dict": (lambda self, x: self.layer(x) / STATE["now"], {}, "STATE, a global"),
    "global list": (lambda self, x: self.layer(x) / LIST[0], {}, "LIST, a global"),
    "global array": (lambda self, x: self.layer(x) / float(ARRAY[0]), {}, "ARRAY, a global"),
    "global tensor": (lambda self, x: self.layer(x) / TENSOR, {}, "TENSOR, a global"),
    "global layer": (lambda self, x: LAYER(self.layer(x)), {}, "LAYER, a global"),
    "global object": (lambda self, x: self.layer(x) / SETTINGS.scale, {}, "SETTINGS, a global"),
    "through functions": (lambda self, x: deep_helper(self.layer(x)), {}, "STATE, a global"),
    "in a nested function": (nested, {}, "STATE, a global"),
    "closed-over dict": (closing_over({"a": 1}), {}, "value of a closure"),
    "closed-over array": (closing_over(np.ones(3)), {}, "value of a closure"),
    "closed-over tensor": (closing_over(torch.ones(3)), {}, "value of a closure"),
    "global counter": (count_up, {}, "sets COUNT"),
    "closure counter": (closure_counter(), {}, "sets count"),
    "attribute set": (sets_attribute, {}, "sets last"),
    "default list": (lambda self, x: keeping(self.layer(x)), {}, "default argument of keeping"),
    "numpy random": (lambda self, x: self.layer(x) * np.random.rand(), {}, r"np\.random\.rand"),
    "random": (lambda self, x: self.layer(x) * random.random(), {}, r"random\.random"),
    "time": (lambda self, x: self.layer(x) * time.time(), {}, r"time\.time"),
    "environment": (lambda self, x: self.layer(x) * float(os.environ.get("A", 1)), {}, r"os\.environ"),
    "os function": (lambda self, x: self.layer(x) * float(os.getenv("A", "1")), {}, "environ"),
    "file": (lambda self, x: self.layer(x) * len(open("a").read()), {}, "calls open"),
    "print": (prints, {}, "calls print"),
    "import": (imports, {}, "imports random"),
    "dict attribute": (lambda self, x: self.layer(x) / self.dict["a"], {"dict": {"a": 1.0}}, "dict of Cooled"),
    "list attribute": (lambda self, x: self.layer(x) / self.sizes[0], {"sizes": [1]}, "sizes of Cooled"),
    "array attribute": (lambda self, x: self.layer(x) / float(self.a[0]), {"a": np.ones(2)}, "a of Cooled"),
    "tensor attribute": (lambda self, x: self.layer(x) / self.a, {"a": torch.ones(3)}, "a of Cooled"),
    "object attribute": (lambda self, x: x / self.a.now[0], {"a": SimpleNamespace(now=[1])}, "a of Cooled.now"),
    "generator attribute": (lambda self, x: x * torch.rand(1, generator=self.g), {"g": torch.Generator()}, "g of"),
    "function attribute": (lambda self, x: self.act(self.layer(x)), {"act": inner_helper}, "STATE, a global"),
    "lambda attribute": (lambda self, x: self.act(x), {"act": lambda x: x * STATE["now"]}, "STATE, a global"),
    "partial": (lambda self, x: self.act(self.layer(x)), {"act": functools.partial(torch.mul, other=TENSOR)}, "act of"),
    "partial of a function": (lambda self, x: self.act(x), {"act": functools.partial(inner_helper)}, "STATE, a global"),
    "tuple of lists": (lambda self, x: self.layer(x) * self.a[0][0], {"a": ([1.0],)}, "a of Cooled"),
    "getattr": (lambda self, x: getattr(self, "act")(x), {"act": inner_helper}, "."),  # noqa: B009
    "vars": (lambda self, x: self.layer(x) * vars(self)["a"], {"a": 1.0}, "calls vars"),
    "property": (lambda self, x: self.layer(x) * self.spoilt, {}, "STATE, a global"),
    "method": (lambda self, x: self.careless_method(self.layer(x)), {}, r"random\.random"),
    "class attribute": (lambda self, x: self.layer(x) * self.table["a"], {}, "Cooled.table|Model.table"),
    "own autograd": (lambda self, x: Careless.apply(self.layer(x)), {}, "STATE, a global"),
    "class": (lambda self, x: self.layer(x) * CarelessConfig.scales[0], {}, "CarelessConfig.scales"),
    "method of another class": (lambda self, x: OtherModel.careless(self, x), {}, "STATE, a global"),
    "attribute of a function": (lambda self, x: carelessly_tagged(self.layer(x)), {}, "carelessly_tagged.scale"),
    "attribute of a layer": (lambda self, x: self.layer(x) * self.layer.scales[0], {}, "scales of Linear"),
    "nested comprehension": (lambda self, x: next(x * STATE[key] for key in ("now",)), {}, "STATE, a global"),
}  # fmt: skip


@pytest.mark.parametrize("name", OBSTACLES)
def test_what_may_change_unseen_is_an_obstacle_in_words(name):
    forward, attributes, reason = OBSTACLES[name]
    model = model_of(forward, **attributes)
    model.layer.scales = [1.0]
    obstacle = Reads(nn.Sequential(model, nn.ReLU())).obstacle
    assert obstacle.startswith("forward ")
    assert re.search(reason, obstacle)


FINE = {
    "torch alone": (lambda self, x: torch.relu(functional.linear(x, self.layer.weight)), {}),
    "number": (lambda self, x: self.layer(x) * NUMBER, {}),
    "words": (lambda self, x: self.layer(x) * len(WORDS), {}),
    "helper": (lambda self, x: helper(self.layer(x)), {}),
    "closure of a number": (closing_over(2.0), {}),
    "math": (lambda self, x: self.layer(x) * math.sqrt(self.layer.in_features) * np.sqrt(2.0) * np.pi, {}),
    "property and method": (lambda self, x: self.method(x) + self.prop, {}),
    "class constant": (lambda self, x: self.layer(x) * self.const, {}),
    "torch function held": (lambda self, x: self.act(self.layer(x)), {"act": functional.relu}),
    "partial": (lambda self, x: self.act(x), {"act": functools.partial(functional.leaky_relu, negative_slope=0.1)}),
    "own autograd": (lambda self, x: Square.apply(self.layer(x)), {}),
    "cached function": (lambda self, x: self.layer(x) * table(4), {}),
    "enum": (lambda self, x: self.layer(x) if self.kind is Kind.PLAIN else x, {"kind": Kind.PLAIN}),
    "named tuple": (lambda self, x: Pair(self.layer(x), x).a, {}),
    "assert and raise": (lambda self, x: self.layer(x) if x.ndim == 2 else functional.relu(ValueError), {}),
    "loops": (lambda self, x: sum(layer(x) for layer in [self.layer, self.other]), {}),
    "writes to tensors": (lambda self, x: self.layer(x).index_fill_(1, torch.tensor([0]), 0.0), {}),
    "class of settings": (lambda self, x: self.layer(x) * Config.scale * Config().factor(), {}),
    "attribute of a function": (lambda self, x: tagged(self.layer(x)), {}),
    "parameters": (lambda self, x: self.layer(x).to(next(self.parameters()).device), {}),
    "configuration": (lambda self, x: self.layer(x) * self.cfg.scale, {"cfg": SETTINGS}),
    "configuration of a class": (lambda self, x: self.layer(x) * self.cfg.factor(), {"cfg": Config()}),
    "class made": (lambda self, x: self.layer(x) if isinstance(self.layer, Grown) else self.other(x), {}),
    "unused dict": (Model.forward, {"notes": {"a": 1}}),
    "cuts": (lambda self, x: self.layer(x)[..., : self.size], {"size": 3}),
}  # fmt: skip


@pytest.mark.parametrize("name", FINE)
def test_what_cannot_change_unseen_is_none(name):
    forward, attributes = FINE[name]
    assert Reads(model_of(forward, **attributes)).obstacle == ""


@pytest.mark.parametrize("model", [nn.Linear(4, 3), Model()], ids=["torch's", "own"])
def test_a_forward_put_in_the_place_of_another_is_looked_at(model):
    model.forward = lambda x: x * STATE["now"]
    assert "STATE, a global" in Reads(model).obstacle
    model.forward = MethodType(lambda self, x: self.weight * NUMBER, model)
    assert Reads(model).obstacle == ""
    before = model.forward
    model.forward = lambda x: before(x)  # of this very model: a copy's is another one
    assert "before of a closure" in Reads(model).obstacle


@pytest.mark.parametrize("model", [Mixed(), Overridden(4, 2)], ids=["mixin", "method of torch's overridden"])
def test_methods_from_anywhere_in_a_class_are_looked_at(model):
    assert "STATE, a global" in Reads(nn.Sequential(model)).obstacle


def test_torch_s_own_modules_are_known():
    layers = [
        nn.Linear(4, 4),
        nn.BatchNorm1d(4),
        nn.GELU(),
        nn.Dropout(0.1),
        nn.LSTM(4, 4),
        nn.MultiheadAttention(4, 2),
    ]
    layers += [nn.TransformerEncoderLayer(4, 2, activation=functional.gelu), nn.Unflatten(1, (2, 2)), nn.ModuleList()]
    assert Reads(nn.Sequential(*layers)).obstacle == ""
    careless = nn.TransformerEncoderLayer(4, 2, activation=lambda x: x * STATE["now"])
    assert "STATE" in Reads(nn.Sequential(careless)).obstacle
