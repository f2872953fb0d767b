"""What compiled steps read is watched: whatever is bound anew or exchanged is noticed at the next call."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbopt.training.compile.marks import Marks, find_hooks
from nbopt.training.compile.reads import Reads
from tests.training import reading
from tests.training.reading import NUMBER, STATE, Config, Model, closing_over, helper, inner_helper, model_of, tagged

# -- what is noticed at each call


def watched(forward, **attributes):
    model = model_of(forward, **attributes)
    return model, Reads(model), Marks(model, torch.optim.SGD(model.parameters(), 0.1))


def rebind(monkeypatch, model):
    for module in (globals(), vars(reading)):  # where a test's function reads it, and where the model's does
        monkeypatch.setitem(module, "NUMBER", 2.0)


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
