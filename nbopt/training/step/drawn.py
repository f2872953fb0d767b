"""Updates that draw random numbers, as Langevin dynamics does: from where the step's forward pass left off."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import CodeType, MethodType
from typing import Any

import torch

from nbopt.data.reached import find_generators
from nbopt.objects.kinds import GENERATORS
from nbopt.techniques.optimizers.groups import hooks_of
from nbopt.training.core import Core

_DRAWING = ("rand", "normal", "bernoulli", "uniform", "exponential", "multinomial", "poisson", "cauchy")


def find_drawing(optimizer: torch.optim.Optimizer) -> list[Any]:
    """Return what of an optimizer may draw random numbers: its step, hooks and generators; nothing if none does."""
    step = inspect.unwrap(vars(optimizer).get("step", type(optimizer).step))  # torch puts functions around it
    own = [step] if not str(getattr(step, "__module__", "")).startswith("torch.") else []
    given = [*own, *hooks_of(optimizer), *(each for each in vars(optimizer).values() if isinstance(each, GENERATORS))]
    reached = find_generators(*given)
    codes = [getattr(inspect.unwrap(_function_of(each)), "__code__", None) for each in given]
    named = any(name.startswith(_DRAWING) for code in codes if code is not None for name in _names_in(code))
    return given if named or reached.own or reached.shared else []


def seeded(update: Callable[[], None], training: Core) -> Callable[[], None]:
    """Have an update draw on from where the forward pass left off, as in a loop that is seeded before each step."""

    def update_seeded() -> None:
        eager, noise = training.eager, training.noise
        with noise.lock, eager.left_off or noise.continued(training.step_seed + training.step):
            update()

    return update_seeded


def _function_of(value: Any) -> Any:
    return value.__func__ if isinstance(value, MethodType) else value


def _names_in(code: CodeType) -> list[str]:
    inside = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return [*code.co_names, *(name for each in inside for name in _names_in(each))]
