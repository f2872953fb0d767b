"""The tensors of many runs in rows: what each of the runs holds is its row of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nbopt.techniques.optimizers.formulas import FORMULAS
from nbopt.training.compile.step import find_trained
from nbopt.training.training import Training


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


class Stack:
    """Weights, buffers and what optimizers remember, of runs of one shape.

    Parameters
    ----------
    trainings : sequence of Training
        Whose tensors become rows, in this order.

    Attributes
    ----------
    trainings : list of Training
    weights, fixed, buffers : list of Tensor
        Trained weights, as `find_trained` has them, other weights, and buffers, each of shape (runs, ...).
    state : list of list of Tensor
        Of each of the optimizers' keys, one tensor a weight, (runs, ...); empty where they are not of a known formula.
    counts : Tensor
        Updates done, (runs, weights), where optimizers count them.
    """

    def __init__(self, trainings: Sequence[Training]) -> None:
        self.trainings = list(trainings)
        models = [training.model for training in trainings]
        trained = [[weight for _name, weight in find_trained(model)] for model in models]
        self.weights = list(map(_join, zip(*trained, strict=True)))
        resting = [[weight for weight in model.parameters() if not weight.requires_grad] for model in models]
        self.fixed = list(map(_join, zip(*resting, strict=True)))
        self.buffers = list(map(_join, zip(*(list(model.buffers()) for model in models), strict=True)))
        self.state: list[list[Tensor]] = []
        self.counts = torch.zeros(len(models), len(self.weights))
        self._trained = trained
        self._places = {id(training): row for row, training in enumerate(trainings)}
        self._keys: Sequence[str] = ()
        self._remembering: set[int] = set()
        self._optimizers = [training.torch_optimizer for training in trainings]
        self._states = [optimizer.state for optimizer in self._optimizers]
        if (formula := FORMULAS.get(type(self._optimizers[0]))) is not None:
            self._join_states(formula.keys)

    def _join_states(self, keys: Sequence[str]) -> None:
        """Take over what the optimizers remember; what is not there yet begins with zeros.

        The tensors that they hold stay the objects that they are: lists of a single run's step hold them, too.
        """
        rows = list(zip(self._optimizers, self._trained, strict=True))
        self._keys = keys
        counts = "exp_avg" in keys
        for key in keys:
            found = []
            for place in range(len(self.weights)):
                own = [optimizer.state.get(weights[place], {}).get(key) for optimizer, weights in rows]
                found.append(
                    _join([_or_zeros(tensor, weights[place]) for tensor, (_o, weights) in zip(own, rows, strict=True)])
                )
                for row, (optimizer, weights) in enumerate(rows):
                    if counts and not isinstance(own[row], Tensor):
                        optimizer.state[weights[place]][key] = found[-1][row]
            self.state.append(found)
        if counts:
            before = [[optimizer.state[weight].get("step") for weight in weights] for optimizer, weights in rows]
            held = [count for row in before for count in row if isinstance(count, Tensor)]
            self.counts = torch.zeros(len(rows), len(self.weights), device=held[0].device if held else "cpu")
            for row, (optimizer, weights) in enumerate(rows):
                for place, weight in enumerate(weights):
                    count, own_count = self.counts[row, place], before[row][place]
                    if isinstance(own_count, Tensor):
                        count.copy_(own_count)
                        own_count.data = count
                    else:
                        optimizer.state[weight]["step"] = count

    def remember(self, rows: Sequence[int]) -> None:
        """Have optimizers remember their rows of what they did not remember before."""
        for row in rows:
            if row not in self._remembering:
                self._remembering.add(row)
                state = self._optimizers[row].state
                for place, weight in enumerate(self._trained[row]):
                    for key, tensors in zip(self._keys, self.state, strict=True):
                        if not isinstance(state[weight].get(key), Tensor):
                            tensors[place][row].zero_()
                            state[weight][key] = tensors[place][row]

    def holds(self, trainings: Sequence[Training]) -> bool:
        """Whether its rows are what these runs train with, in this order."""
        if len(trainings) != len(self.trainings):
            return False
        return all(
            one is other and one.torch_optimizer is optimizer and optimizer.state is state
            for one, other, optimizer, state in zip(
                trainings, self.trainings, self._optimizers, self._states, strict=True
            )
        )

    def trains_the_same(self) -> bool:
        """Whether the weights that train are still those that did; none was frozen, unfrozen or exchanged."""
        return all(
            list(map(id, known)) == [id(weight) for _name, weight in find_trained(training.model)]
            for training, known in zip(self.trainings, self._trained, strict=True)
        )

    def let_go(self, kept: Sequence[Training]) -> None:
        """Give all runs but these tensors of their own."""
        known = set(map(id, kept))
        for training, weights, optimizer in zip(self.trainings, self._trained, self._optimizers, strict=True):
            if id(training) in known:
                continue
            for tensor in (*training.model.parameters(), *training.model.buffers()):
                tensor.data = tensor.detach().clone()
            for weight in weights:
                for value in optimizer.state.get(weight, {}).values():
                    if isinstance(value, Tensor):
                        value.data = value.clone()

    # -- what a step takes

    def rows(self, some: Tensor | None) -> Rows:
        """Return what belongs to some runs, given by their places, or to all: then what is written to it stays."""
        if some is None:
            return Rows(self.weights, self.fixed, self.buffers, self.state, self.counts)

        def pick(tensors: Sequence[Tensor]) -> list[Tensor]:
            return [tensor.index_select(0, some) for tensor in tensors]

        state = [pick(tensors) for tensors in self.state]
        return Rows(pick(self.weights), pick(self.fixed), pick(self.buffers), state, pick([self.counts])[0])

    def put(self, some: Tensor | None, rows: Rows, buffers: Sequence[Tensor]) -> None:
        """Take over what a step made of `rows`, and of buffers."""
        if some is None:
            for tensor, after in zip(self.buffers, buffers, strict=True):
                tensor.copy_(after)
            return
        pairs = [*zip(self.buffers, buffers, strict=True)]
        if rows.are_ahead:
            pairs += [*zip(self.weights, rows.weights, strict=True), (self.counts, rows.counts)]
            for tensors, others in zip(self.state, rows.state, strict=True):
                pairs += zip(tensors, others, strict=True)
        for tensor, after in pairs:
            tensor.index_copy_(0, some, after)

    def give(self, trainings: Sequence[Training], gradients: Sequence[Tensor]) -> None:
        """Give runs their rows of the gradients."""
        for place, gradient in enumerate(gradients):
            for training, row in zip(trainings, gradient.unbind(), strict=True):
                self._weights_of(training)[place].grad = row

    def find(self, trainings: Sequence[Training], gradients: Sequence[Tensor]) -> None:
        """Take over what runs have made of their gradients."""
        for place, gradient in enumerate(gradients):
            for training, row in zip(trainings, gradient.unbind(), strict=True):
                own = self._weights_of(training)[place].grad
                if own is not None and own.data_ptr() != row.data_ptr():
                    row.copy_(own)

    def _weights_of(self, training: Training) -> Sequence[Tensor]:
        return self._trained[self._places[id(training)]]


def _join(tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors as rows of one; each of them is its row from now on."""
    rows = torch.stack([tensor.detach() for tensor in tensors])
    for tensor, row in zip(tensors, rows.unbind(), strict=True):
        tensor.data = row
    return rows


def _or_zeros(tensor: object, weight: Tensor) -> Tensor:
    return tensor if isinstance(tensor, Tensor) else torch.zeros_like(weight, requires_grad=False)
