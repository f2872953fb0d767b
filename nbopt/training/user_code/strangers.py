"""Modules that functions of the user's read from around them, and whose weights nothing trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import Any

from torch import nn

from nbopt.i18n import _
from nbopt.objects.reaching import outer_values
from nbopt.training.material import Material


def find_strangers(functions: Iterable[Any], material: Material) -> list[tuple[str, nn.Parameter]]:
    """Return weights of modules that functions of the user's read from around them and that nothing trains.

    Each with the name of its module; those that have a gradient already are in use elsewhere.
    """
    return [
        (name, weight)
        for name, value in find_reads(functions)
        for weight in (value.parameters() if isinstance(value, nn.Module) else ())
        if id(weight) not in material.names and weight.requires_grad and weight.grad is None
    ]


def find_reads(functions: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Yield what functions of the user's, and those of the same module that they call, read from around them."""
    waiting = [function for function in functions if isinstance(function, FunctionType)]
    for function in waiting:  # which grows by those that they call
        for name, value in outer_values(function):
            near = isinstance(value, FunctionType) and value.__module__ == function.__module__
            if near and value not in waiting:
                waiting.append(value)
            yield name, value


def tell_of_strangers(strangers: Iterable[tuple[str, nn.Parameter]], tell: Callable[[str], None]) -> None:
    """Say, after the first gradients, which of what `find_strangers` found get some."""
    for name in dict.fromkeys(name for name, weight in strangers if weight.grad is not None):
        tell(
            _(
                "{name}, which loss or forward use, has weights that get gradients, and nothing trains them: give "
                "it as loss={name}, or as a part of the model.",
                name=name,
            )
        )
