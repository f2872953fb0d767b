"""A batch sent through the model in parts: how it is cut, and how much each part counts.

What is cut is found, and the gradient of the parts held against that of the whole batch, once: before the first step
that is done in parts, and again when the loss changes. Where the two differ, the step is not done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from nbopt.data.noise import Noise
from nbopt.data.samples import LABELS, SAMPLES, SUM, count_samples, cut, find_rows, find_samples, parts_of_tree
from nbopt.i18n import _
from nbopt.objects.buffers import put_tensors_back
from nbopt.objects.layers import leaves_out
from nbopt.techniques.losses.traits import Traits, count_targets
from nbopt.torch_private import BatchNorm, DropoutNd
from nbopt.training.failure import is_out_of_memory
from nbopt.training.step.passes import ForwardPass

_ROUNDING = 1e-3  # how far gradients may be apart, as a share of their length


class Split:
    """Cuts batches.

    Parameters
    ----------
    pass_ : Pass
    params : sequence of Parameter
        Those that get gradients.
    noise : Noise

    Attributes
    ----------
    rule : str
        One of `LABELS`, `SAMPLES` and `SUM`.
    unchanged : callable
        Returns a context that puts back what model and loss keep in attributes.
    """

    def __init__(self, pass_: ForwardPass, params: Sequence[nn.Parameter], noise: Noise) -> None:
        self._pass = pass_
        self._params = params
        self._noise = noise
        self.unchanged: Callable[[], AbstractContextManager[None]] = nullcontext
        self.renew()

    def renew(self) -> None:
        """Find out anew how the next batch is cut."""
        self.rule = ""
        self._leaf: int | None = None

    @property
    def state(self) -> dict[str, Any]:
        """What was found, for snapshots."""
        return {"rule": self.rule, "leaf": self._leaf} if self.rule else {}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self.rule, self._leaf = state.get("rule", ""), state.get("leaf")

    def parts(self, batch: Any) -> list[tuple[Any, float]]:
        """Return the parts of a batch, each with its share of the samples; 1 for all where the loss is a sum.

        Raises
        ------
        ValueError
            If the batch cannot be cut, or its parts do not have the gradient of the whole.
        """
        size, leaf = self._pass.acting.part_size, self._leaf
        if not self.rule:
            leaf = find_samples(batch)
            if leaf is not None and count_samples(batch, leaf) <= size:
                return [(batch, 1.0)]
            self._find(batch)
            leaf = self._leaf
        assert leaf is not None
        count = count_samples(batch, leaf)
        if count <= size:
            return [(batch, 1.0)]
        return [(part, 1.0 if self.rule == SUM else share) for part, share in parts_of_tree(batch, size, count)]

    def count(self, target: Any) -> tuple[Tensor, int] | None:
        """Return how much the targets of a part count, and how much if all did; None if that is not asked."""
        return _count(self._pass.loss.traits, target) if self.rule == LABELS else None

    # -- finding out

    def _find(self, batch: Any) -> None:
        traits, tell = self._pass.loss.traits, self._pass.tell
        with self.unchanged(), self._remembering(), self._still() as normalized:
            whole, target = self._try(batch)
            self._leaf = find_samples(batch, target)
            guessed = self._leaf is None  # as where forward joins the places of all sequences
            self._leaf = find_rows(batch, target) if guessed else self._leaf
            if self._leaf is None:
                raise _refusal(_("no tensor of the batch is as long as the target, so where samples are is not known"))
            count, size = count_samples(batch, self._leaf), self._pass.acting.part_size
            rules = _rules(traits, target)
            if whole is None:  # the parts of a part, then
                batch, count, size = cut(batch, count, 0, min(size, count)), min(size, count), max(1, size // 2)
                whole, target = self._try(batch)
            if whole is None or count < 2:
                if guessed:
                    raise _refusal(_("the whole batch does not fit, and no tensor of it is as long as the target"))
                self.rule = rules[0]
                rule = _("it does not fit into memory, so its parts are assumed to have the same gradient")
                tell(_("micro_batch: the whole batch could not be compared with its parts: {rule}", rule=rule))
                return
            differences = self._compare(whole, batch, count, size, traits, rules)
            self.rule = min(differences, key=lambda rule: (differences[rule] > _ROUNDING, rules.index(rule)))
            apart = differences[self.rule]
            if apart > _ROUNDING:
                self._judge(whole, batch, apart)
        if normalized:
            size = self._pass.acting.part_size
            tell(_("micro_batch: batch normalization sees each part as its batch, of {size} samples", size=size))

    def _judge(self, whole: list[Tensor | None], batch: Any, apart: float) -> None:
        """Say why gradients may differ; refuse where there is no reason."""
        again, _target = self._gradient(batch, seed=1)
        found = _("the gradient of the parts differs from that of the whole batch by {share:.2%}", share=apart)
        if math.isinf(apart):
            found = _("the gradient of a part is not finite, and that of the whole batch is")
        if _distance(whole, again) > _ROUNDING:
            self._pass.tell(_("micro_batch: {found}, as the model or the loss draws noise", found=found))
        elif any(part is not None and part.dtype is not torch.float32 for part in whole) or self._pass.is_narrow:
            self._pass.tell(_("micro_batch: {found}, with numbers of 16 bits", found=found))
        else:
            self.rule = ""
            raise _refusal(found)

    def _compare(
        self,
        whole: list[Tensor | None],
        batch: Any,
        count: int,
        size: int,
        traits: Traits,
        rules: list[str],
    ) -> dict[str, float]:
        sums: dict[str, list[Tensor | None]] = {rule: [None] * len(whole) for rule in rules}
        totals = dict.fromkeys(rules, 0.0)
        try:
            for start in range(0, count, size):
                part, target = self._gradient(cut(batch, count, start, min(start + size, count)))
                share = (min(start + size, count) - start) / count
                for rule in rules:
                    weight = 1.0 if rule == SUM else share
                    if rule == LABELS and (found := _count(traits, target)) is not None:
                        weight *= float(found[0]) / found[1]
                    totals[rule] += weight
                    if weight:
                        sums[rule] = [_add(a, b, weight) for a, b in zip(sums[rule], part, strict=True)]
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise _refusal(_("a part alone fails: {error}", error=f"{type(error).__name__}: {error}")) from error
        scales = {rule: 1.0 if rule == SUM else totals[rule] or 1.0 for rule in rules}
        return {rule: _distance(whole, [_over(part, scales[rule]) for part in sums[rule]]) for rule in rules}

    def _try(self, batch: Any) -> tuple[list[Tensor | None] | None, Any]:
        try:
            return self._gradient(batch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        return None, None

    def _gradient(self, batch: Any, seed: int = 0) -> tuple[list[Tensor | None], Any]:
        """Return the gradient of a batch's loss, and its targets."""
        try:
            with self._noise.lock, self._noise.seeded(seed):
                _output, target, loss = self._pass.plain(batch)
                loss.backward()  # type: ignore[no-untyped-call]
            return [parameter.grad for parameter in self._params], target
        finally:
            self._pass.loss.discard()
            for parameter in self._params:
                parameter.grad = None

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        """Have techniques remember afterwards what they remember now."""
        put_back = self._pass.acting.keep()
        try:
            yield
        finally:
            put_back()

    @contextmanager
    def _still(self) -> Iterator[bool]:
        """Have layers draw nothing and learn nothing of batches meanwhile; yield whether any normalizes batches."""
        quiet = [module for module in self._pass.model.modules() if module.training and _is_restless(module)]
        buffers = [(buffer, buffer.clone()) for buffer in self._pass.model.buffers()]
        for module in quiet:
            module.training = False
        try:
            yield any(isinstance(module, BatchNorm) for module in quiet)
        finally:
            for module in quiet:
                module.training = True
            put_tensors_back(buffers)


