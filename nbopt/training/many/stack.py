"""The tensors of many runs in rows: what each of the runs holds is its row of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nbopt.techniques.optimizers.formulas import FORMULAS
from nbopt.training.compile.step import find_trained
from nbopt.training.many.member import OneOfMany


@dataclass
class Rows:
    """What `Stack` has of some runs, or of all.

    Attributes
    ----------
    weights, fixed, buffers, state, counts
        As `Stack` has them; copies, where they are of some runs alone.
    are_ahead : bool
        Whether these are what the stack is to have, where they are copies.
    """

    weights: list[Tensor]
    fixed: list[Tensor]
    buffers: list[Tensor]
    state: list[list[Tensor]]
    counts: Tensor
    are_ahead: bool = True


class _Held:
    """What a run holds of a row."""

    def __init__(self, training: OneOfMany) -> None:
        model, optimizer = training.model, training.torch_optimizer
        self.training, self.optimizer = training, optimizer
        self.state: Any = optimizer.state
        self.weights = [weight for _name, weight in find_trained(model)]
        self.fixed = [weight for weight in model.parameters() if not weight.requires_grad]
        self.buffers = list(model.buffers())
        self.remembers = False

    def is_of(self, training: OneOfMany) -> bool:
        """Whether the run still trains with what it held."""
        return self.optimizer is training.torch_optimizer and self.optimizer.state is self.state

    def trains_the_same(self) -> bool:
        """Whether the weights that train are still those that did; none was frozen, unfrozen or exchanged."""
        now = [weight for _name, weight in find_trained(self.training.model)]
        return list(map(id, now)) == list(map(id, self.weights))

    def let_go(self) -> None:
        """Have tensors of one's own."""
        for tensor in (*self.weights, *self.fixed, *self.buffers):
            tensor.data = tensor.detach().clone()
        for weight in self.weights:
            for value in self.optimizer.state.get(weight, {}).values():
                if isinstance(value, Tensor):
                    value.data = value.clone()

    def form(self) -> tuple[Any, ...]:
        """Return what is the same for all rows of a stack."""
        tensors = [*self.weights, *self.fixed, *self.buffers]
        return len(self.weights), len(self.fixed), type(self.optimizer), [(each.shape, each.dtype) for each in tensors]


