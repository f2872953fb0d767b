"""Whether a model and its optimizer are still made up of the objects, and set up as, steps were compiled for."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from torch import nn

from nbopt.i18n import _
from nbopt.torch_private import GLOBAL_HOOKS
from nbopt.training.compile.step import MaskedDropout
from nbopt.training.compile.values import is_constant

_OWN_NAMES = frozenset(vars(nn.Module()))
_SETTINGS = operator.attrgetter("requires_grad", "_backward_hooks", "_post_accumulate_grad_hooks")
_VALUES = operator.methodcaller("values")
_END = [object()]  # where one of two lists has an end and the other has not, they differ


class Marks:
    """Tells at every call, at the cost of a glance, whether a model is made up of the very same objects still.

    Parameters
    ----------
    model : torch.nn.Module
    optimizer : torch.optim.Optimizer
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        spaces: list[Mapping[Any, Any]] = [*GLOBAL_HOOKS]
        spaces += [optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks]
        self._groups = optimizer.param_groups
        self._own: list[dict[str, Any]] = []
        self._get: list[Callable[[dict[str, Any]], tuple[Any, ...]]] = []
        for module in model.modules():
            spaces += [module._parameters, module._buffers, module._modules]
            spaces += [module._forward_hooks, module._forward_pre_hooks]
            spaces += [module._backward_hooks, module._backward_pre_hooks]
            own = vars(module)
            sliders = {"p"} if type(module) is nn.Dropout else set()
            self._own.append(own)
            mode = "training" if "training" in own else "_modules"  # torch.compile's module asks the one within it
            self._get.append(operator.itemgetter(mode, mode, *(own.keys() - _OWN_NAMES - sliders)))
        self._empty = [space for space in spaces if not space]  # as hooks are where steps are compiled
        self._filled = [space for space in spaces if space]
        self._weights = list(model.parameters())
        self._counts = list(map(len, self._own))
        self._found = [*self._look()]

    def _look(self) -> Iterator[Any]:
        """Return what the model is made up of; run through in C, at every call of compiled steps."""
        own, settings = map(operator.call, self._get, self._own), map(_SETTINGS, self._weights)
        found = chain.from_iterable(chain(own, map(_VALUES, self._filled), settings))
        return chain(self._groups[-1:], found, _END)

    def are_same(self) -> bool:
        """Whether nothing was exchanged, added or taken away."""
        if any(self._empty) or list(map(len, self._own)) != self._counts:
            return False
        try:
            return all(map(operator.is_, self._look(), self._found))
        except KeyError:  # an attribute is gone
            return False


def find_hooks(model: nn.Module) -> str:
    """Return on what there are hooks, which compiled steps do not call; "" if there are none."""
    if any(GLOBAL_HOOKS):
        return _("all modules")
    for module in model.modules():
        own = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
        if any(own):
            return type(module).__name__
    for name, weight in model.named_parameters():
        if weight._backward_hooks or weight._post_accumulate_grad_hooks:
            return name
    return ""


Attribute = tuple[str, str, Any]


def find_attributes(model: nn.Module) -> list[Attribute]:
    """Return numbers, flags, words and the like that a model's modules hold: module, name, value."""
    return [
        (name, key, value)
        for name, module in model.named_modules()
        if type(module) not in (nn.Dropout, MaskedDropout)
        for key, value in vars(module).items()
        if key != "training" and is_constant(value)
    ]


def name_changed(before: list[Attribute], now: list[Attribute]) -> str:
    """Return the name of a setting that differs; "" if none does."""
    changed = set(before).symmetric_difference(now)
    return min(changed, key=lambda attribute: attribute[:2])[1] if changed else ""
