"""A step of many runs as one call of machine code: pass, gradients and updates of all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

from nbopt.i18n import _
from nbopt.techniques.optimizers.many import UPDATES, formula_of
from nbopt.training.compile.background import BackgroundCompile
from nbopt.training.compile.build import Build
from nbopt.training.compile.captured import RECORDERS, Shape
from nbopt.training.compile.compiled import agree, sign
from nbopt.training.compile.obstacles import find_obstacle
from nbopt.training.compile.step import CannotCompile, Chunk, Layer, Signature, find_layers, make_chunk, stand_in
from nbopt.training.many.member import OneOfMany
from nbopt.training.many.stack import Stack

_CLOSE = (1e-3, 1e-6)  # how far results may be from those that are not compiled
_LOOK_SECONDS = 0.1
_TRAINED_SECONDS, _LEFT_SECONDS = 5.0, 60.0  # before compiling is thought of, and how much has to lie ahead


class Key(NamedTuple):
    """What a step is compiled for; all else enters it as tensors.

    Attributes
    ----------
    runs : int
    signature : Signature
        Of one of them.
    remembers : bool
        Whether optimizers remember anything of weights.
    shared : bool
        Whether all see the same batch.
    """

    runs: int
    signature: Signature
    remembers: bool
    shared: bool


class Ready(NamedTuple):
    """A compiled step, and the shapes of what it takes."""

    chunk: Chunk
    shapes: list[Shape]


class ManyCompiler:
    """Makes a step of many runs, in any thread: all that it needs is copied when this is made.

    Parameters
    ----------
    training : OneOfMany
        One of the runs.
    key : Key
    arguments : list of Tensor
        What such a step takes.

    Raises
    ------
    CannotCompile
        If such a step cannot be compiled.
    """

    def __init__(self, training: OneOfMany, key: Key, arguments: list[Tensor]) -> None:
        self.signature = key
        self._arguments = [tensor.detach().clone() for tensor in arguments]
        twin, names = stand_in(training.model)
        layers = find_layers(twin, names, training.cursor.peek(), training.noise, [])
        formula = formula_of(type(training.torch_optimizer), key.remembers)
        chunk = make_chunk(twin, copy(training.loss), formula, layers, key.signature, [])
        given = len(layers) + 1
        held = len(arguments) - given - 2
        dims = (*[0] * held, *[None if key.shared else 0] * 2, *[0] * given)
        each = vmap(lambda *flat: tuple(chunk([*flat])), in_dims=dims)
        self._all: Chunk = lambda flat: each(*flat)
        self.build = Build()

    def make(self) -> Ready:
        """Make it, and compare it with what it was made of.

        Raises
        ------
        CannotCompile
            If it cannot be made, or does not compute what it should.
        """
        got, expected = ([tensor.clone() for tensor in self._arguments] for _each in range(2))
        shapes = list(map(Shape.of, got))
        with torch.no_grad():
            made = self.build.compile(self._all, got)
            results = [*self._all([*expected])], [*made([*got])]
        if not agree([*results[0], *expected], [*results[1], *got], *_CLOSE):
            raise CannotCompile(_("compiled, the models compute something else"))
        return Ready(made, shapes)


class CompiledSteps:
    """Has steps of many runs compiled meanwhile, and does them once they are.

    Attributes
    ----------
    reason : str
        Why none are, in words; "" where there is nothing to say.
    at_work : bool
        Whether the last steps were done so.
    is_on : bool
        Whether any are to be.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.at_work = False
        self.is_on = True
        self._known: dict[Key, Ready | str] = {}
        self._job: BackgroundCompile | None = None
        self._look_at = 0.0

    def find(self, trainings: Sequence[OneOfMany], shared: bool) -> Key | None:
        """Return what a step of these runs would be compiled for; None where it is not to be."""
        first = trainings[0]
        tier = first.hyperparams["tier"]
        if not self.is_on or tier == "eager" or first.device.type in RECORDERS or first.device.type != "cpu":
            return None
        known = UPDATES.get(type(first.torch_optimizer))
        if known is None:
            return None
        remembers = any(known.remembers(one.torch_optimizer.param_groups[0]) for one in trainings)
        return Key(len(trainings), sign(first, 1), remembers, shared)

    def ready(self, key: Key) -> Ready | None:
        """Return a step that was compiled for ``key``; None where there is none."""
        if self._job is not None and not self._job.is_alive():
            self._known[self._job.signature], self._job = self._job.result, None
        found = self._known.get(key)
        self.reason = found if isinstance(found, str) else ""
        return found if isinstance(found, Ready) else None

    def think(self, trainings: Sequence[OneOfMany], key: Key, arguments: Callable[[], list[Tensor]]) -> None:
        """Begin to compile, where that is asked for or a long way lies ahead."""
        now = time.perf_counter()
        if now < self._look_at or key in self._known or self._job is not None:
            return
        self._look_at = now + _LOOK_SECONDS
        first = trainings[0]
        if first.hyperparams["tier"] == "auto":
            seconds, share = first.meter.seconds, first.share
            if seconds < _TRAINED_SECONDS or not share or seconds / share * (1 - share) < _LEFT_SECONDS:
                return
        reason = next(filter(None, map(find_obstacle, {id(one): one for one in (first, trainings[-1])}.values())), "")
        try:
            if reason:
                raise CannotCompile(reason)
            self._job = BackgroundCompile(ManyCompiler(first, key, arguments()))
            self._job.start()
        except CannotCompile as error:
            self._known[key] = str(error)

    def do(self, ready: Ready, arguments: list[Tensor]) -> Sequence[Tensor] | None:
        """Do a step; return losses (runs, 1) and, if wanted, outputs (runs, 1, ...); None if it does not suit."""
        if list(map(Shape.of, arguments)) != ready.shapes:
            return None
        self.at_work = True
        return ready.chunk(arguments)


