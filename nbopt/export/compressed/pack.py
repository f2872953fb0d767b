"""Tensors as few bytes: as they are, by a table or a grid, with zeros left out; whatever is the smallest."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nbopt.export.compressed.load import read_tensor

_MOST = 256  # values of a table


class Grid(NamedTuple):
    """The values ``(k - zero) * scale`` of a weight's rows, k being a whole number of some bits.

    Attributes
    ----------
    scale : Tensor
        One for each row of the first dimension, or one for all.
    zero : Tensor or None
        As many; without, k goes as far below 0 as above.
    bits : int
    """

    scale: Tensor
    zero: Tensor | None
    bits: int


class Packed(NamedTuple):
    """What a file says of a tensor, and its bytes.

    Attributes
    ----------
    entry : dict
    parts : list of bytes
    """

    entry: dict[str, Any]
    parts: list[bytes]

    @property
    def size(self) -> int:
        """How many bytes it takes in a file, but for the entry, which is deflated with all others."""
        return sum(map(len, self.parts))


def pack(tensor: Tensor, grid: Grid | None = None) -> Packed:
    """Return a tensor in the smallest way that gives it back bit for bit.

    Parameters
    ----------
    tensor : Tensor
        Of any type and shape.
    grid : Grid, optional
        On which its numbers are; if they are not, it does not count.
    """
    tensor = tensor.detach().cpu().contiguous()
    found = [_plain(tensor)]
    if tensor.is_floating_point() and tensor.numel() > 1 and tensor.isfinite().all():
        if grid is not None:
            found += _by_grid(tensor, grid)
        found += [*_by_table(tensor), _without_zeros(tensor)]
    for packed in sorted(found, key=lambda each: each.size):
        if packed.entry["way"] == "plain" or torch.equal(read_tensor(packed.entry, iter(packed.parts)), tensor):
            return packed  # 0 may be -0 there
    raise AssertionError("a tensor as it is was not found")


def _plain(tensor: Tensor) -> Packed:
    return Packed(_entry(tensor, "plain"), [_bytes(tensor)])


def _without_zeros(tensor: Tensor) -> Packed:
    places = tensor.flatten().nonzero().flatten()
    entry, stream = _sparse(places)
    return Packed({**_entry(tensor, "values"), **entry}, [_bytes(tensor.flatten()[places]), stream])


def _by_table(tensor: Tensor) -> Iterable[Packed]:
    """Yield a tensor by the values that it has, if they are few."""
    flat = tensor.flatten()
    for sparse in (False, True):
        places = flat.nonzero().flatten() if sparse else torch.arange(len(flat))
        table, numbers = torch.unique(flat[places], return_inverse=True)
        if 0 < len(table) <= _MOST:
            bits = max(1, (len(table) - 1).bit_length())
            yield _numbered(tensor, "table", [_bytes(table)], numbers, bits, places if sparse else None)


def _by_grid(tensor: Tensor, grid: Grid) -> Iterable[Packed]:
    """Yield a tensor by whole numbers and scales."""
    flat, rows = tensor.flatten(), grid.scale.numel()
    scale = grid.scale.detach().cpu().to(tensor.dtype).flatten()
    if not rows or flat.numel() % rows:
        return
    numbers = (tensor.reshape(rows, -1) / scale[:, None]).round()
    parts = [_bytes(scale)]
    if grid.zero is None:
        numbers += 2 ** (grid.bits - 1) - 1
    else:
        zero = grid.zero.detach().cpu().flatten()
        numbers += zero[:, None]
        parts.append(_bytes(zero.to(torch.uint8)))
    numbers = numbers.clamp(0, 2**grid.bits - 1).long().flatten()
    for places in (None, flat.nonzero().flatten()):
        chosen = numbers if places is None else numbers[places]
        packed = _numbered(tensor, "grid", parts, chosen, grid.bits, places)
        packed.entry["zero"] = grid.zero is not None
        yield packed


def _numbered(
    tensor: Tensor, way: str, parts: list[bytes], numbers: Tensor, bits: int, places: Tensor | None
) -> Packed:
    """Return a tensor by whole numbers, of all weights or of those at ``places`` alone."""
    entry = {**_entry(tensor, way), "bits": bits, "sparse": False}
    if places is None:
        return Packed(entry, [*parts, pack_numbers(numbers, bits)])
    told, stream = _sparse(places)
    return Packed(entry | told, [*parts, stream, pack_numbers(numbers, bits)])


def _sparse(places: Tensor) -> tuple[dict[str, Any], bytes]:
    """Return where weights are that are not 0, by the gaps between them."""
    ways = {width: _gaps(places, width) for width in range(2, 9)}
    streams = {width: pack_numbers(gaps, width) for width, gaps in ways.items()}
    width = min(streams, key=lambda each: len(streams[each]))
    return {"sparse": True, "gaps": len(ways[width]), "gap_bits": width}, streams[width]


def _gaps(places: Tensor, bits: int) -> Tensor:
    """Return how many zeros stand before each place; the largest number stands for as many, and no weight."""
    most = 2**bits - 1
    gaps = torch.diff(places, prepend=torch.tensor([-1])) - 1
    fill = gaps // most
    ends = (fill + 1).cumsum(0)
    found = torch.full((int(ends[-1]) if len(ends) else 0,), most)
    found[ends - 1] = gaps % most
    return found


def pack_numbers(numbers: Tensor, bits: int) -> bytes:
    """Return whole numbers (n,) bit by bit, or deflated where that is shorter."""
    digits = (numbers[:, None] >> torch.arange(bits) & 1).flatten()
    digits = torch.nn.functional.pad(digits, (0, -len(digits) % 8)).reshape(-1, 8)
    dense = _bytes((digits << torch.arange(8)).sum(1).to(torch.uint8))
    raw = _bytes(numbers.to(torch.uint8))
    squeezed = min((_deflate(raw, kind) for kind in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY)), key=len)
    return b"\1" + squeezed if len(squeezed) < len(dense) else b"\0" + dense


def _deflate(raw: bytes, strategy: int) -> bytes:
    maker = zlib.compressobj(9, zlib.DEFLATED, 15, 9, strategy)
    return maker.compress(raw) + maker.flush()


def _entry(tensor: Tensor, way: str) -> dict[str, Any]:
    return {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch."), "way": way}


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def join(
    packed: Mapping[str, Packed],
    same: Mapping[str, str],
    inputs: Mapping[str, Any] | None = None,
    folded: Mapping[str, str] | None = None,
) -> bytes:
    """Return the content of a file with tensors by name.

    Parameters
    ----------
    packed : mapping of str to Packed
    same : mapping of str to str
        Names of tensors that are others, too.
    inputs : mapping of str to tuple, optional
        Layers whose inputs have few bits: the least, the largest, and the bits.
    folded : mapping of str to str, optional
        Batch norms that are one with a layer now, and these layers.
    """
    layout = [{"name": name, **each.entry, "parts": [*map(len, each.parts)]} for name, each in packed.items()]
    layout += [{"name": name, "same": other} for name, other in same.items()]
    told = {"layout": layout, "inputs": inputs or {}, "folded": folded or {}}
    about = zlib.compress(json.dumps(told, separators=(",", ":")).encode(), 9)  # a third of a small file else
    data = about + b"".join(part for each in packed.values() for part in each.parts)
    head = {
        "__metadata__": {"format": "pt", "compressed": str(len(about))},
        "data": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]},
    }
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data
