"""How many multiply-accumulate operations a forward pass is, and in which modules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import flop_registry

from nbopt.data.thread_generator import within_mode
from nbopt.torch_private import DispatchMode


def count_macs(model: nn.Module, do: Callable[[], Any]) -> dict[str, int]:
    """Return the multiply-accumulate operations of what ``do`` computes, by the name of the module that asks for them.

    They are half of what torch's `torch.utils.flop_counter.FlopCounterMode` counts: matrix products, convolutions and
    attention. That one puts hooks into all modules of the process, and other threads may train; here, only those of
    ``model`` get any. Layers that torch does by one function of its own, LSTM and attention on a CPU, are not in
    its table, and count here.

    Parameters
    ----------
    model : Module
        Operations outside all of its modules count under "".
    do : callable
        Without arguments.

    Returns
    -------
    dict of str to int
        Only modules that have any, in the order in which they were first asked; empty where torch lets nobody count.
    """
    if DispatchMode is None:
        return {}
    counting = _Counting()
    with counting.inside(model), counting:
        do()
    return {name: flops // 2 for name, flops in counting.flops.items()}


class _Counting(DispatchMode or object):  # type: ignore[misc]
    """Counts what this thread computes; a module's operations do not count for the one that called it."""

    def __init__(self) -> None:
        super().__init__()
        self.flops: Counter[str] = Counter()
        self._names = [""]

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        """Know which module is at work."""
        with ExitStack() as stack:
            for name, module in model.named_modules():
                if isinstance(module, torch.jit.ScriptModule):
                    continue  # takes no hooks; it counts for the one that called it
                enter = module.register_forward_pre_hook(lambda *_call, name=name: self._names.append(name))
                leave = module.register_forward_hook(self._leave, always_call=True)
                stack.callback(enter.remove)
                stack.callback(leave.remove)
            yield

    def _leave(self, *_call: Any) -> None:
        self._names.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        count = _FORMULAS.get(func.name()) or flop_registry.get(func.overloadpacket)
        if count is None and func is not torch.ops.prim.device.default:
            with within_mode(), self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        with within_mode():
            result = func(*args, **kwargs)
        if count is not None:
            self.flops[self._names[-1]] += int(count(*args, **kwargs, out_val=result))
        return result


def _recurrent(x: Any, ih: Any, hh: Any, *_others: Any, out_val: Any = None, **_named: Any) -> int:
    """Return the operations of one layer and direction: each step multiplies with both matrices."""
    return int(2 * x.shape[:-1].numel() * (ih.numel() + hh.numel()))


def _attention(x: Any, _key: Any, _value: Any, width: int, *others: Any, out_val: Any = None, **_named: Any) -> int:
    """Return the operations of attention to oneself: projections, scores, and the sums that these weigh."""
    matrices = sum(one.numel() for one in others if isinstance(one, torch.Tensor) and one.ndim == 2)
    samples, length = x.shape[:2]
    return int(2 * samples * length * (matrices + 2 * length * width))


def _scores(query: Any, key: Any, value: Any, *_others: Any, out_val: Any = None, **_named: Any) -> int:
    """Return the operations of scores (..., from, to), and of the sums that these weigh."""
    return int(2 * query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1]))


_FORMULAS: dict[str, Callable[..., int]] = {
    "aten::mkldnn_rnn_layer": _recurrent,
    "aten::_native_multi_head_attention": _attention,
    "aten::_scaled_dot_product_flash_attention_for_cpu": _scores,
}
"""Of what torch has no formula for, by function."""
