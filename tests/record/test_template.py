"""Templates and the source of users' functions."""

import math
import os.path

import pytest
import torch
from torch import nn

from nbopt.record.source import Sources, literal, sort_imports
from nbopt.record.template import render


def test_lines_and_blocks_stand_under_conditions():
    template = "a\nb  #? one\n#? two\nc\n#? one not two\nd\n#?\n#?\ne  #? not one\n"
    assert render(template, {"one": True, "two": False}, {}) == "a\nb\n"
    assert render(template, {"one": False, "two": True}, {}) == "a\nc\ne\n"


def test_words_are_filled_in_and_keep_their_indentation():
    assert render("if x:\n    $body\n$none\nend", {}, {"body": "a = 1\n\nb = 2", "none": ""}) == (
        "if x:\n    a = 1\n\n    b = 2\nend\n"
    )


def test_mistakes_in_a_template_are_errors():
    with pytest.raises(KeyError, match="flag"):
        render("a  #? flag", {}, {})
    with pytest.raises(KeyError, match="word"):
        render("$word", {}, {})
    with pytest.raises(ValueError, match="no end"):
        render("#? one\na", {"one": True}, {})


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


def test_what_cannot_be_written_out_leaves_nothing_behind():
    sources = Sources({"reserved"}, {})
    factor = 2
    for item, words in [
        (lambda x: x, "not written as a plain function"),
        (lambda x: x * factor, "not written as a plain function"),
        (reserved, "already has a 'reserved'"),
        (lost, "uses nowhere, which is not there"),
        (nn.CrossEntropyLoss(weight=torch.ones(3)), "cannot be written"),
        (nn.Linear(1, 1), "a module of your own"),
        (print_like := type("Callable", (), {"__call__": lambda self: 0})(), "cannot be written"),
    ]:
        with pytest.raises(ValueError, match=words):
            sources.name_of(item)
    assert print_like is not None
    assert sources.imports == sources.definitions == []
