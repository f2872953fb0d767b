"""A run written as code: the line that makes it, its script, its recipe."""

from __future__ import annotations

import math
from typing import Any

import torch

from nbopt.errors import shorten
from nbopt.i18n import _
from nbopt.run.run import Run
from nbopt.run.session.steerable import Steerable
from nbopt.techniques.losses.by_output import names_of

_LONGEST = 88  # characters of a line


def settings_code(run: Steerable) -> str:
    """Return the line that makes a run with the settings that this one has now, from its first step on.

    Model and data are named ``model``, ``X``, ``y``; what only the user has is named as it is called.

    Examples
    --------
    >>> from nbopt.run.exports.code import settings_code
    >>> print(settings_code(nbopt.Run(torch.nn.Linear(4, 3), (X, y), lr=0.01, store=None)), end="")
    run = nbopt.Run(
        model,
        train=(X, y),
        loss="cross_entropy",
        optimizer="adam",
        seed=0,
        lr=0.01,
    )
    """
    own = _as_run(run)
    spec, values = own.spec, own.hyperparams
    given: dict[str, str] = {}
    if spec.val is not None:
        given["val"] = repr(spec.val_fraction) if spec.val_fraction is not None else "(X_val, y_val)"
    given["loss"] = _loss(spec.loss)
    given["optimizer"] = _say(spec.optimizer)
    if spec.metrics:
        given["metrics"] = _say(spec.metrics)
    if spec.forward is not None:
        given["forward"] = _say(spec.forward)
    if spec.techniques:
        given["techniques"] = f"[{', '.join(type(one).__name__ for one in spec.techniques)}]"
    given["seed"] = repr(spec.seed)
    for name in values:
        if name in given or name not in values.active:
            continue
        if name in spec.hyperparams or values[name] != values.spec(name).default:
            given[name] = _say(values[name])
    lines = ["    model,", "    train=(X, y),", *(f"    {name}={text}," for name, text in given.items())]
    return "\n".join(["run = nbopt.Run(", *lines, ")\n"])


def script(run: Steerable) -> str:
    """Return `Run.to_python`, of a run that has one."""
    return _as_run(run).to_python()


def recipe(run: Steerable) -> str:
    """Return `Run.to_yaml`, of a run that has one."""
    return _as_run(run).to_yaml()


def _as_run(run: Steerable) -> Run:
    if not isinstance(run, Run):
        raise TypeError(_("{name} is a loop of your own, which nbopt did not write.", name=run.name))
    return run


def _loss(loss: Any) -> str:
    if isinstance(loss, dict) and names_of(loss) is None:
        return "{" + ", ".join(f"{shorten(key)}: {_say(value)}" for key, value in loss.items()) + "}"
    return _say(loss)


def _say(value: Any) -> str:
    """Write a value as code; what only the user has, by its name."""
    if isinstance(value, float) and math.isinf(value):
        return "None" if value > 0 else 'float("-inf")'  # without an end
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_say(key)}: {_say(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        items = ", ".join(map(_say, value))
        return f"[{items}]" if isinstance(value, list) else f"({items}{',' * (len(value) == 1)})"
    if isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and hasattr(torch.optim, value.__name__):
        return f"torch.optim.{value.__name__}"
    name = getattr(value, "__name__", "")
    return name if name.isidentifier() else type(value).__name__.lower()
