"""One graph for any number of runs, from the graphs of two numbers, as `torch.func.vmap` writes the number into each.

The two have the same operations, but for integers in their arguments, which follow a line over the number of runs, as
sizes do. What that gives for others is a guess until it is compared with what it should give.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx


class Line(NamedTuple):
    """An integer in an operation, over the number of runs."""

    slope: int
    start: int


class AnySize(NamedTuple):
    """Operations of any number of runs.

    Attributes
    ----------
    graph : torch.fx.GraphModule
        Takes integers, then tensors.
    lines : list of Line
        These integers.
    """

    graph: fx.GraphModule
    lines: list[Line]

    def of(self, runs: int) -> partial[Any]:
        """Return those of so many runs, a function of the tensors."""
        return partial(self.graph, *(line.slope * runs + line.start for line in self.lines))


def generalize(one: fx.GraphModule, other: fx.GraphModule, runs: tuple[int, int]) -> AnySize | None:
    """Return what the graphs of two numbers of runs are cases of; None where they differ in more than integers."""
    try:
        merged = _Merged(one, other, runs)
    except _Different:
        return None
    return AnySize(fx.GraphModule(one, merged.graph), list(merged.integers))


class _Different(Exception):
    pass


class _Merged:
    def __init__(self, one: fx.GraphModule, other: fx.GraphModule, runs: tuple[int, int]) -> None:
        self.graph, self._runs = fx.Graph(), runs
        self.integers: dict[Line, fx.Node] = {}
        self._made: dict[fx.Node, fx.Node] = {}
        self._partners: dict[fx.Node, fx.Node] = {}
        if len(one.graph.nodes) != len(other.graph.nodes):
            raise _Different
        for node, partner in zip(one.graph.nodes, other.graph.nodes, strict=True):
            if (node.op, node.target) != (partner.op, partner.target) or not _hold_the_same(node, one, other):
                raise _Different
            arguments = (self._join(node.args, partner.args), self._join(node.kwargs, partner.kwargs))
            self._made[node] = self.graph.create_node(node.op, node.target, *arguments)
            self._partners[node] = partner

    def _join(self, one: Any, other: Any) -> Any:
        """Return an argument of which these are cases."""
        if isinstance(one, fx.Node):
            if self._partners[one] is not other:
                raise _Different
            return self._made[one]
        if type(one) is not type(other):
            raise _Different
        if isinstance(one, (tuple, list)):
            if len(one) != len(other):
                raise _Different
            parts = [self._join(*pair) for pair in zip(one, other, strict=True)]
            return tuple(parts) if isinstance(one, tuple) else parts
        if isinstance(one, dict):
            if one.keys() != other.keys():
                raise _Different
            return {name: self._join(value, other[name]) for name, value in one.items()}
        if type(one) is int and one != other:
            return self._integer(one, other)
        if one != other:
            raise _Different
        return one

    def _integer(self, one: int, other: int) -> fx.Node:
        first, second = self._runs
        slope, rest = divmod(other - one, second - first)
        if rest:
            raise _Different
        line = Line(slope, one - slope * first)
        if line not in self.integers:
            with self.graph.inserting_before(next(iter(self._made.values()))):
                self.integers[line] = self.graph.placeholder(f"integer_{len(self.integers)}")
        return self.integers[line]


def _hold_the_same(node: fx.Node, one: fx.GraphModule, other: fx.GraphModule) -> bool:
    """Whether a node reads the same from both, where it reads something."""
    if node.op != "get_attr":
        return True
    held = [getattr(graph, str(node.target)) for graph in (one, other)]
    return all(isinstance(each, Tensor) for each in held) and torch.equal(*held)
