"""A validation batch as machine code: the evaluation of a single run, which each of many calls with its own weights.

So what a run is found to be depends on no other run, nor on which of them are validated with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy, deepcopy
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from nbopt.data.tensor_source import TensorSource
from nbopt.i18n import _
from nbopt.training.compile.artifact import sign
from nbopt.training.compile.build import Build, NotKept
from nbopt.training.compile.captured import Shape
from nbopt.training.compile.origin import origin_of
from nbopt.training.compile.plain import agree
from nbopt.training.compile.step import CannotCompile, Signature, find_trained
from nbopt.training.many.batches import is_pair
from nbopt.training.many.blocks import Ready, shapes_of
from nbopt.training.many.member import OneOfMany
from nbopt.training.many.noise import Pair
from nbopt.training.validation import cuts

_CLOSE = (1e-5, 1e-6)  # how far results may be from those that are not compiled
_LEAST = 2**20  # numbers of weights times samples, below which a compiler's run brings nothing


class Judging(NamedTuple):
    """What an evaluation is compiled for.

    Attributes
    ----------
    signature : Signature
        Of one of the runs.
    batch : tuple of Shape
        Of x and y.
    """

    signature: Signature
    batch: tuple[Shape, ...]


def first_batch(training: OneOfMany) -> Pair | None:
    """Return the first validation batch of a run, where that is two tensors, and the same each time."""
    if not isinstance(training.val, TensorSource) or training.val.sampler is not None:  # which may draw
        return None
    cut = next(cuts(training.val, training.evaluation_seed), None)
    if cut is None or not is_pair(batch := cut()) or not all(part.ndim for part in batch):
        return None
    return tuple(batch)


def is_worth_it(training: OneOfMany, batch: Sequence[Shape]) -> bool:
    """Whether the evaluation of such a batch is worth a compiler's run."""
    return batch[0].size[0] * sum(weight.numel() for weight in training.model.parameters()) >= _LEAST


def key_of(training: OneOfMany, batch: Sequence[Shape]) -> Judging:
    """Return what the evaluation of such a batch by this run, and those like it, is compiled for."""
    return Judging(sign(training, 1), (*batch,))


class JudgeCompiler:
    """Makes the evaluation of a run, in any thread: all that it needs is copied when this is made.

    Parameters
    ----------
    training : OneOfMany
        One of the runs.
    key : Judging
    arguments : list of Tensor
        What its `Stack` has it hold, x and y.
    only_kept : bool
        Whether to load no more than what was compiled before.
    """

    def __init__(self, training: OneOfMany, key: Judging, arguments: list[Tensor], only_kept: bool) -> None:
        self.signature = key
        model, loss = deepcopy(training.model).eval(), copy(training.loss)
        names = [name for name, _weight in find_trained(model)]
        names += [name for name, weight in model.named_parameters() if not weight.requires_grad]
        names += [name for name, _buffer in model.named_buffers()]
        self._arguments = [tensor.detach().clone() for tensor in arguments]

        def judge(flat: list[Tensor]) -> Sequence[Tensor]:
            *tensors, x, y = flat
            output = functional_call(model, dict(zip(names, tensors, strict=True)), (x,))
            return [output, loss.measure_of_many(output, loss.prepare(output, y))]

        self._judge = judge
        origin = origin_of(key, model, loss, [], shapes_of(self._arguments), training.tiers.reads())
        self.build = Build(
            only_kept, origin if type(loss).__module__.startswith("nbopt.") else None, is_evaluation=True
        )

    def make(self) -> Ready | None:
        """Make it, and compare it with what it was made of; return None where it is not to be compiled and was not.

        Raises
        ------
        CannotCompile
            If it cannot be made, does not compute what it should, or writes to what it is given: runs share batches.
        """
        got, expected = ([tensor.clone() for tensor in self._arguments] for _each in range(2))
        shapes = shapes_of(got)
        with torch.no_grad():
            before = [tensor._version for tensor in expected]
            plain = self._judge([*expected])
            if [tensor._version for tensor in expected] != before:
                raise CannotCompile(_("the model writes to its batch or its buffers in evaluation"))
            try:
                made = self.build.compile(self._judge, [*got])
            except NotKept:
                return None
            results = made([*got])
        if not agree([*plain], [*results], *_CLOSE):
            raise CannotCompile(_("compiled, the model computes something else"))
        return Ready(made, shapes)
