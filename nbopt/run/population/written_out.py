"""What is written out by operations that can be differentiated as often as wanted, where torch's own cannot.

Running statistics of batch norms are no part of torch's graphs, its weight norm has a wrong second derivative
(``torch.autograd.gradgradcheck`` refuses it), and its attention on a CPU has none.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from nbopt.torch_private import BatchNorm, weight_norm


class WrittenOut(TorchFunctionMode):
    """Has this thread compute weight norms and attention by operations of which all derivatives are known."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is weight_norm:
            return _scale(*args, **kwargs)
        if func is functional.scaled_dot_product_attention:
            return _attend(*args, **kwargs)
        if func is functional.multi_head_attention_forward and not kwargs.get("need_weights", True):
            return func(*args, **{**kwargs, "need_weights": True})[0], None  # which it finds step by step
        return func(*args, **kwargs)


def _scale(direction: Tensor, length: Tensor, dim: int = 0) -> Tensor:
    dims = [other for other in range(direction.ndim) if other != dim]  # all of them, if it is -1, as in torch
    return length * direction / direction.square().sum(dims, keepdim=True).sqrt()


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **others: Any,
) -> Tensor:
    if dropout_p or any(others.values()):
        given = {"attn_mask": attn_mask, "dropout_p": dropout_p, "is_causal": is_causal, "scale": scale, **others}
        return functional.scaled_dot_product_attention(query, key, value, **given)
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return scores.softmax(-1) @ value


def write_out_norms(model: nn.Module, moved: dict[str, Tensor]) -> None:
    """Write out the batch norms of a model; they put what their statistics are after a pass in ``moved``."""
    for name, module in model.named_modules():
        if isinstance(module, BatchNorm) and getattr(module, "running_mean", None) is not None:
            module.forward = partial(_normalize, module, f"{name}." if name else "", moved)


def _normalize(module: Any, prefix: str, moved: dict[str, Tensor], x: Tensor) -> Tensor:
    module._check_input_dim(x)
    dims = [dim for dim in range(x.ndim) if dim != 1]
    mean, variance = module.running_mean, module.running_var
    if module.training:
        count, batches = x.numel() // x.shape[1], module.num_batches_tracked + 1
        share = 1 / float(batches) if module.momentum is None else module.momentum
        before = mean, variance
        mean, variance = x.mean(dims), x.var(dims, unbiased=False)
        moved[f"{prefix}running_mean"] = torch.lerp(before[0], mean, share)
        moved[f"{prefix}running_var"] = torch.lerp(before[1], variance * (count / (count - 1)), share)
        moved[f"{prefix}num_batches_tracked"] = batches
    shape = [1, -1, *[1] * (x.ndim - 2)]
    found: Tensor = (x - mean.view(shape)) / (variance.view(shape) + module.eps).sqrt()
    return found if module.weight is None else found * module.weight.view(shape) + module.bias.view(shape)
