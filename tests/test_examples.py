"""The examples in docstrings run, and show what comes of them."""

import doctest
import importlib
from pathlib import Path

import pytest
import torch

import nbopt

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "nbopt").rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8") and path.name != "__init__.py"
)


@pytest.fixture
def given():
    """Return what examples take for granted: a run, and its inputs."""
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    run = nbopt.Run(torch.nn.Linear(4, 3), (x, torch.arange(60) % 3), epochs=10, store=None)
    yield {"nbopt": nbopt, "torch": torch, "run": run, "X": x}
    run.stop()


def test_there_are_some():
    assert "nbopt.testing" in MODULES


@pytest.mark.parametrize("name", MODULES)
def test_they_run(name, given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS, extraglobs=given)
    assert found.attempted and not found.failed