class Stack:
    """Weights, buffers and what optimizers remember, of runs of one shape.

    There are as many rows as `slots` goes into. The runs have the first ones; the others are spare, for runs that join.

    Parameters
    ----------
    trainings : sequence of OneOfMany
        Whose tensors become rows, in this order.
    slots : int
        How many rows are stepped by one call of machine code.

    Attributes
    ----------
    trainings : list of OneOfMany
        Whose row is which.
    slots : int
    weights, fixed, buffers : list of Tensor
        Trained weights, as `find_trained` has them, other weights, and buffers, each of shape (rows, ...).
    state : list of list of Tensor
        Of each of the optimizers' keys, one tensor a weight, (rows, ...); empty where they are not of a known formula.
    counts : Tensor
        Updates done, (rows, weights), where optimizers count them.
    """

    def __init__(self, trainings: Sequence[OneOfMany], slots: int = 1) -> None:
        held = list(map(_Held, trainings))
        first, self.slots = held[0], slots
        count = -(-len(held) // slots) * slots
        self._form = first.form()
        self.weights, self.fixed, self.buffers = (
            [tensor.detach().new_zeros((count, *tensor.shape)) for tensor in tensors]
            for tensors in (first.weights, first.fixed, first.buffers)
        )
        formula = FORMULAS.get(type(first.optimizer))
        has_more = any(group.get("amsgrad") for group in first.optimizer.param_groups)
        self._keys: Sequence[str] = () if formula is None or has_more else formula.keys
        self.state = [[torch.zeros_like(weight) for weight in self.weights] for _key in self._keys]
        steps = [own.state.get(weight, {}).get("step") for own in held for weight in own.weights]
        device = next((step.device for step in steps if isinstance(step, Tensor)), "cpu")
        self.counts = torch.zeros(count, len(self.weights), device=device)
        self._rows: list[_Held] = []
        self._have(held)
        for tensor in self._tensors():
            tensor[len(held) :] = tensor[len(held) - 1]  # spare rows do as the last one does

    def _tensors(self) -> Iterable[Tensor]:
        yield from (*self.weights, *self.fixed, *self.buffers, self.counts)
        for tensors in self.state:
            yield from tensors

    def _have(self, held: list[_Held]) -> None:
        """Have a row for each of these; those that are where they belong are left alone."""
        for row, own in enumerate(held):
            if row >= len(self._rows) or self._rows[row] is not own:
                self._put(row, own)
        self._rows = held
        self.trainings = [own.training for own in held]
        self._places = {id(training): row for row, training in enumerate(self.trainings)}
        count = slice(len(held))

        def mine(tensors: Sequence[Tensor]) -> list[Tensor]:
            return [tensor[count] for tensor in tensors]

        state = list(map(mine, self.state))
        self._all = Rows(mine(self.weights), mine(self.fixed), mine(self.buffers), state, self.counts[count])

    def _put(self, row: int, own: _Held) -> None:
        """Take over what a run holds into a row, and have it hold that.

        The tensors that it holds stay the objects that they are: lists of a single run's step hold them, too.
        """
        pairs = (own.weights, self.weights), (own.fixed, self.fixed), (own.buffers, self.buffers)
        for tensors, rows in pairs:
            for tensor, stacked in zip(tensors, rows, strict=True):
                _move(tensor, stacked[row])
        counts = "exp_avg" in self._keys
        for place, weight in enumerate(own.weights):
            if not counts and weight not in own.state:
                for tensors in self.state:
                    tensors[place][row].zero_()
                continue
            state = own.state[weight]
            for key, tensors in zip(self._keys, self.state, strict=True):
                self._put_state(state, key, tensors[place][row], counts)
            if counts:
                self._put_state(state, "step", self.counts[row, place], counts)

    def _put_state(self, state: dict[str, Any], key: str, row: Tensor, begins: bool) -> None:
        """Take over what an optimizer remembers of a weight; what is not there yet begins with zeros."""
        if isinstance(own := state.get(key), Tensor):
            _move(own, row)
            return
        row.zero_()
        if begins:
            state[key] = row

    def is_like(self, training: OneOfMany) -> bool:
        """Whether a run has tensors as those of its rows are."""
        return _Held(training).form() == self._form

    def held(self, training: OneOfMany) -> list[Tensor]:
        """Return what a run computes with: trained weights, other weights, buffers."""
        own = self._rows[self._places[id(training)]]
        return [*own.weights, *own.fixed, *own.buffers]

    def remember(self, rows: Sequence[int]) -> None:
        """Have optimizers remember their rows of what they did not remember before."""
        for row in rows:
            own = self._rows[row]
            if not own.remembers:
                own.remembers = True
                for place, weight in enumerate(own.weights):
                    for key, tensors in zip(self._keys, self.state, strict=True):
                        if not isinstance(own.state[weight].get(key), Tensor):
                            tensors[place][row].zero_()
                            own.state[weight][key] = tensors[place][row]

    # -- whose rows they are

    def holds(self, trainings: Sequence[OneOfMany]) -> bool:
        """Whether its rows are what these runs train with, in whatever order."""
        rows, places = self._rows, self._places
        return len(trainings) == len(rows) and all(
            (row := places.get(id(training))) is not None and rows[row].is_of(training) for training in trainings
        )

    def trains_the_same(self, training: OneOfMany) -> bool:
        """Whether the weights that train are still those that did."""
        return self._rows[self._places[id(training)]].trains_the_same()

    def follow(self, trainings: Sequence[OneOfMany]) -> bool:
        """Have rows for these runs and no others; return whether there are rows enough, and of their shapes.

        Who stays keeps its row, unless one that is further ahead becomes free.
        """
        known = {id(own.training): own for own in self._rows if own.is_of(own.training) and own.trains_the_same()}
        held = [known.get(id(training)) or _Held(training) for training in trainings]
        if len(held) > len(self.counts) or any(own.form() != self._form for own in held):
            return False
        kept, before = set(map(id, held)), set(map(id, self._rows))
        rows: list[_Held | None] = []
        for own in self._rows:
            if id(own) not in kept:
                own.let_go()
            rows.append(own if id(own) in kept else None)
        joining = [own for own in reversed(held) if id(own) not in before]
        rows += [None] * (len(held) - len(rows))
        for row in range(len(held)):
            if rows[row] is None:
                rows[row] = joining.pop() if joining else self._take_last(rows)
        self._have([own for own in rows[: len(held)] if own is not None])
        return True

    def _take_last(self, rows: list[_Held | None]) -> _Held | None:
        """Take the last one out of its row."""
        row = max(row for row, own in enumerate(rows) if own is not None)
        own, rows[row] = rows[row], None
        return own

    def let_go(self, kept: Sequence[OneOfMany]) -> None:
        """Give all runs but these tensors of their own."""
        known = set(map(id, kept))
        for own in self._rows:
            if id(own.training) not in known:
                own.let_go()

    # -- what a step takes

    def rows(self, some: Tensor | None) -> Rows:
        """Return what belongs to some runs, given by their places, or to all: then what is written to it stays."""
        if some is None:
            return self._all

        def pick(tensors: Sequence[Tensor]) -> list[Tensor]:
            return [tensor.index_select(0, some) for tensor in tensors]

        state = [pick(tensors) for tensors in self.state]
        return Rows(pick(self.weights), pick(self.fixed), pick(self.buffers), state, pick([self.counts])[0])

    def put(self, some: Tensor | None, rows: Rows, buffers: Sequence[Tensor]) -> None:
        """Take over what a step made of `rows`, and of buffers."""
        if some is None:
            for tensor, after in zip(rows.buffers, buffers, strict=True):
                tensor.copy_(after)
            return
        pairs = [*zip(self.buffers, buffers, strict=True)]
        if rows.are_ahead:
            pairs += [*zip(self.weights, rows.weights, strict=True), (self.counts, rows.counts)]
            for tensors, others in zip(self.state, rows.state, strict=True):
                pairs += zip(tensors, others, strict=True)
        for tensor, after in pairs:
            tensor.index_copy_(0, some, after)

    def give(self, trainings: Sequence[OneOfMany], gradients: Sequence[Tensor]) -> None:
        """Give runs their rows of the gradients."""
        for place, gradient in enumerate(gradients):
            for training, row in zip(trainings, gradient.unbind(), strict=True):
                self._weights_of(training)[place].grad = row

    def find(self, trainings: Sequence[OneOfMany], gradients: Sequence[Tensor]) -> None:
        """Take over what runs have made of their gradients."""
        for place, gradient in enumerate(gradients):
            for training, row in zip(trainings, gradient.unbind(), strict=True):
                own = self._weights_of(training)[place].grad
                if own is not None and own.data_ptr() != row.data_ptr():
                    row.copy_(own)

    def _weights_of(self, training: OneOfMany) -> Sequence[nn.Parameter]:
        return self._rows[self._places[id(training)]].weights


def _move(tensor: Tensor, row: Tensor) -> None:
    """Have a tensor be a row, with the numbers that it has."""
    row.copy_(tensor.detach())
    tensor.data = row
