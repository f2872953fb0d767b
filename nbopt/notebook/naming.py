"""What the notebook itself calls the model and the data of a run, so that a line of code can be run as it is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbopt.run.session.steerable import Steerable


def in_own_names(code: str, run: Steerable, variables: Mapping[str, Any]) -> str:
    """Return code that opens a run again, with those of the variables that are its model and data.

    What no variable is stays called as the documentation calls it.
    """
    if (spec := getattr(run, "spec", None)) is None:
        return code
    for told, given in ((" model,", spec.model), ("=(X, y)", spec.origin), ("=(X_val, y_val)", spec.val)):
        if name := _name(given, variables):
            code = code.replace(told, f" {name}," if given is spec.model else f"={name}", 1)
    return code


def own_variables() -> dict[str, Any]:
    """Return the variables of the notebook; none where there is no notebook."""
    from IPython import get_ipython

    shell = get_ipython()
    return {} if shell is None else {name: it for name, it in [*shell.user_ns.items()] if not name.startswith("_")}


def _name(given: Any, variables: Mapping[str, Any]) -> str:
    """Return the variable that something is, or a tuple of variables; "" where it is none."""
    if name := next((name for name, it in variables.items() if it is given), ""):
        return name
    if not isinstance(given, tuple):
        return ""
    names = [_name(part, variables) for part in given]
    return f"({', '.join(names)})" if len(names) > 1 and all(names) else ""
