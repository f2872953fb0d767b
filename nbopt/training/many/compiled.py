"""A step of many runs as machine code: pass, gradients and updates of some rows of a stack, one block after the other.

Runs may join, stop, be copied over each other and get other values, and nothing is compiled anew: other runs have the
rows then, or there are more or fewer blocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from copy import copy
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import vmap

from nbopt.i18n import _
from nbopt.techniques.optimizers.many import UPDATES, formula_of
from nbopt.training.compile.artifact import sign
from nbopt.training.compile.background import BackgroundCompile, Workshop
from nbopt.training.compile.build import Build, NotKept
from nbopt.training.compile.obstacles import find_obstacle
from nbopt.training.compile.origin import origin_of
from nbopt.training.compile.plain import agree
from nbopt.training.compile.step import CannotCompile, Chunk, Signature, find_layers, make_chunk, stand_in
from nbopt.training.many.blocks import Ready, shapes_of
from nbopt.training.many.member import OneOfMany
from nbopt.training.many.uniform import mask_of

_CLOSE = (1e-3, 1e-6)  # how far results may be from those that are not compiled
_LOOK_SECONDS = 0.1
_TRAINED_SECONDS, _LEFT_SECONDS = 5.0, 60.0  # before compiling is thought of, and how much has to lie ahead
_KEPT_TRAINED, _KEPT_LEFT = 0.5, 2.0  # ... before one looks for what was compiled earlier, which takes 0.2 s


class Key(NamedTuple):
    """What a step is compiled for; all else enters it as tensors.

    Attributes
    ----------
    slots : int
        How many runs there are in a block.
    signature : Signature
        Of one of them.
    remembers : bool
        Whether optimizers remember anything of weights.
    shared : bool
        Whether all see the same batch, and draw the same numbers.
    """

    slots: int
    signature: Signature
    remembers: bool
    shared: bool


class ManyCompiler:
    """Makes a step of many runs, in any thread: all that it needs is copied when this is made.

    Parameters
    ----------
    training : OneOfMany
        One of the runs.
    key : Key
    arguments : list of Tensor
        What such a step of a block takes.
    only_kept : bool
        Whether to load no more than what was compiled before.

    Raises
    ------
    CannotCompile
        If such a step cannot be compiled.
    """

    def __init__(self, training: OneOfMany, key: Key, arguments: list[Tensor], only_kept: bool) -> None:
        self.signature = key
        self._arguments = [tensor.detach().clone() for tensor in arguments]
        twin, names = stand_in(training.model)
        layers = find_layers(twin, names, training.cursor.peek(), training.noise, [])
        formula = formula_of(type(training.torch_optimizer), key.remembers)
        loss = copy(training.loss)
        chunk = make_chunk(twin, loss, formula, layers, key.signature, [])
        # Weights and the like; x, y and what is drawn; what is kept of that, and numbers.
        count = 2 + len(layers)
        held = len(arguments) - count - 2

        def do(*flat: Tensor) -> Sequence[Tensor]:
            x, y, *drawn = flat[held:-2]
            pairs = zip(layers, drawn, flat[-2], strict=True)
            masks = [mask_of(own, share, layer.ones.dtype)[None] for layer, own, share in pairs]
            return tuple(chunk([*flat[:held], x, y, *masks, flat[-1]]))

        each = vmap(do, in_dims=(*[0] * held, *[None if key.shared else 0] * count, 0, 0))
        self._all: Chunk = lambda flat: each(*flat)
        origin = origin_of(key, twin, loss, layers, shapes_of(arguments), training.tiers.reads())
        self.build = Build(only_kept, origin if type(loss).__module__.startswith("nbopt.") else None)

    def make(self) -> Ready | None:
        """Make it, and compare it with what it was made of; return None where it is not to be compiled and was not.

        Raises
        ------
        CannotCompile
            If it cannot be made, or does not compute what it should.
        """
        got, expected = ([tensor.clone() for tensor in self._arguments] for _each in range(2))
        shapes = shapes_of(got)
        with torch.no_grad():
            try:
                made = self.build.compile(self._all, got)
            except NotKept:
                return None
            results = [*self._all([*expected])], [*made([*got])]
        if not agree([*results[0], *expected], [*results[1], *got], *_CLOSE):
            raise CannotCompile(_("compiled, the models compute something else"))
        return Ready(made, shapes)


def _look_ahead(training: OneOfMany) -> tuple[float, float]:
    seconds, share = training.meter.seconds, training.share
    return seconds, seconds / share * (1 - share) if share else 0.0


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
    is_awaited : bool
        Whether the next step waits for what is compiled, as it was compiled before the population was stored.
    outlook : callable
        ``outlook(training) -> (seconds, seconds)``: for how long the runs have trained, and may train from now on.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.at_work = False
        self.is_on = True
        self.is_awaited = False
        self.outlook: Callable[[OneOfMany], tuple[float, float]] = _look_ahead
        self._known: dict[Hashable, Ready | str] = {}
        self._not_kept: set[Hashable] = set()  # of which there is no machine code from before
        self._job: BackgroundCompile | None = None
        self._look_at: dict[type, float] = {}  # by the kind of key

    def find(self, trainings: Sequence[OneOfMany], slots: int, shared: bool) -> Key | None:
        """Return what a step of these runs would be compiled for; None where it is not to be."""
        first = trainings[0]
        self.at_work = False
        if self._job is not None and not self._job.is_alive():
            self._take(self._job)
        if not self.is_on or first.hyperparams["tier"] == "eager" or first.device.type != "cpu":
            return None
        known = UPDATES.get(type(first.torch_optimizer))
        self.reason = "" if known else _("no formula for this optimizer")
        self.reason = self.reason or next(filter(None, (one.find(find_obstacle) for one in trainings)), "")
        if known is None or self.reason:
            return None
        remembers = any(known.remembers(one.torch_optimizer.param_groups[0]) for one in trainings)
        key = Key(slots, sign(first, 1), remembers, shared)
        if key not in self._known:  # what remembers something, or has a batch for each, does for all
            more = (key._replace(remembers=True), key._replace(shared=False))
            for other in (*more, Key(slots, key.signature, True, False)):
                if isinstance(self._known.get(other), Ready):
                    return other
        return key

    def tell(self, trainings: Sequence[OneOfMany]) -> str:
        """Return how steps are done, in words, and why they are not compiled where that was asked for."""
        if self.at_work:
            return _("all members at once, compiled")
        reason = ""
        if any(one.hyperparams["tier"] == "compiled" for one in trainings):
            reason = self.reason or next(filter(None, (one.find(find_obstacle) for one in trainings)), "")
        if reason:
            return _("all members at once (not compiled: {reason})", reason=reason)
        return _("all members at once (being compiled)") if self._job is not None else _("all members at once")

    def ready(self, key: Hashable) -> Ready | None:
        """Return what was compiled for ``key``; None where there is nothing."""
        found = self._known.get(key)
        return found if isinstance(found, Ready) else None

    def refusal(self, key: Hashable) -> str:
        """Return why nothing can be compiled for ``key``; "" where that is not known."""
        found = self._known.get(key)
        return found if isinstance(found, str) else ""

    def think(
        self,
        first: OneOfMany,
        key: Hashable,
        make: Callable[[bool], Workshop],
        is_awaited: bool,
        gain: float = 1.0,
    ) -> None:
        """Look what was compiled before; where there is nothing, and it is asked for or pays, begin to compile.

        Parameters
        ----------
        first : OneOfMany
            One of the runs.
        key : hashable
            What it is for.
        make : callable
            ``make(only_kept)`` returns what makes it, see `ManyCompiler`.
        is_awaited : bool
            Whether it is waited for.
        gain : float
            How much it brings, as a part of what compiled steps bring: for less, more has to lie ahead.
        """
        now = time.perf_counter()
        if key in self._known or self._job is not None or (now < self._look_at.get(type(key), 0.0) and not is_awaited):
            return
        self._look_at[type(key)] = now + _LOOK_SECONDS
        if first.hyperparams["tier"] == "auto" and not is_awaited:
            trained, left = self.outlook(first)
            is_short = trained < _TRAINED_SECONDS or left < _LEFT_SECONDS / gain
            if is_short and (key in self._not_kept or trained < _KEPT_TRAINED or left < _KEPT_LEFT):
                return
        only_kept = key not in self._not_kept and not is_awaited
        try:
            self._job = BackgroundCompile(make(only_kept))
            self._job.start()
            if only_kept or is_awaited:  # steps that are not compiled would take more of that time than they use
                if self._job.is_alive():
                    self._job.join()
                self._take(self._job)
        except CannotCompile as error:
            self._known[key] = str(error)

    def _take(self, job: BackgroundCompile) -> None:
        """Take note of what came of a job."""
        self._job = None
        if job.result is None:
            self._not_kept.add(job.signature)
        else:
            self._known[job.signature] = job.result
