"""Memory for copies of large tensors: made ready in a thread of its own, and used again once nobody holds the copy.

Memory that is new to the process is handed out and cleared by the system page by page, which takes several times as
long as the copy itself.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter, deque
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_LARGE = 2**20  # bytes, below which memory costs nothing

_PAGE = 4096

_free: deque[NDArray[np.uint8]] = deque()  # made ready, or of copies that are gone


def copy_to_cpu(tensor: Tensor) -> Tensor:
    """Return a copy of a tensor on the CPU, which nothing else writes to as long as it, or a view of it, is held."""
    tensor = tensor.detach()
    if tensor.layout != torch.strided or tensor.nbytes < _LARGE or not tensor.is_contiguous() or tensor.is_quantized:
        return tensor.to("cpu", copy=True)
    block = _take(tensor.nbytes)
    held = block[:]  # what torch holds as long as a tensor or an array uses its memory
    weakref.finalize(held, _free.append, block).atexit = False
    return torch.from_numpy(held).view(tensor.dtype).view(tensor.shape).copy_(tensor)


def keep_ready(tensors: Iterable[Tensor]) -> None:
    """Have memory ready for copies of tensors as these, and give back what is left."""
    wanted = Counter(tensor.nbytes for tensor in tensors if tensor.nbytes >= _LARGE)
    for _each in range(len(_free)):
        block = _take(0)
        if wanted[len(block)] > 0:
            wanted[len(block)] -= 1
            _free.append(block)
    if missing := list((+wanted).elements()):
        threading.Thread(target=_make_ready, args=(missing,), name="nbopt memory").start()


def _make_ready(sizes: list[int]) -> None:
    for size in sizes:
        block = np.empty(size, np.uint8)
        block[::_PAGE] = 0  # numpy lets other threads run meanwhile
        _free.append(block)


def _take(size: int) -> NDArray[np.uint8]:
    """Return memory of so many bytes, if there is some ready; of any size for 0."""
    for _each in range(len(_free)):
        try:
            block = _free.popleft()
        except IndexError:  # another thread was faster
            break
        if len(block) == size or not size:
            return block
        _free.append(block)
    return np.empty(size, np.uint8)
