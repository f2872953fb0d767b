"""Search by reinforcement learning: a small recurrent controller chooses value after value (Zoph & Le 2017).

It is trained by REINFORCE (Williams 1992), one step for each trial: choices that led to a lower loss than trials did
before become more probable. It remembers nothing that the record does not hold. Its first weights follow from the
study's seed and its steps from the trials known, in order, so that whoever does them again has the same controller:
what is kept here only saves that work.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nbopt.search.samplers.question import Known, Place, Question
from nbopt.search.spaces.space import Space

_HIDDEN = 24  # units of the controller
_BINS = 8  # choices that a range is divided into; within one of them, any value is as probable
_RATE = 0.02  # of Adam
_DECAY = 0.9  # of the mean loss that a trial is compared with
_CURIOSITY = 0.1  # weight of the entropy of the choices
_STUDIES = 4  # whose controllers are kept


class Controller:
    """An LSTM (Hochreiter & Schmidhuber 1997) that reads one choice and answers with probabilities of the next.

    Parameters
    ----------
    space : Space
    seed : int
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self.dimensions = [each for each in space.in_order if each.name not in space.pinned]
        self.counts = [each.count if 0 < each.count <= 2 * _BINS else _BINS for each in self.dimensions]
        places = {each.name: place for place, each in enumerate(space.open)}
        self._places = [places[each.name] for each in self.dimensions]
        made = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            drawn = torch.rand(shape, generator=made, dtype=torch.float64, device="cpu")
            return (0.2 * drawn - 0.1).requires_grad_()

        self._start = draw(_HIDDEN)
        self._gates, self._bias = draw(4 * _HIDDEN, 2 * _HIDDEN), draw(4 * _HIDDEN)
        self._embeddings = [draw(count, _HIDDEN) for count in self.counts]
        self._heads = [draw(count, _HIDDEN) for count in self.counts]
        self._biases = [torch.zeros(n, dtype=torch.float64, device="cpu", requires_grad=True) for n in self.counts]
        weights = [self._start, self._gates, self._bias, *self._embeddings, *self._heads, *self._biases]
        self._optimizer = torch.optim.Adam(weights, _RATE)
        self._mean, self._square, self._told = 0.0, 0.0, 0

    def choose(self, random: np.random.Generator) -> list[float]:
        """Return a place in the unit cube of the space, drawn from what is probable."""
        shares, values = np.full(len(self.dimensions), 0.5), dict(self._space.pinned)
        state = self._begin()
        with torch.no_grad():
            for k, each in enumerate(self.dimensions):
                luck, within = random.random(2)
                if not self._space.matters(each.name, values):
                    continue
                state, logits = self._step(k, state)
                chances = torch.softmax(logits, 0).cumsum(0).numpy()
                choice = min(int(np.searchsorted(chances, luck)), self.counts[k] - 1)
                shares[self._places[k]] = (choice + within) / self.counts[k]
                values[each.name] = each.at(shares[self._places[k]])
                state = self._read(k, choice, state)
        return [*map(float, shares)]

    def learn(self, known: Known) -> None:
        """Do a step of REINFORCE for a trial."""
        loss = known.loss if np.isfinite(known.loss) else self._mean + 3 * self._spread
        if self._told:
            gain = float(np.clip((self._mean - loss) / (self._spread or 1.0), -3, 3))
            self._follow(known.place, gain)
        share = max(1 - _DECAY, 1 / (self._told + 1))
        self._mean += share * (loss - self._mean)
        self._square += share * (loss**2 - self._square)
        self._told += 1

    @property
    def _spread(self) -> float:
        return float(np.sqrt(max(0.0, self._square - self._mean**2)))

    def _follow(self, place: Place, gain: float) -> None:
        values = dict(self._space.pinned)
        state, total = self._begin(), torch.zeros((), dtype=torch.float64, device="cpu")
        with torch.enable_grad():
            for k, each in enumerate(self.dimensions):
                if not self._space.matters(each.name, values):
                    continue
                share = float(place[self._places[k]])
                choice = min(int(share * self.counts[k]), self.counts[k] - 1)
                values[each.name] = each.at(share)
                state, logits = self._step(k, state)
                logs = torch.log_softmax(logits, 0)
                total = total - gain * logs[choice] + _CURIOSITY * (logs.exp() * logs).sum()
                state = self._read(k, choice, state)
            self._optimizer.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()

    def _begin(self) -> tuple[Tensor, Tensor, Tensor]:
        empty = torch.zeros(_HIDDEN, dtype=torch.float64, device="cpu")
        return self._start, empty, empty

    def _step(self, k: int, state: tuple[Tensor, Tensor, Tensor]) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """Return the state after reading the choice before, and the logits of the next."""
        read, hidden, cell = state
        take, forget, new, give = (self._gates @ torch.cat([read, hidden]) + self._bias).view(4, _HIDDEN)
        cell = torch.sigmoid(forget + 1) * cell + torch.sigmoid(take) * torch.tanh(new)
        hidden = torch.sigmoid(give) * torch.tanh(cell)
        return (read, hidden, cell), self._heads[k] @ hidden + self._biases[k]

    def _read(self, k: int, choice: int, state: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        return self._embeddings[k][choice], state[1], state[2]


class _Kept(NamedTuple):
    """A controller and the trials that it learnt from: number, loss and place of each."""

    controller: Controller
    trials: list[tuple[int, float, bytes]]


_kept: dict[Any, _Kept] = {}
_lock = threading.Lock()


def reinforce(question: Question) -> Mapping[str, Any]:
    """Let a controller choose that has learnt from the trials known."""
    with _lock:
        return question.space.at(_find(question).choose(question.draw()))


def _find(question: Question) -> Controller:
    space = question.space
    walked = [(each.name, each.low, each.high, repr(each.options), repr(each.when)) for each in space.values()]
    key = (question.seed, *walked, repr(space.pinned))
    trials = [(each.number, each.loss, each.place.tobytes()) for each in question.known]
    kept = _kept.pop(key, None)
    if kept is None or kept.trials != trials[: len(kept.trials)]:
        kept = _Kept(Controller(space, question.seed), [])
    for each, mark in zip(question.known[len(kept.trials) :], trials[len(kept.trials) :], strict=True):
        kept.controller.learn(each)
        kept.trials.append(mark)
    _kept[key] = kept
    while len(_kept) > _STUDIES:
        del _kept[next(iter(_kept))]
    return kept.controller
