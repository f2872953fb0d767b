"""The losses there are, and what a run makes of the one it is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nbopt.data.noise import Noise
from nbopt.data.places import write_place
from nbopt.errors import InvalidHyperparam, unknown
from nbopt.hyperparams import Hyperparam, Strategy, variant
from nbopt.i18n import N_, _
from nbopt.objects.buffers import put_tensors_back
from nbopt.techniques.losses.base import GROUP, Loss, align, describe, need_tensors
from nbopt.techniques.losses.by_output import combine_outputs, split_outputs
from nbopt.techniques.losses.classification import (
    BinaryCrossEntropy,
    BinaryFocal,
    BinaryHinge,
    CrossEntropy,
    Focal,
    Hinge,
)
from nbopt.techniques.losses.pairs import check_pairs, differ_by_an_axis
from nbopt.techniques.losses.regression import MAE, MSE, Huber
from nbopt.techniques.losses.terms import combine, split_terms
from nbopt.techniques.losses.traits import read_traits

LOSSES: dict[str, type[Loss]] = {
    "cross_entropy": CrossEntropy,
    "focal": Focal,
    "hinge": Hinge,
    "binary_cross_entropy": BinaryCrossEntropy,
    "binary_focal": BinaryFocal,
    "binary_hinge": BinaryHinge,
    "mse": MSE,
    "mae": MAE,
    "huber": Huber,
}

LOSS = Strategy(
    "cross_entropy",
    classes=LOSSES,
    label=N_("Loss"),
    group=GROUP,
    help=N_("What training minimizes."),
    synonyms="criterion loss_fn loss_function loss_func objective",
)
LOSS.__set_name__(Loss, "loss")


def loss_choice(given: object) -> Hyperparam[str]:
    """Return the run's ``loss`` declaration: the losses that can be swapped for ``given``.

    Parameters
    ----------
    given : str, callable, list or mapping
        A name of `LOSSES`; ``callable(output, target)`` returning a scalar tensor; a list of terms, each one of these
        or a pair (weight, one of these); or a mapping from names or positions of outputs to such terms. Losses of torch
        that compare number by number get targets in the shape of the outputs, where that only takes axes of length 1.

    Raises
    ------
    InvalidHyperparam
        If it is none of these, or the terms do not go together.
    """
    if isinstance(given, str):
        kind = _kind(given)
        classes = {name: other for name, other in LOSSES.items() if other.task == kind.task}
        return variant(LOSS, default=given, classes=classes, options=tuple(classes))
    if isinstance(given, Mapping):
        routes = split_outputs(given)
        kinds = {name: _kind(route.loss) for name, route in routes.items()}
        label = ", ".join(write_place(route.place, _name_of(route.loss)) for route in routes.values())
        return variant(LOSS, default=label, classes={label: combine_outputs(routes, kinds)}, options=(label,))
    if isinstance(given, (list, tuple)):
        terms = {name: (weight, _kind(item)) for name, (weight, item) in split_terms(given).items()}
        name = " + ".join(terms)
        return variant(LOSS, default=name, classes={name: combine(terms)}, options=(name,))
    kind = _kind(given)
    name = _name_of(given)
    return variant(LOSS, default=name, classes={name: kind}, options=(name,))


def find_weights(model: nn.Module, given: object) -> list[nn.Parameter]:
    """Return the weights that a run may train: those of the model, then those of the loss it is given."""
    choice: Any = loss_choice(given)
    modules = [model, *choice.classes[choice.default].modules.values()]
    return [weight for module in modules for weight in module.parameters()]


def _name_of(given: Any) -> str:
    return given if isinstance(given, str) else str(getattr(given, "__name__", type(given).__name__))


def _kind(given: Any) -> type[Loss]:
    if isinstance(given, str) and given in LOSSES:
        return LOSSES[given]
    if isinstance(given, str) or not callable(given):
        raise unknown(_("loss"), given, [*LOSSES, "callable(output, target)"])
    return _custom(given)


def _custom(function: Callable[[Any, Any], Any]) -> type[Loss]:
    """Wrap the user's callable, which is called no more often than in a loop of his own, unless it fails."""
    if isinstance(function, type):
        name = function.__name__
        raise InvalidHyperparam(_("loss is the class {name}, not an instance: write {name}().", name=name))
    traits = read_traits(function)
    module = _module_in(function)
    name = _name_of(function)
    _check_arguments(name, function)

    def call(self: Loss, output: Tensor, target: Any) -> Any:
        value = function(output, target)
        return value.reshape(()) if value.ndim else value

    def prepare(self: Loss, output: Tensor, target: Any) -> Any:
        return target if target.shape == output.shape else align(name, output, target)

    def check(self: Loss, output: Any, target: Any) -> None:
        if traits.elementwise:
            need_tensors(name, output, target)
            target = align(name, output, target)
        elif differ_by_an_axis(output, target):
            check_pairs(name, function, output, target)

    def explain(self: Loss, output: Any, target: Any) -> None:
        check(self, output, target)
        noise = Noise(output.device if isinstance(output, Tensor) else torch.device("cpu"), function)
        with noise.lock, noise.seeded(0), _unchanged(module):
            value = function(output, self.prepare(output, target))
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ValueError(_("the loss must return one number as a tensor; got {value}.", value=describe(value)))

    members = {
        "__call__": call,
        "check": check,
        "explain": explain,
        "draws": True,
        "functions": (function,),
        "traits": traits,
    }
    members["modules"] = {} if module is None else {"loss": module}
    if traits.elementwise:
        members["prepare"] = prepare
    return type("CustomLoss", (Loss,), members)


def _check_arguments(name: str, function: Any) -> None:
    """Raise InvalidHyperparam for a loss that cannot be called with an output and a target."""
    of_module = isinstance(function, nn.Module) and type(function).__call__ is nn.Module.__call__
    called = function.forward if of_module else function
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):  # of C code, which tells none
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        rule = _("a loss is called with (output, target), and {name}{given} cannot be", name=name, given=signature)
        way = _("give a function of these two that hands on what else it takes, which forward may put into either")
        raise InvalidHyperparam(_("loss: {rule}: {way}.", rule=rule, way=way)) from error


def _module_in(function: Any) -> nn.Module | None:
    """Return the module that a loss is, or whose method it is."""
    owner = getattr(function, "func", function)  # of a partial
    owner = getattr(owner, "__self__", owner)
    return owner if isinstance(owner, nn.Module) else None


@contextmanager
def _unchanged(module: nn.Module | None) -> Iterator[None]:
    """Put a module's buffers back afterwards: it was called once more than the user's loop would."""
    before = [] if module is None else [(buffer, buffer.clone()) for buffer in module.buffers()]
    yield
    put_tensors_back(before)
