"""A model's weights from a compressed file: a page of plain PyTorch, which scripts hold as it is written here.

The file is a safetensors file with one tensor of bytes. It begins with deflated JSON, whose length the metadata tell.
It says what comes after it, in order: for each tensor its name, shape and type, how it is written, and in which parts.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
import os
import zlib
from collections.abc import Callable, Iterator
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
        If the file is none of these, or broken.
    TypeError
        If there is no path or no model.
    RuntimeError
        If the model has other weights or layers than the file; names them. The model
        stays as it is then.

    Examples
    --------
    >>> import copy
    >>> _ = run.export("small.safetensors")
    >>> model = load_compressed("small.safetensors", copy.deepcopy(run.model))
    >>> torch.equal(model(X), run.predict(X))
    True
    """
    if not isinstance(path, (str, os.PathLike)) or not isinstance(model, nn.Module):
        told = "load_compressed takes the path of a file and a torch.nn.Module"
        raise TypeError(f"{told}; got {path!r:.80} and {model!r:.80}.")
    content = Path(path).read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    try:
        start = begin + int(json.loads(content[8:begin])["__metadata__"]["compressed"])
        text = zlib.decompressobj().decompress(content[begin:start], 2**28)
        told = json.loads(text)
        layout, inputs, folded = told["layout"], told["inputs"], told["folded"]
    except Exception as error:  # whatever is there
        told = f"{path} was not written by run.export(path), or is cut short."
        raise ValueError(told) from error
    try:
        pieces = pieces_of(content, start, layout)
        shapes = by_name(layout, blank_of)
    except Exception as error:
        raise ValueError(f"{path} is broken: {error}") from error
    blank = copy.deepcopy(model).to("meta")  # is tried first: all is loaded, or nothing
    try:
        lay_rounding(without_norms(blank, folded), inputs).load_state_dict(shapes)
    except Exception as error:
        raise RuntimeError(f"{path} does not fit the model: {error}") from error
    try:
        state = by_name(layout, partial(read_next, pieces))
    except Exception as error:
        raise ValueError(f"{path} is broken: {error}") from error
    without_norms(model, folded).load_state_dict(state)
    return lay_rounding(model, inputs).eval()


def pieces_of(
    content: bytes,
    start: int,
    layout: list[dict[str, Any]],
) -> Iterator[bytes]:
    """Return the parts of all tensors, which stand one behind the other."""
    sizes = [size for entry in layout for size in entry.get("parts", ())]
    if min(sizes, default=0) < 0 or start + sum(sizes) != len(content):
        raise ValueError("it is cut short, or not what it says.")
    ends = itertools.accumulate(sizes, initial=start)
    return iter([content[a:b] for a, b in itertools.pairwise(ends)])


def by_name(layout: list[dict[str, Any]], make: Callable[..., Any]) -> dict[str, Any]:
    """Return what ``make`` makes of each tensor's entry; some are others, too."""
    state: dict[str, Any] = {}
    for entry in layout:
        same = entry.get("same")
        state[str(entry["name"])] = make(entry) if same is None else state[same]
    return state


def blank_of(entry: dict[str, Any]) -> Tensor:
    """Return a tensor's shape and type."""
    dtype = getattr(torch, entry["dtype"])
    return torch.empty(entry["shape"], dtype=dtype, device="meta")


def read_next(pieces: Iterator[bytes], entry: dict[str, Any]) -> Tensor:
    """Return a tensor from the next parts of a file."""
    return read_tensor(entry, iter([next(pieces) for _ in entry["parts"]]))


def find_layer(model: nn.Module, name: str, kinds: Any = nn.Module) -> Any:
    """Return the layer of a name; raise TypeError if it is not of these kinds."""
    layer = dict(model.named_modules(remove_duplicate=False)).get(name)
    if not isinstance(layer, kinds):
        found = "none" if layer is None else f"a {type(layer).__name__}"
        raise TypeError(f"its {name!r} is {found}.")
    return layer


def without_norms(model: nn.Module, folded: dict[str, str]) -> nn.Module:
    """Take batch norms out of a model; ``folded`` has the layer that each is in."""
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    for norm, layer in folded.items():
        find_layer(model, norm, (nn.Identity, *norms))
        own = find_layer(model, layer)
        model.set_submodule(norm, nn.Identity())
        if own.bias is None:
            outputs = getattr(own, "out_channels", None) or own.out_features
            own.bias = nn.Parameter(own.weight.new_zeros(outputs))
    return model


def lay_rounding(model: nn.Module, inputs: dict[str, Any]) -> nn.Module:
    """Have layers round what they get; ``inputs`` has the ends and the bits of each."""
    for module in model.modules():  # which may have been loaded before
        for key, hook in [*module._forward_pre_hooks.items()]:
            if getattr(hook, "func", None) is round_inputs:
                del module._forward_pre_hooks[key]
    for layer, (low, high, bits) in inputs.items():
        check_bits(bits)
        least, largest = torch.tensor([min(low, 0.0), max(high, 0.0)])
        scale = ((largest - least) / (2**bits - 1)).clamp(min=2**-126)
        zero = (-least / scale).round().item()
        grid = (1 / scale).item(), scale.item(), zero, 2**bits - 1
        hook = partial(round_inputs, grid)
        find_layer(model, layer).register_forward_pre_hook(hook)
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
        gaps = read_numbers(next(parts), min(entry["gaps"], count), entry["gap_bits"])
        most = 2 ** entry["gap_bits"] - 1  # so many zeros, and no weight after them
        places = torch.where(gaps == most, most, gaps + 1).cumsum(0) - 1
        places = places[gaps != most]
    if entry["way"] == "values":
        found = values
    elif entry["way"] == "table":
        found = values[read_numbers(next(parts), len(places), entry["bits"])]
    elif entry["way"] != "grid":
        raise ValueError(f"there is no way {entry['way']!r}.")
    else:
        numbers = read_numbers(next(parts), len(places), entry["bits"])
        row = places // (count // len(values))
        low = zero[row].to(dtype) if zero is not None else 2 ** (entry["bits"] - 1) - 1
        found = (numbers.to(dtype) - low) * values[row]
    return torch.zeros(count, dtype=dtype).index_copy(0, places, found).reshape(shape)


def read_numbers(part: bytes, count: int, bits: int) -> Tensor:
    """Return whole numbers (count,), which are packed bit by bit, or deflated."""
    check_bits(bits)
    if part[:1] == b"\1":
        found = zlib.decompressobj().decompress(part[1:], count + 1)
        return as_tensor(found, torch.uint8).long().reshape(count)
    every = as_tensor(part[1:], torch.uint8).long()[:, None] >> torch.arange(8) & 1
    digits = every.flatten()[: count * bits].reshape(count, bits)
    return (digits << torch.arange(bits)).sum(1)


def check_bits(bits: int) -> None:
    """Raise ValueError for numbers of more bits than a file holds."""
    if bits not in range(1, 9):
        raise ValueError(f"there are no numbers of {bits} bits.")


def as_tensor(part: bytes, dtype: torch.dtype) -> Tensor:
    """Return bytes as numbers of a type."""
    if not part:
        return torch.zeros(0, dtype=dtype)
    return torch.frombuffer(bytearray(part), dtype=dtype)
