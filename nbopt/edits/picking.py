"""Picking the layers of a model that an edit is of, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from typing import Any

from torch import nn

from nbopt.errors import InvalidHyperparam, shorten, unknown
from nbopt.i18n import _
from nbopt.training.structure.edit import CannotEdit


def read_patterns(given: Any) -> tuple[str, ...]:
    """Return names or patterns of layers as a tuple.

    Raises
    ------
    InvalidHyperparam
        If these are none.
    """
    named = (given,) if isinstance(given, str) else given
    if not isinstance(named, (list, tuple)) or not named or not all(isinstance(name, str) for name in named):
        rule = _("layers must be names of layers, as 'features.*'")
        raise InvalidHyperparam(_("{rule}; got {value}.", rule=rule, value=shorten(given)))
    return tuple(named)


def check_patterns(model: nn.Module, patterns: Iterable[str]) -> None:
    """Raise InvalidHyperparam if a pattern names no layer of a model; ``*`` may."""
    pick(model, [pattern for pattern in patterns if pattern != "*"], lambda _module: True)


def pick(model: nn.Module, patterns: Iterable[str], fits: Callable[[nn.Module], bool]) -> dict[str, nn.Module]:
    """Return the layers that patterns name and that fit, each by the first of its names.

    Raises
    ------
    InvalidHyperparam
        If a pattern names no layer.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    found: dict[str, nn.Module] = {}
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in modules):
            raise unknown(_("layer"), pattern, modules)
        found.update({name: module for name, module in modules.items() if fnmatch(name, pattern) and fits(module)})
    return {name: found[name] for name in modules if name in found}


def everywhere(model: nn.Module, old: nn.Module, new: nn.Module) -> dict[str, nn.Module]:
    """Return a module at all places of a model where another one stands."""
    return {name: new for name, module in model.named_modules(remove_duplicate=False) if module is old}


class Outputs:
    """Holds what a layer of a model returns meanwhile, as a context manager.

    Attributes
    ----------
    held : list
    """

    def __init__(self, layer: nn.Module) -> None:
        self.held: list[Any] = []
        self._layer = layer

    def __enter__(self) -> Outputs:
        """Begin to listen."""
        self._handle = self._layer.register_forward_hook(lambda _layer, _inputs, made: self.held.append(made))
        return self

    def __exit__(self, *error: object) -> None:
        """Listen no more."""
        self._handle.remove()


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return the layer of a name that a journal tells of.

    Raises
    ------
    CannotEdit
        If there is none.
    """
    try:
        return model.get_submodule(name)
    except AttributeError as error:
        raise CannotEdit(_("the model has no layer {name}.", name=name)) from error


def is_matrix(module: nn.Module) -> bool:
    """Whether a layer is linear or a convolution not in groups, of torch's own class and with weights of its own."""
    plain = type(module) in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return plain and getattr(module, "groups", 1) == 1 and isinstance(module._parameters.get("weight"), nn.Parameter)
