"""Matrix products as a compiled step does them: by oneDNN, or with rows for columns, where that is faster.

oneDNN does those in float32, where it is faster than the BLAS that torch was built with.

That is Intel's, which takes twice as long on processors that are not Intel's own. torch asks oneDNN for other types and
for convolutions; here it is asked for large products too, and a small one costs more to hand over than it brings.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from nbopt.torch_private import linear_pointwise

_aten = torch.ops.aten
_LEAST = 2**20  # multiplications
_LEAST_EACH = 100  # ... for each number that has to be copied into the order that oneDNN wants
_GAIN = 1.3  # far from 1 and from 2, for the choice to be the same each time
_TRIES = 15
_FEW = 16  # outputs, that a processor has in one register

Decompositions = dict[Any, Callable[..., Any]]


def replacements(is_evaluation: bool = False) -> Decompositions:
    """Return what a graph is to do in place of torch's products, as a decomposition table of `make_fx`.

    Parameters
    ----------
    is_evaluation : bool
        Whether single layers with few outputs, too, have those of all samples side by side.
    """
    onednn: Decompositions = {_aten.mm.default: _mm, _aten.addmm.default: _addmm} if _is_faster() else {}
    few: Decompositions = {_aten.addmm.default: _addmm_of_few} if is_evaluation else {}
    return {_aten.bmm.default: _bmm, **onednn, **few}


def are_in(graph: fx.GraphModule) -> bool:
    """Whether a graph has products by oneDNN."""
    return any(node.target is linear_pointwise for node in graph.graph.nodes)


def _bmm(a: Tensor, b: Tensor) -> Any:
    """Return the product of many layers with few outputs, those of all samples side by side.

    What comes next, as a mean over classes, is then done for many samples at a time.
    """
    is_of_layers = a.is_contiguous() and b.mT.is_contiguous() and not b.is_contiguous()
    return torch.bmm(b.mT, a.mT).mT if is_of_layers and b.shape[2] < _FEW <= a.shape[1] else NotImplemented


def _mm(a: Tensor, b: Tensor) -> Any:
    return _product(a, b, None)


def _addmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Any:
    return _product(a, b, bias) if beta == alpha == 1 and bias.ndim == 1 else NotImplemented


def _addmm_of_few(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Any:
    if beta == alpha == 1 and b.shape[1] < _FEW <= a.shape[0]:
        return torch.mm(b.t(), a.t()).t() + bias
    return _addmm(bias, a, b, beta=beta, alpha=alpha) if _is_faster() else NotImplemented


def _product(a: Tensor, b: Tensor, bias: Tensor | None) -> Any:
    if a.device.type != "cpu" or not a.dtype is b.dtype is torch.float32:
        return NotImplemented
    copied = sum(tensor.numel() for tensor in (a, b.t()) if not tensor.is_contiguous())
    count = a.numel() * b.shape[1]
    return _by_onednn(a, b, bias) if count >= max(_LEAST, _LEAST_EACH * copied) else NotImplemented


def _by_onednn(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    result: Tensor = linear_pointwise(a, b.t(), bias, "none", [], "")
    return result


@functools.cache
def _is_faster() -> bool:
    """Whether oneDNN is much faster on this machine, by the product of a large layer and a batch."""
    if linear_pointwise is None or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    generator = torch.Generator()
    a, b = torch.randn(64, 768, generator=generator), torch.randn(256, 768, generator=generator).t()
    return _shortest(lambda: a @ b) > _GAIN * _shortest(lambda: _by_onednn(a, b, None))


def _shortest(work: Callable[[], Any]) -> float:
    """Return the seconds of computing that work takes, the least of some tries: others may be at work."""
    tries = []
    for _try in range(_TRIES):
        start = time.thread_time()
        work()
        tries.append(time.thread_time() - start)
    return min(tries)
