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
from nbopt.training.many.sizes import AnySize, generalize

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

    Where operations of two numbers of runs are known, those of any other follow from them, as long as they give the
    same numbers the first time.

    Parameters
    ----------
    model : torch.nn.Module
        What the function calls. Where its code reads what may change unseen, the function itself is done each time.

    Attributes
    ----------
    graphs : dict of Form to callable or None
        What was written down, or follows; None where that cannot be done, or does not give the same numbers.
    """

    def __init__(self, model: nn.Module) -> None:
        self.graphs: dict[Form, Flat | None] = {}
        self._spent: dict[Form, float] = {}
        self._known: dict[Form, tuple[int, fx.GraphModule]] = {}  # of one number of runs, by their form without it
        self._any_size: dict[Form, AnySize | None] = {}  # None where they differ in more than that
        self._reads = Reads(model)
        self._is_urgent: Callable[[], bool] = never

    def __call__(
        self,
        function: Flat,
        fixed: tuple[Any, ...],
        tensors: Sequence[Tensor],
        stacked: Sequence[bool],
        is_urgent: Callable[[], bool],
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
        stacked : sequence of bool
            Which of them have a first dimension for runs.
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
            for known in (self.graphs, self._known, self._any_size):
                known.clear()
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
            runs = next(len(tensor) for tensor, is_stacked in zip(tensors, stacked, strict=True) if is_stacked)
            any_size = Form(fixed, tuple(map(_form_of, tensors, stacked)), form.mode)
            if self._follows(form, any_size, runs, tensors, expected):
                return expected
            spent = self._spent.get(form, 0.0) + time.thread_time() - start
            if spent < _TRACED_SECONDS and not self._may_follow(any_size, runs):
                if len(self._spent) >= _MOST:
                    self._spent.clear()
                self._spent[form] = spent
            elif graph := self._trace(function, form, tensors, expected):
                self._note(any_size, runs, graph)
        return expected

    def reads_as(self, other: Traced) -> bool:
        """Whether the code of two models reads the same from outside."""
        return not other._reads.watched.find_difference(self._reads.watched)

    def _follows(
        self, form: Form, any_size: Form, runs: int, tensors: Sequence[Tensor], expected: Sequence[Tensor]
    ) -> bool:
        """Whether operations are now known from those of other numbers of runs."""
        if (known := self._any_size.get(any_size)) is None:
            return False
        graph = known.of(runs)
        if not _gives(graph, tensors, expected):
            return False
        self._put(form, graph)
        return True

    def _may_follow(self, any_size: Form, runs: int) -> bool:
        """Whether those of this number of runs are all that is missing to know those of any."""
        return runs > 1 and any_size in self._known and any_size not in self._any_size

    def _note(self, any_size: Form, runs: int, graph: fx.GraphModule) -> None:
        """Take note of the operations of so many runs; those of a single one are others."""
        if self._may_follow(any_size, runs):
            other, known = self._known[any_size]
            self._any_size[any_size] = generalize(known, graph, (other, runs))
        elif runs > 1:
            self._known.setdefault(any_size, (runs, graph))

    def _trace(
        self, function: Flat, form: Form, tensors: Sequence[Tensor], expected: Sequence[Tensor]
    ) -> fx.GraphModule | None:
        """Write down the operations, and compare what they give with what is expected."""
        self._put(form, None)
        try:
            graph = trace(lambda flat: function(*flat), [*tensors], {})
        except CannotCompile:
            return None
        if not _gives(graph, tensors, expected):
            return None
        self._put_looks_in(graph)
        self._put(form, graph)
        return graph

    def _put(self, form: Form, graph: Flat | None) -> None:
        if len(self.graphs) >= _MOST:
            self.graphs.clear()
        self.graphs[form] = graph

    def _look(self) -> None:
        if self._is_urgent():
            raise Abandoned

    def _put_looks_in(self, module: fx.GraphModule) -> None:
        operations = [node for node in module.graph.nodes if node.op == "call_function"]
        for node in operations[_BETWEEN - 1 :: _BETWEEN]:
            with module.graph.inserting_after(node):
                module.graph.call_function(self._look)
        module.recompile()


def never() -> bool:
    """Return False."""
    return False


def are_same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same bits, in the same order in memory."""
    if (one.shape, one.stride(), one.dtype) != (other.shape, other.stride(), other.dtype):
        return False
    return torch.equal(*(each.contiguous().flatten().view(torch.uint8) for each in (one, other)))


def _gives(graph: Flat, tensors: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Whether operations give what is expected, to the bit."""
    try:
        with torch.no_grad():
            found = graph(*tensors)
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return False
    return len(found) == len(expected) and all(map(are_same, found, expected))


def _form_of(tensor: Tensor, any_size: bool = False) -> tuple[Any, ...]:
    """Return the form of a tensor, or of one with as many rows as there are runs."""
    return tensor.shape[1:] if any_size else tensor.shape, tensor.stride(), tensor.dtype, tensor.device


def _mode_of(tensor: Tensor) -> tuple[Any, ...]:
    kind = tensor.device.type
    autocast = torch.is_autocast_enabled(kind)
    return (
        torch.get_default_dtype(),
        autocast and torch.get_autocast_dtype(kind),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.mkldnn.enabled,
    )
