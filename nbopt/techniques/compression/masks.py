"""Which units stay where a share of them is pruned, and the masks of that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


# Scripts hold these functions as they are written here, so in lines of 88 characters.
def keep_most(scores: Tensor, count: int, kept: Tensor | None) -> Tensor:
    """Return which of the scores (..., n) stay: all but the ``count`` lowest of a row.

    Those that are not ``kept`` so far go before all others.
    """
    if kept is not None:
        wide = torch.float32 if scores.device.type == "mps" else torch.float64
        scores = scores.to(wide)  # so that the order stays what it is
        scores = scores + kept * (1 + scores.max() - scores.min())
    stay = torch.ones(scores.shape, dtype=torch.bool, device=scores.device)
    if count:
        lowest = scores.topk(count, largest=False, sorted=False).indices
        stay.scatter_(-1, lowest, False)
    return stay


class Smallest:
    """Finds the smallest of all numbers of some matrices, again and again.

    They are those that ``topk`` has. If a processor holds the matrices, numpy finds the
    largest of them in a tenth of its time, and its calls cost less between steps of
    machine code; it is shown matrices once, for as long as these stay where they are.
    Where others are equal to that one, ``topk`` says which ones go.
    """

    def __init__(self) -> None:
        self.shown: tuple[Any, list[Any], int] = None, [], 0

    def show(self, matrices: list[Tensor]) -> tuple[list[Any], int]:
        """Return matrices as numpy has them, none if it cannot, and their size."""
        places = [(w.data_ptr(), w.shape, w.stride()) for w in matrices]
        if places != self.shown[0]:
            kinds = {w.dtype if w.device.type == "cpu" else None for w in matrices}
            able = kinds in ({torch.float32}, {torch.float64})
            held = [w.detach().numpy() for w in matrices if able]
            self.shown = places, held, sum(w.numel() for w in matrices)
        return self.shown[1:]

    def leave_out(self, matrices: list[Tensor], share: float) -> list[Tensor]:
        """Return masks of matrices: 1 but for this share of the numbers."""
        held, size = self.show(matrices)
        count = round(share * size)
        if count and held:
            numbers = np.empty(size, held[0].dtype)
            parts, end = [], 0
            for each in held:
                begin, end = end, end + each.size
                parts.append(numbers[begin:end].reshape(each.shape))
                np.absolute(each, out=parts[-1])
            ordered = numbers.copy()
            ordered.partition(count - 1)
            stay = numbers > ordered[count - 1]
            if np.count_nonzero(stay) == size - count:
                numbers[:] = stay
                return [torch.from_numpy(part) for part in parts]
        scores = torch.cat([w.detach().flatten() for w in matrices]).abs_()
        found = scores.topk(count, largest=False, sorted=False).indices
        stays = torch.ones_like(scores).index_fill_(0, found, 0.0)
        cut = stays.split_with_sizes([w.numel() for w in matrices])
        pairs = zip(cut, matrices, strict=True)
        return [part.view_as(w).to(w.dtype) for part, w in pairs]

    def prune(self, weights: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
        """Return masks without the smallest ``share`` of the numbers of all matrices.

        As by `keep_units`, in less time.
        """
        matrices = {name: w for name, w in weights.items() if w.ndim > 1}
        if not matrices:
            return {}
        masks = self.leave_out([*matrices.values()], share)
        return dict(zip(matrices, masks, strict=True))


def note_gradients(
    weights: dict[str, nn.Parameter],
    scores: dict[str, Tensor],
    masks: dict[str, Tensor],
) -> None:
    """Move ``scores`` of matrices a tenth of the way to ``|w g|``, if not pruned."""
    for name, w in weights.items():
        if w.ndim > 1 and w.grad is not None:
            now = (w * w.grad).abs_().nan_to_num_(0.0, 0.0, 0.0)
            if name not in scores:
                scores[name] = now
            elif name in masks:
                change = now.sub_(scores[name]).mul_(masks[name])
                scores[name].add_(change.mul_(0.1))
            else:
                scores[name].lerp_(now, 0.1)


def keep_in_blocks(
    scores: Tensor,
    size: torch.Size,
    block: int,
    share: float,
    kept: Tensor | None,
) -> Tensor:
    """Return which weights of a layer stay: of each ``block`` of inputs, as many."""
    if size[1] < block:  # the first layer of grey images
        return torch.ones_like(scores, dtype=torch.bool)

    def cut(flat: Tensor) -> Tensor:
        return flat.reshape(size).movedim(1, -1).reshape(-1, block)

    count = int(share * block + 1e-9)
    stay = keep_most(cut(scores), count, None if kept is None else cut(kept))
    moved = [size[0], *size[2:], size[1]]
    return stay.reshape(moved).movedim(-1, 1).flatten()


def keep_units(
    scores: list[Tensor],
    share: float,
    whole: bool,
    kept: list[Tensor] | None,
) -> list[Tensor]:
    """Return which units of each layer stay, if ``share`` of all together does not.

    Of ``whole`` ones, neurons and heads, one stays in each layer.
    """
    joined, counts = torch.cat(scores), [len(each) for each in scores]
    before = None if kept is None else torch.cat(kept)
    count = round(share * len(joined))
    if whole:
        count = min(count, len(joined) - len(scores))
        largest, begin = 2 * joined.max() + 1, 0
        for each in scores:
            best = begin + each.argmax()
            joined[best] = largest
            if before is not None:
                before[best] = True
            begin += len(each)
    return list(torch.split(keep_most(joined, count, before), counts))


def keep_layers(
    layers: list[list[tuple[str, tuple[int, ...], int]]],
    scores: list[Tensor],
    weights: dict[str, Tensor],
    pattern: str,
    scope: str,
    share: float,
    kept: list[Tensor] | None,
) -> list[Tensor]:
    """Return which units of each layer stay, by pattern and scope."""
    whole = pattern in ("neurons", "heads")
    if ":" not in pattern and scope == "global":
        return keep_units(scores, share, whole, kept) if layers else []
    stay = []
    for index, (layer, score) in enumerate(zip(layers, scores, strict=True)):
        before = None if kept is None else kept[index]
        if ":" in pattern:
            size, block = weights[layer[0][0]].shape, int(pattern.partition(":")[2])
            stay.append(keep_in_blocks(score, size, block, share, before))
        else:
            of_one = None if before is None else [before]
            stay += keep_units([score], share, whole, of_one)
    return stay


def spread_layers(
    layers: list[list[tuple[str, tuple[int, ...], int]]],
    stay: list[Tensor],
    weights: dict[str, Tensor],
) -> dict[str, Tensor]:
    """Return the masks of layers, shaped and typed as their parameters are."""
    masks = {}
    for layer, units in zip(layers, stay, strict=True):
        for name, shape, dim in layer:
            mask = units
            if len(shape) > 1:
                sides = [1] * len(shape)
                sides[dim] = -1
                mask = units.view(sides).expand(shape)
            mask = mask.reshape(weights[name].shape)
            masks[name] = mask.to(weights[name].dtype, copy=True)
    return masks


def gather_units(
    layer: list[tuple[str, tuple[int, ...], int]],
    masks: dict[str, Tensor],
    weights: dict[str, Tensor],
) -> Tensor:
    """Return which units of a layer its masks leave."""
    name, shape, dim = layer[0]
    mask = masks[name] if name in masks else torch.ones_like(weights[name])
    found = mask.reshape(shape).movedim(dim, 0)
    return found.reshape(shape[dim], -1).amax(1) > 0
