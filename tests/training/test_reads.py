"""Compiled steps repeat what a model's Python code reads, or it is said why they cannot."""

import collections
import copy
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

from nbopt.training.compile.marks import Marks, find_hooks
from nbopt.training.compile.reads import Reads
from nbopt.training.state import Stepped
from tests.training.tiered import STEPS, only_compiled, pull, switches

NUMBER = 1.0
WORDS = ("a", "b")
STATE = {"now": 1.0}
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


def helper(x, factor=2.0):
    return torch.relu(x) * factor * NUMBER


def deep_helper(x):
    return inner_helper(x)


def inner_helper(x):
    return x * STATE["now"]


def keeping(x, seen=[]):  # noqa: B006
    seen.append(1)
    return x / len(seen)


@functools.lru_cache
def table(n):
    return math.sqrt(n)


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


class Model(nn.Module):
    """A layer, and what a test makes of its output."""

    const = 3.0
    table = {"a": 1.0}  # noqa: RUF012

    def __init__(self, **attributes):
        super().__init__()
        self.layer, self.other = nn.Linear(4, 3), nn.Linear(4, 3)
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.layer(x)

    @property
    def prop(self):
        return self.layer.bias * NUMBER

    @property
    def spoilt(self):
        return STATE["now"]

    @functools.cached_property
    def cached(self):
        return NUMBER

    def method(self, x):
        return self.layer(x) * NUMBER

    def careless_method(self, x):
        return x * random.random()


def model_of(forward, **attributes):
    return type("Cooled", (Model,), {"forward": forward})(**attributes)


def closing_over(value):
    return lambda self, x: self.layer(x) * value


class Config:
    scale = 1.0

    def factor(self):
        return self.scale


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


def tagged(x):
    return x * tagged.scale


tagged.scale = 1.0


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


# -- what is noticed at each call


def watched(forward, **attributes):
    model = model_of(forward, **attributes)
    return model, Reads(model), Marks(model, torch.optim.SGD(model.parameters(), 0.1))


def rebind(monkeypatch, model):
    monkeypatch.setitem(globals(), "NUMBER", 2.0)


def redefine(monkeypatch, model):
    monkeypatch.setitem(globals(), "helper", lambda x: x)


def shadow(monkeypatch, model):
    monkeypatch.setitem(globals(), "len", lambda x: 7)


def patch_math(monkeypatch, model):
    monkeypatch.setattr(math, "pi", 3.0)


def patch_class(monkeypatch, model):
    monkeypatch.setattr(type(model), "forward", lambda self, x: x)


def patch_method(monkeypatch, model):
    monkeypatch.setattr(Model, "method", lambda self, x: x)


def class_constant(monkeypatch, model):
    monkeypatch.setattr(Model, "const", 4.0)


def class_setting(monkeypatch, model):
    monkeypatch.setattr(Config, "scale", 4.0)


def tag(monkeypatch, model):
    monkeypatch.setattr(tagged, "scale", 4.0)


def reload(monkeypatch, model):
    monkeypatch.setattr(helper, "__code__", inner_helper.__code__)


def closure(monkeypatch, model):
    cell = type(model).forward.__closure__[0]
    monkeypatch.setattr(cell, "cell_contents", 5.0)


@pytest.mark.parametrize(
    ("forward", "change"),
    [
        (lambda self, x: self.layer(x) * NUMBER, rebind),
        (lambda self, x: self.method(x), rebind),
        (lambda self, x: self.layer(x) * self.prop, rebind),
        (lambda self, x: helper(self.layer(x)), redefine),
        (lambda self, x: self.layer(x) * len(x), shadow),
        (lambda self, x: self.layer(x) * math.pi, patch_math),
        (lambda self, x: self.layer(x), patch_class),
        (lambda self, x: self.method(x), patch_method),
        (lambda self, x: self.layer(x) * self.const, class_constant),
        (closing_over(2.0), closure),
        (lambda self, x: self.layer(x) * Config.scale, class_setting),
        (lambda self, x: tagged(self.layer(x)), tag),
        (lambda self, x: helper(self.layer(x)), reload),
    ],
)
def test_what_is_bound_anew_is_noticed(monkeypatch, forward, change):
    model, reads, _marks = watched(forward)
    assert reads.obstacle == reads.watched.find_change() == ""
    for again in (model, copy.deepcopy(model)):
        assert Reads(again).watched.find_difference(reads.watched) == ""
    change(monkeypatch, model)
    assert reads.watched.find_change()
    assert Reads(model).watched.find_difference(reads.watched)
    monkeypatch.undo()
    assert reads.watched.find_change() == ""


