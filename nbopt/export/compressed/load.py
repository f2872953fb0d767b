"""A model's weights from a compressed file: a page of plain PyTorch, which scripts hold as it is written here.

The file is a safetensors file with one tensor of bytes. It begins with deflated JSON, whose length the metadata tell.
It says what comes after it, in order: for each tensor its name, shape and type, how it is written, and in which parts.
"""

from __future__ import annotations

import itertools
import json
import math
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def load_compressed(path: str | Path, model: nn.Module) -> nn.Module:
    """Load the weights that ``run.export(path)`` wrote into a model, and return it.

    Parameters
    ----------
    path : str or Path
        A file that ends in ``.safetensors``.
    model : torch.nn.Module
        Shaped like the one that was exported. It gets the weights in place, and is put
        into evaluation mode; layers round their inputs where the run had them do so,
        and batch norms that were folded into others are gone.

    Raises
    ------
    ValueError
        If the file is none of these.
    RuntimeError
        If the model has other weights than the file; names them.

    Examples
    --------
    >>> import copy
    >>> _ = run.export("small.safetensors")
    >>> model = load_compressed("small.safetensors", copy.deepcopy(run.model))
    >>> torch.equal(model(X), run.predict(X))
    True
    """
    content = Path(path).read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    try:
        end = begin + int(json.loads(content[8:begin])["__metadata__"]["compressed"])
        told = json.loads(zlib.decompress(content[begin:end]))
    except (KeyError, ValueError, zlib.error) as error:
        raise ValueError(f"{path} was not written by run.export(path).") from error
    state: dict[str, Any] = {}
    for entry in told["layout"]:
        if "same" in entry:
            state[entry["name"]] = state[entry["same"]]
            continue
        starts = itertools.accumulate(entry["parts"], initial=end)
        parts = [content[a:b] for a, b in itertools.pairwise(starts)]
        end += sum(entry["parts"])
        state[entry["name"]] = read_tensor(entry, iter(parts))
    without_norms(model, told["folded"]).load_state_dict(state)
    return lay_rounding(model, told["inputs"]).eval()


def without_norms(model: nn.Module, folded: dict[str, str]) -> nn.Module:
    """Take batch norms out of a model; ``folded`` has the layer that each is in."""
    for norm, layer in folded.items():
        model.set_submodule(norm, nn.Identity())
        own = model.get_submodule(layer)
        if own.bias is None:
            outputs = getattr(own, "out_channels", None) or own.out_features
            own.bias = nn.Parameter(own.weight.new_zeros(outputs))
    return model


def lay_rounding(model: nn.Module, inputs: dict[str, Any]) -> nn.Module:
    """Have layers round what they get; ``inputs`` has the ends and the bits of each."""
    for layer, (low, high, bits) in inputs.items():
        least, largest = torch.tensor([min(low, 0.0), max(high, 0.0)])
        scale = ((largest - least) / (2**bits - 1)).clamp(min=2**-126)
        zero = (-least / scale).round().item()
        grid = (1 / scale).item(), scale.item(), zero, 2**bits - 1
        hook = partial(round_inputs, grid)
        model.get_submodule(layer).register_forward_pre_hook(hook)
    return model


def round_inputs(grid: Any, _layer: nn.Module, inputs: Any) -> Any:
    """Return what a layer gets in the place of its inputs: the nearest values."""
    inverse, scale, zero, most = grid
    made = list(inputs)
    for place, x in enumerate(made):
        if isinstance(x, Tensor) and x.is_floating_point():
            numbers = ((x * inverse).round() + zero).clamp(0, most)
            made[place] = (numbers - zero) * scale
    return tuple(made)


def read_tensor(entry: dict[str, Any], parts: Iterator[bytes]) -> Tensor:
    """Return a tensor from its parts: whole numbers, and what they stand for."""
    shape, dtype = entry["shape"], getattr(torch, entry["dtype"])
    if entry["way"] == "plain":
        return as_tensor(next(parts), dtype).reshape(shape)
    values = as_tensor(next(parts), dtype)  # weights, a table, or a scale for each row
    zero = as_tensor(next(parts), torch.uint8) if entry.get("zero") else None
    count = math.prod(shape)
    places = torch.arange(count)
    if entry["sparse"]:
        gaps = read_numbers(next(parts), entry["gaps"], entry["gap_bits"])
        most = 2 ** entry["gap_bits"] - 1  # so many zeros, and no weight after them
        places = torch.where(gaps == most, most, gaps + 1).cumsum(0) - 1
        places = places[gaps != most]
    if entry["way"] == "values":
        found = values
    elif entry["way"] == "table":
        found = values[read_numbers(next(parts), len(places), entry["bits"])]
    else:  # a grid
        numbers = read_numbers(next(parts), len(places), entry["bits"])
        row = places // (count // len(values))
        low = zero[row].to(dtype) if zero is not None else 2 ** (entry["bits"] - 1) - 1
        found = (numbers.to(dtype) - low) * values[row]
    return torch.zeros(count, dtype=dtype).index_copy(0, places, found).reshape(shape)


def read_numbers(part: bytes, count: int, bits: int) -> Tensor:
    """Return whole numbers (count,), which are packed bit by bit, or deflated."""
    if part[:1] == b"\1":
        return as_tensor(zlib.decompress(part[1:]), torch.uint8).long()
    every = as_tensor(part[1:], torch.uint8).long()[:, None] >> torch.arange(8) & 1
    digits = every.flatten()[: count * bits].reshape(count, bits)
    return (digits << torch.arange(bits)).sum(1)


def as_tensor(part: bytes, dtype: torch.dtype) -> Tensor:
    """Return bytes as numbers of a type."""
    if not part:
        return torch.zeros(0, dtype=dtype)
    return torch.frombuffer(bytearray(part), dtype=dtype)
