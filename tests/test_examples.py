"""The examples in docstrings run, show what comes of them, and stand at all that is public."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest
import torch

import nbopt

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "nbopt").rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8") and path.parent != ROOT / "nbopt"
)


def given():
    """Return what an example takes for granted: a run of its own, and its data."""
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    y = torch.arange(60) % 3
    run = nbopt.Run(model, (x, y), epochs=10, store=None)
    return {"nbopt": nbopt, "torch": torch, "run": run, "X": x, "y": y}


def public():
    """Return all that is public by name, and the methods and properties of `Run` and `Population`."""
    found = {name: getattr(nbopt, name) for name in [*nbopt.__all__, "open"] if not name.startswith("_")}
    for kind in (nbopt.Run, nbopt.Population):
        for name in dir(kind):
            thing = inspect.getattr_static(kind, name)
            function = getattr(thing, "fget", None) or getattr(thing, "__func__", thing)
            if not name.startswith("_") and inspect.isfunction(function) and function.__module__.startswith("nbopt."):
                found[f"{kind.__name__}.{name}"] = function
    return found


def test_all_that_is_public_has_an_example():
    assert len(public()) > 80
    assert [name for name, thing in public().items() if ">>> " not in (inspect.getdoc(thing) or "")] == []


@pytest.mark.parametrize("name", MODULES)
def test_they_run(name, tmp_path, monkeypatch, one_torch_thread):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NBOPT_HOME", raising=False)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for found in doctest.DocTestFinder().find(importlib.import_module(name)):
        if found.examples:
            found.globs.update(given())
            runner.run(found, clear_globs=False)
            found.globs["run"].stop()
    tried = runner.summarize()
    assert tried.attempted and not tried.failed