def test_an_equal_number_is_no_change(monkeypatch):
    _model, reads, _marks = watched(lambda self, x: self.layer(x) * NUMBER)
    monkeypatch.setitem(globals(), "NUMBER", float("1.0"))
    assert reads.watched.find_change() == ""
    monkeypatch.setitem(globals(), "NUMBER", 1)
    assert reads.watched.find_change() == "NUMBER"


EXCHANGES = {
    "attribute": lambda model: setattr(model, "size", 2),
    "held function": lambda model: setattr(model, "act", functional.gelu),
    "new attribute": lambda model: setattr(model, "more", 2),
    "patched forward": lambda model: setattr(model, "forward", lambda x: x),
    "patched forward of a layer": lambda model: setattr(model.layer, "forward", lambda x: x),
    "setting of a layer": lambda model: setattr(model.norm, "eps", 0.1),
    "buffer": lambda model: model.register_buffer("buf", torch.zeros(3)),
    "buffer by name": lambda model: setattr(model, "buf", torch.zeros(3)),
    "parameter": lambda model: setattr(model.layer, "weight", nn.Parameter(torch.zeros(3, 4))),
    "tied": lambda model: setattr(model.layer, "weight", model.other.weight),
    "frozen": lambda model: model.layer.weight.requires_grad_(False),
    "layer": lambda model: setattr(model, "layer", nn.Linear(4, 3)),
    "evaluation mode": lambda model: model.norm.eval(),
    "dropout's mode": lambda model: model.drop.eval(),
    "forward hook": lambda model: model.layer.register_forward_hook(lambda *given: None),
    "forward pre-hook": lambda model: model.layer.register_forward_pre_hook(lambda *given: None),
    "backward hook": lambda model: model.layer.register_full_backward_hook(lambda *given: None),
    "hook of a weight": lambda model: model.layer.weight.register_hook(lambda gradient: gradient * 2),
    "hook after a gradient": lambda model: model.layer.weight.register_post_accumulate_grad_hook(lambda weight: None),
}


def exchangeable():
    model = model_of(
        lambda self, x: self.drop(self.norm(self.act(self.layer(x)))) + self.buf, size=3, act=functional.relu
    )
    model.norm, model.drop = nn.BatchNorm1d(3), nn.Dropout(0.5)
    model.register_buffer("buf", torch.ones(3))
    return model


@pytest.mark.parametrize("name", EXCHANGES)
def test_what_is_exchanged_in_the_model_is_noticed(name):
    model = exchangeable()
    marks = Marks(model, torch.optim.SGD(model.parameters(), 0.1))
    model(torch.ones(5, 4)).sum().backward()
    model.eval().train()
    model.drop.p = 0.1  # a slider
    assert marks.are_same()
    EXCHANGES[name](model)
    assert not marks.are_same()


@pytest.mark.parametrize(
    "change",
    [
        lambda optimizer: optimizer.register_step_post_hook(lambda *given: None),
        lambda optimizer: optimizer.register_step_pre_hook(lambda *given: None),
        lambda optimizer: optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))]}),
    ],
)
def test_what_is_added_to_the_optimizer_is_noticed(change):
    model = exchangeable()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    marks = Marks(model, optimizer)
    optimizer.param_groups[0]["lr"] = 0.2  # a slider
    assert marks.are_same()
    change(optimizer)
    assert not marks.are_same()


def test_hooks_for_all_modules_are_noticed():
    model = exchangeable()
    marks = Marks(model, torch.optim.SGD(model.parameters(), 0.1))
    handle = nn.modules.module.register_module_forward_hook(lambda *given: None)
    try:
        assert not marks.are_same()
        assert find_hooks(model)
    finally:
        handle.remove()
    assert marks.are_same()
    assert find_hooks(model) == ""


@pytest.mark.parametrize("cfg", [SimpleNamespace(scale=1.0), Config()], ids=["namespace", "class"])
def test_the_fields_of_a_configuration_are_watched_in_each_copy_of_a_model(cfg):
    model, reads, _marks = watched(lambda self, x: self.layer(x) * self.cfg.scale, cfg=cfg)
    branch = copy.deepcopy(model)
    of_branch = Reads(branch)
    assert reads.watched.find_difference(of_branch.watched) == ""
    branch.cfg.scale = 2.0
    assert (reads.watched.find_change(), of_branch.watched.find_change()) == ("", "scale")
    assert reads.watched.find_difference(Reads(branch).watched) == "scale"


