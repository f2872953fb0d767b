"""Steps of many runs by machine code: block by block, some steps each, until there is news."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from nbopt.training.compile.step import Layer
from nbopt.training.many.blocks import Blocks, Given, Numbers
from nbopt.training.many.compiled import CompiledSteps, ManyCompiler
from nbopt.training.many.member import OneOfMany
from nbopt.training.many.noise import Pair, StepNoise
from nbopt.training.many.stack import Stack

_MOST_DRAWN = 2**22  # numbers that are there at a time, for masks: 32 MiB


class Planned(NamedTuple):
    """Steps that are to be done, of all runs of a stack.

    Attributes
    ----------
    trainings : sequence of OneOfMany
        In the order of their rows.
    layers : list of Layer
        The dropout layers.
    batch : tuple of Tensor
        (x, y) of all steps, see `Given`.
    shared : bool
        Whether it is the same for all.
    losses : Tensor
        Where losses are to be written, (steps, runs).
    rates : ndarray
        Learning rates, (steps, runs).
    kept : sequence of int
        The rows of runs whose outputs count for their metrics.
    """

    trainings: Sequence[OneOfMany]
    layers: list[Layer]
    batch: Pair
    shared: bool
    losses: Tensor
    rates: Any
    kept: Sequence[int]


def do_compiled(
    planned: Planned,
    stack: Stack,
    compiled: CompiledSteps,
    noise: StepNoise,
    numbers_of: Numbers,
    has_news: Callable[[], bool],
    most: int,
) -> int:
    """Do steps; return how many, 0 where there is no machine code for them.

    Parameters
    ----------
    has_news : callable
        Whether no more steps are to be done.
    most : int
        How many steps are done between two looks at that.
    """
    trainings, layers, batch, shared, losses, rates, kept = planned
    if (key := compiled.find(trainings, stack.slots, shared)) is None:
        return 0
    count, rows = len(losses), range(len(trainings))
    uniform = noise.uniform(layers)
    if key.shared and not uniform.alike and (key := compiled.find(trainings, stack.slots, False)) is None:
        return 0
    blocks = Blocks(stack, key.remembers)
    if shared and not key.shared:
        x, y = batch
        batch, shared = (x.expand(len(rows), *x.shape), y.expand(len(rows), *y.shape)), False
    numbers = numbers_of.of(stack.rows(None).counts, rates)

    def batch_of(first: int, steps: int) -> Pair:
        x, y = batch
        size = len(y if shared else y[0]) // count
        part = slice(first * size, (first + steps) * size)
        return (x[part], y[part]) if shared else (x[:, part], y[:, part])

    def given(first: int, steps: int) -> Given:
        drawn = [uniform.of(first + step) for step in range(steps)]
        if uniform.alike and not shared:
            drawn = [[own.expand(len(rows), *own.shape) for own in each] for each in drawn]
        return Given(steps, batch_of(first, steps), shared, drawn, uniform.shares, numbers[:, first : first + steps])

    if (ready := compiled.ready(key)) is None:

        def make(only_kept: bool) -> ManyCompiler:
            return ManyCompiler(trainings[0], key, next(blocks.arguments(0, given(0, 1))), only_kept)

        compiled.think(trainings[0], key, make, compiled.is_awaited)
        compiled.reason = compiled.refusal(key)
        if (ready := compiled.ready(key)) is None:
            return 0
    done, most = 0, min(most, uniform.most(_MOST_DRAWN))
    while done < count and not (done and has_news()):
        steps = min(most, count - done)
        if (results := blocks.do(ready, given(done, steps))) is None:
            return 0
        losses[done : done + steps] = results[0].t()
        for step in range(steps if kept else 0):
            _x, y = batch_of(done + step, 1)
            for row in kept:
                trainings[row].recent.keep(results[1][row, step], y if shared else y[row])
        done += steps
    compiled.at_work, compiled.is_awaited = True, False
    return done
