"""A stretch of many histories as bytes: one head, and each array that occurs once."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbopt.i18n import _
from nbopt.objects.plain import is_count
from nbopt.record.column import Numbers, as_array

_MOST = 2**28  # bytes of a record once it is unpacked
_TYPES = ("<i8", "<f4", "<f8")


class Stretch(NamedTuple):
    """Measurements of one member, which follow what there is of them.

    Attributes
    ----------
    member : int
    name : str
        Of what was measured; "" for all of it, with ``copied``.
    start : int
        How much of what there is before stays.
    steps : range or (n,) ndarray of int64
    values : (n,) ndarray of float64
    copied : int
        The member whose measurements, as they were before this record, it has from now on; -1 for its own.
    """

    member: int
    name: str
    start: int
    steps: Numbers
    values: NDArray[np.float64]
    copied: int = -1


def pack(stretches: Iterable[Stretch], mark: int = -1) -> bytes:
    """Return stretches as bytes, exactly: a loss of float32 takes 4 of them, and what is alike stands there once.

    Parameters
    ----------
    mark : int
        A number that `unpack` returns with them.
    """
    places: dict[tuple[str, bytes], int] = {}
    arrays: list[tuple[str, bytes]] = []

    def put(array: NDArray[Any], kind: str) -> int:
        key = kind, array.astype(kind).tobytes()
        if key not in places:
            places[key] = len(arrays)
            arrays.append(key)
        return places[key]

    head = []
    for one in stretches:
        steps: Any = [one.steps.start, one.steps.stop, one.steps.step] if isinstance(one.steps, range) else None
        steps = put(as_array(one.steps), "<i8") if steps is None else steps
        head.append([one.member, one.name, one.start, one.copied, steps, put(one.values, _type_of(one.values))])
    text = json.dumps([mark, head, [[kind, len(data)] for kind, data in arrays]]).encode()
    whole = b"".join([len(text).to_bytes(8, "little"), text, *(data for _kind, data in arrays)])
    return zlib.compress(whole, 1)


def unpack(data: bytes) -> tuple[int, list[Stretch]]:
    """Return mark and stretches again.

    Raises
    ------
    ValueError
        For what `pack` did not write.
    """
    try:
        opened = zlib.decompressobj()
        whole = opened.decompress(data, _MOST)
        if not opened.eof:
            raise ValueError(_("too long, or cut off"))
        begin = 8 + int.from_bytes(whole[:8], "little")
        mark, head, sizes = json.loads(whole[8:begin])
        arrays = []
        for kind, size in sizes:
            if kind not in _TYPES or not is_count(size) or begin + size > len(whole):
                raise ValueError(_("an array that is none"))
            arrays.append(np.frombuffer(whole[begin : begin + size], kind))
            begin += size
        found = []
        for member, name, start, copied, at, place in head:
            steps: Numbers = range(*at) if isinstance(at, list) else arrays[at].astype(np.int64)
            values = arrays[place].astype(np.float64)
            right = is_count(member) and isinstance(name, str) and is_count(start) and type(copied) is int
            if not right or len(steps) != len(values) or not _are_steps(steps):
                raise ValueError(_("a stretch that is none"))
            found.append(Stretch(member, name, start, steps, values, copied))
        if type(mark) is not int:
            raise ValueError(_("a mark that is none"))
        return mark, found
    except (zlib.error, TypeError, IndexError, KeyError, RecursionError, OverflowError) as error:
        raise ValueError(str(error)) from error


def _type_of(values: NDArray[np.float64]) -> str:
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = values.astype(np.float32).astype(np.float64)
    return "<f4" if np.array_equal(narrow.view(np.int64), values.view(np.int64)) else "<f8"


def _are_steps(steps: Numbers) -> bool:
    if isinstance(steps, range):
        return steps.step > 0 and (not steps or is_count(steps[0]))
    return not len(steps) or (steps[0] >= 0 and bool((np.diff(steps) >= 0).all()))
