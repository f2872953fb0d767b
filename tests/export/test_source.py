"""The source of users' functions, classes and values."""

import argparse
import functools
import linecache
import math
import os.path
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nbopt.export.source import Sources, literal, sort_imports
from nbopt.export.source_text import without_annotations


def test_literals():
    assert literal({"a": (1,), 2: [True, None, 1e-5]}) == '{"a": (1,), 2: [True, None, 1e-05]}'
    for value in (math.inf, torch.ones(1), object()):
        with pytest.raises(ValueError, match="cannot be written"):
            literal(value)


def test_imports_are_sorted_and_merged():
    lines = ["import torch", "from os import path", "import ast", "from os import abc", "import torch"]
    assert sort_imports(lines) == "import ast\nfrom os import abc, path\n\nimport torch"


SCALE = 3


def inner(value: torch.Tensor) -> torch.Tensor:
    return value * SCALE


def outer(value):
    return inner(value) + math.pi + len(os.path.sep)


def reserved(value):
    return value


def lost(value):
    return nowhere(value)  # noqa: F821


def keeps(value, device=torch.device("cpu")):  # noqa: B008
    return value.to(device)


ANNOTATED = """
class Kept(NamedTuple):
    size: int = 1

    def find(
        self,
        names: dict[str, Any],
        how: str = "first",
    ) -> list[Any]:  # type: ignore[override]
        found: list[Any] = []
        last: Any

        def note(name: str) -> None:
            found.append(names[name])

        return found
"""
PLAIN = """
class Kept(NamedTuple):
    size: int = 1

    def find(self, names, how="first"):
        found = []

        def note(name):
            found.append(names[name])

        return found
"""


def test_functions_are_written_without_annotations_and_fields_of_classes_keep_theirs():
    assert without_annotations(ANNOTATED) == PLAIN


def test_a_function_brings_what_it_uses():
    sources = Sources({"reserved"}, {"torch": torch})
    assert sources.name_of(outer) == "outer"
    assert sources.used == {"torch"}
    assert sources.imports == ["import math", "import os"]
    assert [text.split("(")[0].split(" =")[0] for text in sources.definitions] == ["SCALE", "def inner", "def outer"]
    assert sources.name_of(outer) == "outer"
    assert len(sources.definitions) == 3


def test_torchs_own_are_named():
    sources = Sources(set(), {})
    assert sources.name_of(nn.CrossEntropyLoss(label_smoothing=0.1)) == "nn.CrossEntropyLoss(label_smoothing=0.1)"
    assert sources.name_of(nn.HuberLoss(delta=2.0)) == "nn.HuberLoss(delta=2.0)"
    assert sources.name_of(nn.functional.mse_loss) == "mse_loss"
    assert sources.imports == ["from torch.nn.functional import mse_loss"]


def weigh(factor, labels):
    """Return functions that keep values of this one."""

    def loss(output, target):
        return factor * output.mean() + labels.sum() + helper(target)

    def helper(target):
        return target.float().mean()

    return loss, helper


class Smooth(nn.Module):
    def __init__(self, eps=0.1, *, power=2):
        super().__init__()
        self.eps = eps
        self.power = power
        self.relu = nn.ReLU()

    def forward(self, output, target):
        return self.relu((output - target).abs() ** self.power + self.eps).mean()


class Ratio:
    def __init__(self, scale):
        self._scale = scale

    def __call__(self, output, target):
        return self._scale * output.mean() / target.float().mean()

    def inverse(self, output, target):
        return 1 / self(output, target)


settings = argparse.Namespace(beta=0.5, kind=torch.float64)
shifted = lambda output, target: (output - target).mean()  # noqa: E731
two = (lambda output, target: output.mean() + 1, lambda output, target: output.mean() + 2)


def uses_much(output, target):
    """Return something."""
    scores = F.softmax(output.to(settings.kind), dim=1) * settings.beta
    return torch.relu(scores).sum() + shifted(output, target[:, None]) + max(x for x in (1, 2))


def compute_loss(output, target):
    return output.sum() if target.sum() < 0 else compute_loss(output, -target - 1)


def calls_it(output, target):
    return compute_loss(output, target) + compute_loss(output, target)


@torch.no_grad()
def without_gradients(output, target):
    return output.mean()


