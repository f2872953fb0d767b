"""What a compiled step is compared with: the same, done by the model's own code."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.func import functional_call

from nbopt.techniques.hooks import surround
from nbopt.techniques.losses.base import Loss
from nbopt.techniques.optimizers.formulas import Formula
from nbopt.training.compile.around import Around, measure, uncached
from nbopt.training.compile.step import Arguments, Layer, Signature, find_trained
from nbopt.training.hook_lists import change_weights


def do_plainly(
    twin: nn.Module,
    loss: Loss,
    formula: Formula,
    layers: list[Layer],
    signature: Signature,
    around: Around,
    given: Arguments,
) -> list[Tensor]:
    """Do what a chunk does as anyone would write it, one step after the other, by the model's own weights.

    Chunks are compared with this: that tracing a model and differentiating it as a function changes nothing is not
    taken for granted.
    """
    model = deepcopy(twin)
    weights = [weight for _name, weight in find_trained(model)]
    masked = [model.get_submodule(layer.name) for layer in layers]
    states = [given.state[k * len(weights) : (k + 1) * len(weights)] for k in range(len(formula.keys))]
    batch, losses, results = len(given.x) // signature.steps, [], []

    def call(x: Tensor) -> Tensor:
        own = {name: model.get_parameter(name) for change in signature.changed for name in change.names}
        changed = change_weights(own, signature.changed, given.operands)
        output: Tensor = functional_call(model, changed, (x,)) if changed else model(x)
        return output

    do = surround(around, lambda batch: measure(loss, call(batch[0]), batch[1]))
    for k in range(signature.steps):
        inputs, target = given.x[k * batch : (k + 1) * batch], given.y[k * batch : (k + 1) * batch]
        for module, mask in zip(masked, given.masks, strict=True):
            module.mask = mask[k]
        with torch.enable_grad(), uncached():
            output, _target, value = do((inputs, target))
        gradients = torch.autograd.grad(value, weights, materialize_grads=True)
        _pull, *row = given.numbers.view(signature.steps, -1)[k].unbind()
        for index, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
            after, own = formula.rule(weight.detach(), gradient, [state[index] for state in states], row)
            for place, changed in zip(
                [weight.detach(), *[state[index] for state in states]], [after, *own], strict=True
            ):
                place.copy_(changed)
        losses.append(value.detach())
        results.append(output.detach())
    masks = {f"{layer.name}.mask" for layer in layers}
    now = [*weights, *[buffer for name, buffer in model.named_buffers() if name not in masks]]
    for before, after in zip([*given.weights, *given.buffers], now, strict=True):
        before.copy_(after)
    return [torch.stack(losses), torch.stack(results)] if signature.outputs else [torch.stack(losses)]


def agree(expected: list[Tensor], got: list[Tensor], share: float, of_largest: float) -> bool:
    """Whether results and all that was written to are the same, but for rounding."""
    pairs = [(_real(one), _real(other)) for one, other in zip(expected, got, strict=True)]
    floor = of_largest * max(float(one.norm()) for one, _other in pairs)
    return all(
        torch.equal(one.isfinite(), other.isfinite())
        and float((one - other).nan_to_num(0, 0, 0).norm()) <= share * float(one.nan_to_num(0, 0, 0).norm()) + floor
        for one, other in pairs
    )


def _real(tensor: Tensor) -> Tensor:
    return (torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor).double()