def _is_restless(module: nn.Module) -> bool:
    return leaves_out(module) or isinstance(module, (DropoutNd, BatchNorm))


def _rules(traits: Traits, target: Any) -> list[str]:
    """Return what parts may count by; of a loss that nothing is known of, all there is."""
    if traits.reduction == "sum":
        return [SUM]
    of_labels = [LABELS] if isinstance(target, Tensor) else []  # of several targets, each has labels of its own
    if traits.reduction == "mean":
        return of_labels if of_labels and traits.counts == "labels" else [SAMPLES]
    return [*of_labels, SAMPLES, SUM]


def _count(traits: Traits, target: Any) -> tuple[Tensor, int] | None:
    if not isinstance(target, Tensor) or target.is_floating_point() or not target.ndim:
        return None
    count = count_targets(traits._replace(counts="labels"), target)
    assert isinstance(count, Tensor)
    return count, target.numel()


def _add(total: Tensor | None, part: Tensor | None, weight: float) -> Tensor | None:
    if part is None:
        return total
    return part * weight if total is None else total + part * weight


def _over(part: Tensor | None, scale: float) -> Tensor | None:
    return None if part is None else part / scale


def _distance(one: list[Tensor | None], other: list[Tensor | None]) -> float:
    """Return the length of the difference of two gradients, as a share of the longer one; inf if only one is finite."""
    apart = lengths = 0.0
    for a, b in zip(one, other, strict=True):
        first = 0.0 if a is None else a.double()
        second = 0.0 if b is None else b.double()
        apart += float(torch.as_tensor(first - second).square().sum())
        lengths += max(float(torch.as_tensor(first).square().sum()), float(torch.as_tensor(second).square().sum()))
    if not math.isfinite(apart):
        return 0.0 if _is_finite(one) is _is_finite(other) else math.inf
    return (apart / lengths) ** 0.5 if lengths else 0.0


def _is_finite(gradient: list[Tensor | None]) -> bool:
    return all(bool(part.isfinite().all()) for part in gradient if part is not None)


def _refusal(reason: str) -> ValueError:
    rule = _("the samples of a batch are not independent of each other here, or are not where they are looked for")
    return ValueError(_("micro_batch: {reason}: {rule}. Set micro_batch=0.", reason=reason, rule=rule))