WRITTEN = {
    "closure": weigh(0.5, torch.tensor([1.0, math.nan]).nan_to_num())[0],
    "global values": uses_much,
    "lambda": lambda output, target: output.square().mean() * 2,
    "lambda with a value": (lambda k: lambda output, target: k * output.mean())(3),
    "the second in a line": two[1],
    "partial": functools.partial(nn.functional.mse_loss, reduction="sum"),
    "module": Smooth(eps=0.5),
    "weighted": nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.1])),
    "object": Ratio(0.3),
    "method": Ratio(0.3).inverse,
    "a name that is taken": compute_loss,
    "a helper whose name is taken": calls_it,
    "decorated": without_gradients,
    "builtin": torch.dist,
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_was_written_does_the_same(name):
    item = WRITTEN[name]
    sources = Sources({"compute_loss"}, {"torch": torch, "nn": nn, "np": np})
    expression = sources.name_for("the loss", item, "loss")
    assert not sources.arguments
    lines = ["import torch\nfrom torch import nn", *sources.imports, *sources.definitions, f"found = {expression}"]
    namespace = {}
    exec("\n\n".join(lines), namespace)
    torch.manual_seed(0)
    output = torch.randn(3, 3)
    target = torch.arange(3) if name in ("weighted", "closure", "global values") else torch.rand(3, 3)
    assert torch.equal(namespace["found"](output, target), item(output, target))


def test_values_of_one_name_are_kept_apart():
    sources = Sources(set(), {"torch": torch})
    names = [sources.name_of(weigh(factor, torch.ones(1))[0]) for factor in (1, 2)]
    assert names == ["loss", "own_loss"]
    assert "factor = 1" in sources.definitions
    assert "own_factor = 2" in sources.definitions
    assert "own_factor * output" in sources.definitions[-1]


def counting():
    count = 0

    def loss(output, target):
        nonlocal count
        count += 1
        return output.mean() * count

    return loss


big = torch.ones(1000)
teacher = nn.Linear(2, 2)


def of_teacher(output, target):
    return (output - teacher(target)).mean()


def of_much(output, target):
    return output @ big


class Learnt(nn.Module):
    def __init__(self, size=2):
        super().__init__()
        self.size = size
        self.weight = nn.Parameter(torch.ones(size))


class Remembers(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))


def test_what_cannot_be_written_out_leaves_nothing_behind():
    sources = Sources({"reserved"}, {"torch": torch, "nn": nn})
    moved = Remembers()
    moved.mean += 1
    for item, words in [
        (eval("lambda x: x"), "a lambda whose source is not to be found"),
        (lost, "uses nowhere, which is not there"),
        (counting(), "changes a variable of the function it was made in"),
        (of_teacher, "of_teacher uses teacher: Linear has weights"),
        (of_much, r"of_much uses big: a tensor of shape \(1000,\)"),
        (Learnt(), "Learnt has weights"),
        (moved, "Remembers is not made anew from its settings"),
        (print_like := type("Callable", (), {"__call__": lambda self: 0})(), "not written as a plain"),
    ]:
        with pytest.raises(ValueError, match=words):
            sources.name_of(item)
    assert print_like is not None
    assert sources.imports == sources.definitions == []


CELL = """
import torch

scale = 0.5

class Settings:
    power = 2

    def __init__(self, shift=0.0):
        self.shift = shift

    def apply(self, values):
        return values ** self.power + self.shift

settings = Settings(shift=2.0)
plus = lambda values: values + scale

def loss(output, target):
    return (settings.apply(output) - plus(target)).mean()
"""


def test_what_a_notebook_defined_is_written(monkeypatch):
    """Its module has no file; the source of a cell is where tracebacks look for it."""
    cell = types.ModuleType("a_notebook")
    monkeypatch.setitem(sys.modules, "a_notebook", cell)
    monkeypatch.setitem(linecache.cache, "<cell 1>", (len(CELL), None, CELL.splitlines(keepends=True), "<cell 1>"))
    exec(compile(CELL, "<cell 1>", "exec"), vars(cell))
    sources = Sources(set(), {})
    assert sources.name_of(cell.loss) == "loss"
    namespace = {}
    exec("\n\n".join(sources.definitions), namespace)
    output, target = torch.rand(3), torch.rand(3)
    assert torch.equal(namespace["loss"](output, target), cell.loss(output, target))
