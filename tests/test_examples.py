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


def given():
    """Return what an example takes for granted: a run of its own, and its data."""
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    y = torch.arange(60) % 3
    run = nbopt.Run(model, (x, y), epochs=10, store=None)
    return {"nbopt": nbopt, "torch": torch, "run": run, "X": x, "y": y}


def test_there_are_some():
    assert "nbopt.testing" in MODULES


@pytest.mark.parametrize("name", MODULES)
def test_they_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NBOPT_HOME", raising=False)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for found in doctest.DocTestFinder().find(importlib.import_module(name)):
        found.globs.update(given())
        runner.run(found, clear_globs=False)
        found.globs["run"].stop()
    tried = runner.summarize()
    assert tried.attempted and not tried.failed