@pytest.mark.parametrize("kind", [nn.Linear, Model], ids=["torch's", "own"])
def test_a_class_whose_forward_is_exchanged_is_noticed_though_it_inherits_it(monkeypatch, kind):
    model = nn.Sequential(type("Heir", (kind,), {})(*[4, 3][: 2 if kind is nn.Linear else 0]))
    reads = Reads(model)
    monkeypatch.setattr(type(model[0]), "forward", lambda self, x: x, raising=False)
    assert reads.watched.find_change() == "forward"
    monkeypatch.undo()
    assert reads.watched.find_change() == ""
    plain = nn.Sequential(nn.ReLU())
    reads = Reads(plain)
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x * STATE["now"])
    assert reads.watched.find_change() == "forward"
    assert "STATE" in Reads(plain).obstacle


# -- in a run


def by_hand(run, batch):
    """Return the loss of a batch by plain PyTorch, with the run's own weights."""
    with torch.no_grad():
        return float(functional.cross_entropy(run.model(batch[0]), batch[1]))


CHANGES = {
    "global number": (lambda self, x: self.layer(x) * NUMBER, lambda model, patch: patch(globals(), "NUMBER", 50.0)),
    "closure": (
        closing_over(1.0),
        lambda model, patch: setattr(type(model).forward.__closure__[0], "cell_contents", 50.0),
    ),
    "attribute": (lambda self, x: self.layer(x) * self.size, lambda model, patch: setattr(model, "size", 50.0)),
    "function held": (lambda self, x: self.act(self.layer(x)), lambda model, patch: setattr(model, "act", torch.exp)),
    "helper": (lambda self, x: helper(self.layer(x)), lambda model, patch: patch(globals(), "helper", torch.exp)),
    "forward": (Model.forward, lambda model, patch: setattr(model, "forward", lambda x: model.layer(x) * 50)),
    "bound forward": (
        Model.forward,
        lambda model, patch: setattr(model, "forward", MethodType(lambda self, x: self.layer(x) * 50, model)),
    ),
    "hook": (Model.forward, lambda model, patch: model.register_forward_hook(lambda module, given, out: out * 50)),
    "buffer": (lambda self, x: self.layer(x) * self.buf, lambda model, patch: setattr(model, "buf", torch.tensor(50.))),
    "configuration": (
        lambda self, x: self.layer(x) * self.cfg.scale,
        lambda model, patch: setattr(model.cfg, "scale", 50.0),
    ),
    "weight": (Model.forward, lambda model, patch: model.layer.weight.data.mul_(50)),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_no_loss_is_that_of_a_function_the_model_does_not_compute_any_more(
    make_tiered, compiled, monkeypatch, blobs, name
):
    forward, change = CHANGES[name]
    model = model_of(forward, size=1.0, act=torch.tanh, cfg=SimpleNamespace(scale=1.0))
    model.register_buffer("buf", torch.tensor(1.0))
    for weight in model.other.parameters():
        weight.requires_grad_(False)
    run = make_tiered(model, optimizer="sgd", lr=0.001, batch_size=5)
    monkeypatch.setattr("nbopt.training.core._LOOK_SECONDS", 1e9)
    pull(run, 30)
    if not switches(run):  # looks were needed to get there
        run.training.tiers.look()
    pull(run, 40)
    assert run.training.tiers.steps == STEPS, run.tier
    change(model, monkeypatch.setitem)
    source = run.training.cursor
    batch = source.peek()
    right = by_hand(run, batch)
    event = next(event for event in run.events() if isinstance(event, Stepped))
    first = event.step + 1 - event.steps
    assert run.history["loss"][1][first] == pytest.approx(right, rel=1e-4)


@only_compiled
def test_a_model_that_reads_a_global_dict_is_not_compiled_and_says_so(make_tiered, compiled, monkeypatch):
    model = model_of(lambda self, x: self.layer(x) / STATE["now"])
    model.other.requires_grad_(False)
    run = make_tiered(model)
    pull(run, 30)
    assert compiled == []
    assert "forward reads STATE, a global" in run.tier
    monkeypatch.setitem(STATE, "now", 100.0)
    right = by_hand(run, run.training.cursor.peek())
    pull(run, 31)
    assert run.history.last("loss") == pytest.approx(right)


@only_compiled
def test_why_compiled_steps_were_left_is_in_the_journal(make_tiered, compiled, monkeypatch):
    model = model_of(lambda self, x: self.layer(x) * NUMBER)
    del model.other  # gets no gradient
    run = make_tiered(model)
    pull(run, 30)
    assert run.training.tiers.steps == STEPS
    monkeypatch.setitem(globals(), "NUMBER", 3.0)
    pull(run, 40)
    assert "NUMBER, which forward reads, changed" in run.journal[-1].new["reason"]
    assert run.training.tiers.steps == 0