def arguments_of(
    stack: Stack,
    key: Key,
    batch: tuple[Tensor, Tensor],
    layers: Sequence[Layer],
    masks: Sequence[Tensor],
    numbers: Tensor,
) -> list[Tensor]:
    """Return what a compiled step of these runs takes, in order."""
    state = [tensor for tensors in stack.state for tensor in tensors] if key.remembers else []
    fed = [
        mask.expand(key.runs, *mask.shape).contiguous() if mask.ndim == layer.ones.ndim else mask
        for mask, layer in zip(masks, layers, strict=True)
    ]
    return [*stack.weights, *stack.buffers, *stack.fixed, *state, *batch, *(mask[:, None] for mask in fed), numbers]


class Numbers:
    """What formulas take of many runs, found anew where anything in it is other than in the step before.

    Parameters
    ----------
    trainings : sequence of OneOfMany
        As their settings are now.
    """

    def __init__(self, trainings: Sequence[OneOfMany]) -> None:
        self._known = UPDATES.get(type(trainings[0].torch_optimizer))
        self._groups = [training.torch_optimizer.param_groups[0] for training in trainings]
        self._pulls = np.array([[training.acting.sign_pull] for training in trainings], np.float64)
        self._rates: Any = None
        self._found: Tensor

    def of(self, stack: Stack, rates: Any) -> Tensor:
        """Return them for the next step, (runs, 1, ...)."""
        known = self._known
        assert known is not None
        if known.counts or self._rates is None or not np.array_equal(rates, self._rates):
            counts = stack.counts[:, 0].numpy().astype(np.float64) + 1 if known.counts else np.zeros(len(self._groups))
            numbers = np.concatenate([self._pulls, known.numbers(self._groups, rates, counts)], 1)
            self._found, self._rates = torch.from_numpy(numbers.astype(np.float32))[:, None], rates.copy()
        return self._found
