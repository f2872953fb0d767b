"""Tune a training run by hand while it runs, inside the notebook.

``import nbopt`` is light: a public name loads its part of the package (and torch with it) on first use.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nbopt.loading import without_collecting

if TYPE_CHECKING:
    from nbopt import edits as edits
    from nbopt import hyperparams as hyperparams
    from nbopt.edits.widen import Widen as Widen
    from nbopt.export.compressed.load import load_compressed as load_compressed
    from nbopt.hyperparams import Choice as Choice
    from nbopt.hyperparams import Flag as Flag
    from nbopt.hyperparams import Float as Float
    from nbopt.hyperparams import Int as Int
    from nbopt.run.population.comparing import compare as compare
    from nbopt.run.population.population import Population as Population
    from nbopt.run.population.spreading import spread as spread
    from nbopt.run.run import Run as Run
    from nbopt.search.executors.on_ray import OnRay as OnRay
    from nbopt.search.reopen import open as open
    from nbopt.search.study import Study as Study
    from nbopt.store.cleaning import clean as clean
    from nbopt.store.listing import runs as runs
    from nbopt.techniques import models
    from nbopt.techniques.base import Technique as Technique
    from nbopt.techniques.compression.distill import Distill as Distill
    from nbopt.techniques.compression.ticket import Ticket as Ticket
    from nbopt.training.state import RunState as RunState

__version__ = "0.1.0"

_HOMES = {
    "Choice": "nbopt.hyperparams",
    "Distill": "nbopt.techniques.compression.distill",
    "Flag": "nbopt.hyperparams",
    "Float": "nbopt.hyperparams",
    "Int": "nbopt.hyperparams",
    "OnRay": "nbopt.search.executors.on_ray",
    "Population": "nbopt.run.population.population",
    "Run": "nbopt.run.run",
    "RunState": "nbopt.training.state",
    "Study": "nbopt.search.study",
    "Ticket": "nbopt.techniques.compression.ticket",
    "Technique": "nbopt.techniques.base",
    "Widen": "nbopt.edits.widen",
    "clean": "nbopt.store.cleaning",
    "compare": "nbopt.run.population.comparing",
    "edits": "nbopt.edits",
    "hyperparams": "nbopt.hyperparams",
    "load_compressed": "nbopt.export.compressed.load",
    "models": "nbopt.techniques.models",
    "open": "nbopt.search.reopen",
    "runs": "nbopt.store.listing",
    "spread": "nbopt.run.population.spreading",
}

_RUNS = ("Run", "Population", "Study", "open")  # each gives runs to show

__all__ = [
    "Choice",
    "Distill",
    "Flag",
    "Float",
    "Int",
    "OnRay",
    "Population",
    "Run",
    "RunState",
    "Study",
    "Technique",
    "Ticket",
    "Widen",
    "__version__",
    "clean",
    "compare",
    "edits",
    "hyperparams",
    "load_compressed",
    "models",
    "runs",
    "spread",
]  # not open: a star import would hide Python's own


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nbopt' has no attribute {name!r}")
    with without_collecting():
        home = import_module(_HOMES[name])
        if name in _RUNS:
            import_module("nbopt.run.run")  # what a member of a population becomes by itself
    value = home if _HOMES[name].endswith(f".{name}") else getattr(home, name)
    globals()[name] = value
    if name in _RUNS:
        _connect_viewer(import_module("nbopt.run.session.session").Session)
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "open"])


def _connect_viewer(session: Any) -> None:
    """Let runs show themselves as a panel where a notebook is listening; elsewhere it stays plain text."""
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        session.viewer = import_module("nbopt.notebook.viewer")


def load_ipython_extension(ipython: Any) -> None:
    """``%load_ext nbopt``: register the magics."""
    from nbopt.notebook.magics import load

    load(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """``%unload_ext nbopt``: take the magics away again; runs go on."""
    from nbopt.notebook.magics import unload

    unload(ipython)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "nbopt"}]
