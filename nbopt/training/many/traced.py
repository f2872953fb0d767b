"""A function of the tensors of many runs without functorch: its operations, written down once, one after the other.

`torch.func.vmap` and `grad` find out anew in each call which operations they lead to, which for small models takes
longer than these operations. They are the same ones each time, as long as shapes are, so the numbers are the same to
the bit: the first time, both are done and compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from nbopt.training.compile.build import trace
from nbopt.training.compile.reads import Reads
from nbopt.training.compile.step import CannotCompile

Flat = Callable[..., Sequence[Tensor]]

_TRACED_SECONDS = 0.1  # of a thread's time, that a form takes until it is written down, which takes as long
_MOST = 32  # forms that are known at a time
_BETWEEN = 6  # operations done between two looks whether to go on


class Abandoned(Exception):
    """Raised in the middle of operations that nobody is to wait for."""


class Form(NamedTuple):
    """What operations depend on beside the numbers in tensors.

    Attributes
    ----------
    fixed : tuple
        Whatever else is given.
    tensors : tuple of tuple
        Shape, strides, type and device of each.
    mode : tuple
        How torch is set up.
    """

    fixed: tuple[Any, ...]
    tensors: tuple[Any, ...]
    mode: tuple[Any, ...]


class Traced:
    """Does a function of tensors, by its operations once it was done often enough.

    Parameters
    ----------
    model : torch.nn.Module
        What the function calls. Where its code reads what may change unseen, the function itself is done each time.

    Attributes
    ----------
    graphs : dict of Form to torch.fx.GraphModule or None
        What was written down; None where that cannot be done, or does not give the same numbers.
    """

    def __init__(self, model: nn.Module) -> None:
        self.graphs: dict[Form, fx.GraphModule | None] = {}
        self._spent: dict[Form, float] = {}
        self._reads = Reads(model)
        self._is_urgent: Callable[[], bool] = never

    def __call__(
        self, function: Flat, fixed: tuple[Any, ...], tensors: Sequence[Tensor], is_urgent: Callable[[], bool]
    ) -> Sequence[Tensor]:
        """Return what a function gives.

        Parameters
        ----------
        function : callable
            Of the tensors.
        fixed : tuple
            What else it depends on.
        tensors : sequence of Tensor
            None that is part of another one and written to.
        is_urgent : callable
            Asked now and then on the way, where operations are written down.

        Raises
        ------
        Abandoned
            If something is urgent.
        """
        if self._reads.obstacle:
            return function(*tensors)
        if self._reads.watched.find_change():
            self.graphs.clear()
            self._reads.obstacle = "changes"  # who changes it once, as an editor's reload does, may do so again
            return function(*tensors)
        form = Form(fixed, tuple(map(_form_of, tensors)), _mode_of(tensors[0]))
        if (graph := self.graphs.get(form)) is not None:
            self._is_urgent = is_urgent
            with torch.no_grad():
                found: Sequence[Tensor] = graph(*tensors)
            return found
        start = time.thread_time()
        expected = function(*tensors)
        if form not in self.graphs:
            spent = self._spent.get(form, 0.0) + time.thread_time() - start
            if spent < _TRACED_SECONDS:
                if len(self._spent) >= _MOST:
                    self._spent.clear()
                self._spent[form] = spent
            else:
                self._trace(function, form, tensors, expected)
        return expected

    def reads_as(self, other: Traced) -> bool:
        """Whether the code of two models reads the same from outside."""
        return not other._reads.watched.find_difference(self._reads.watched)

    def _trace(self, function: Flat, form: Form, tensors: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
        """Write down the operations, and compare what they give with what is expected."""
        if len(self.graphs) >= _MOST:
            self.graphs.clear()
        self.graphs[form] = None
        try:
            graph = trace(lambda flat: function(*flat), [*tensors], {})
            with torch.no_grad():
                found = graph(*tensors)
        except (CannotCompile, RuntimeError, TypeError, ValueError, NotImplementedError):
            return
        if len(found) == len(expected) and all(map(are_same, found, expected)):
            self._put_looks_in(graph)
            self.graphs[form] = graph

    def _put_looks_in(self, module: fx.GraphModule) -> None:
        def look() -> None:
            if self._is_urgent():
                raise Abandoned

        operations = [node for node in module.graph.nodes if node.op == "call_function"]
        for node in operations[_BETWEEN - 1 :: _BETWEEN]:
            with module.graph.inserting_after(node):
                module.graph.call_function(look)
        module.recompile()


def never() -> bool:
    """Return False."""
    return False


def are_same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same bits, in the same order in memory."""
    if (one.shape, one.stride(), one.dtype) != (other.shape, other.stride(), other.dtype):
        return False
    return torch.equal(*(each.contiguous().flatten().view(torch.uint8) for each in (one, other)))


def _form_of(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device


def _mode_of(tensor: Tensor) -> tuple[Any, ...]:
    kind = tensor.device.type
    autocast = torch.is_autocast_enabled(kind)
    return (
        torch.get_default_dtype(),
        autocast and torch.get_autocast_dtype(kind),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.mkldnn.enabled,
    )
