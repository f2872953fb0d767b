"""The weights of a parameter group, as an expression."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from nbopt.export.source import literal
from nbopt.i18n import _


def choose(model: nn.Module, weights: list[nn.Parameter]) -> str:
    """Return an expression for some weights of a model: a rule, if there is one that picks just them in this order.

    Raises
    ------
    ValueError
        If one is not the model's.
    """
    named = list(model.named_parameters())
    wanted = list(map(id, weights))
    for child, module in model.named_children():
        if list(map(id, module.parameters())) == wanted:
            place = f"model.{child}" if child.isidentifier() else f"model.get_submodule({literal(child)})"
            return f"{place}.parameters()"
    for trained in ("", " and p.requires_grad"):
        for rule, holds in _rules(model).items():
            found = [id(p) for name, p in named if holds(name, p) and (p.requires_grad or not trained)]
            if found == wanted:
                where = f" if {rule}{trained}" if rule else trained.replace(" and", " if")
                source = "n, p in named.items()" if "n." in rule else "p in model.parameters()"
                return f"[p for {source}{where}]"
    names = {id(p): name for name, p in named}
    if not all(id(weight) in names for weight in weights):
        raise ValueError(_("the optimizer given holds weights that are not the model's."))
    return "[\n" + "".join(f"            named[{literal(names[id(weight)])}],\n" for weight in weights) + "        ]"


def _rules(model: nn.Module) -> dict[str, Callable[[str, nn.Parameter], bool]]:
    """Return rules that people pick weights by, as source and as functions."""
    rules: dict[str, Callable[[str, nn.Parameter], bool]] = {
        "": lambda name, p: True,
        "p.ndim >= 2": lambda name, p: p.ndim >= 2,
        "p.ndim < 2": lambda name, p: p.ndim < 2,
        'n.endswith("bias")': lambda name, p: name.endswith("bias"),
        'not n.endswith("bias")': lambda name, p: not name.endswith("bias"),
    }
    for child, _module in model.named_children():
        start = f"{child}."
        rules[f"n.startswith({literal(start)})"] = partial(_begins, start, True)
        rules[f"not n.startswith({literal(start)})"] = partial(_begins, start, False)
    return rules


def _begins(start: str, wanted: bool, name: str, _parameter: nn.Parameter) -> bool:
    return name.startswith(start) is wanted
