"""Heads of attention: which of torch's own make no difference, and a layer that has fewer of them.

Scripts hold that layer as it is written here, in lines of 88 characters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class FewerHeads(nn.Module):
    """A ``torch.nn.MultiheadAttention`` some of whose heads are gone.

    It is called alike, and has its weights' names. Torch's own takes it that its heads
    together are as wide as its inputs.

    Parameters
    ----------
    layer : MultiheadAttention
        Whose weights it takes.
    heads : int
        How many are left.
    """

    def __init__(self, layer: Any, heads: int) -> None:
        super().__init__()
        self.embed_dim, self.num_heads = layer.embed_dim, heads
        self.head_dim = layer.head_dim
        self.dropout, self.batch_first = layer.dropout, layer.batch_first
        # Torch's encoder layers then call it, and do not read its weights.
        self._qkv_same_embed_dim = False
        self.in_proj_weight = layer.in_proj_weight
        self.in_proj_bias = layer.in_proj_bias
        self.out_proj = layer.out_proj

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return what ``torch.nn.MultiheadAttention`` returns."""
        single = query.ndim == 2
        given = [query, key, value]
        if single:
            given = [x.unsqueeze(0) for x in given]
        elif not self.batch_first:
            given = [x.transpose(0, 1) for x in given]
        bias = self.in_proj_bias
        biases = [None] * 3 if bias is None else bias.chunk(3)
        pairs = zip(given, self.in_proj_weight.chunk(3), biases, strict=True)
        taken = [functional.linear(x, weight, bias) for x, weight, bias in pairs]
        size = *taken[0].shape[:1], -1, self.num_heads, self.head_dim
        q, k, v = (x.reshape(size).transpose(1, 2) for x in taken)
        mask = self._mask(q, key_padding_mask, attn_mask)
        scores = (q @ k.transpose(-2, -1)) * self.head_dim**-0.5
        weights = torch.softmax(scores if mask is None else scores + mask, -1)
        weights = functional.dropout(weights, self.dropout, self.training)
        out: Tensor = self.out_proj((weights @ v).transpose(1, 2).flatten(-2))
        if single:
            out = out.squeeze(0)
        elif not self.batch_first:
            out = out.transpose(0, 1)
        if not need_weights:
            return out, None
        shown = weights.mean(1) if average_attn_weights else weights
        return out, shown.squeeze(0) if single else shown

    @staticmethod
    def _mask(
        like: Tensor,
        padding: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor | None:
        """Return what is added to scores.

        It broadcasts to (samples, heads, from, to).
        """
        if mask is not None and mask.ndim > 2:
            raise ValueError("a mask for each head does not fit: some heads are gone.")
        if padding is not None:
            padding = padding.reshape(-1, 1, 1, padding.shape[-1])
        added: Tensor | None = None
        for one in (mask, padding):
            if one is None:
                continue
            if one.dtype == torch.bool:
                zeros = torch.zeros(one.shape, dtype=like.dtype, device=like.device)
                one = zeros.masked_fill(one, float("-inf"))
            added = one if added is None else added + one
        return added


class Heads(NamedTuple):
    """The heads of an attention layer.

    Attributes
    ----------
    name : str
    size : int
        How many it has.
    norms : Tensor
        (size,), of the weights that make the values of each, and take them.
    dead : Tensor
        (size,), whether it makes no difference.
    """

    name: str
    size: int
    norms: Tensor
    dead: Tensor


def find_heads(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[Heads]:
    """Yield the attention layers of torch's own, by the weights that the model computes with."""
    for name, layer in model.named_modules():
        if type(layer) is not nn.MultiheadAttention or layer.in_proj_weight is None or layer.bias_k is not None:
            continue
        if layer.add_zero_attn or layer.num_heads < 2:
            continue
        heads = layer.num_heads, layer.head_dim
        into = weights[f"{name}.in_proj_weight"].detach().reshape(3, *heads, -1)[2].flatten(1)
        if (bias := weights.get(f"{name}.in_proj_bias")) is not None:
            into = torch.cat([into, bias.detach().reshape(3, *heads)[2]], 1)
        out = weights[f"{name}.out_proj.weight"].detach().reshape(-1, *heads).movedim(1, 0).flatten(1)
        norms = (into.double().square().sum(1) + out.double().square().sum(1)).sqrt().cpu()
        yield Heads(name, layer.num_heads, norms, ((into == 0).all(1) | (out == 0).all(1)).cpu())


def places_of(kept: Tensor, count: int, width: int, parts: int) -> Tensor:
    """Return where the numbers of heads stand along a weight that has ``parts`` of them all, one after the other."""
    return torch.arange(parts * count * width).reshape(parts, count, width)[:, kept].flatten()
