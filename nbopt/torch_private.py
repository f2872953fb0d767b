"""Names that are private to torch, all taken here: a torch that renames one costs what it is for, and no run.

What is used instead gives the same numbers, bit for bit, and takes longer; where something cannot be done without, the
name is None, and who uses it leaves that out. `MISSING` tells which ones are; a run says so at its start.

Not here: `nbopt.techniques.regularization.penalties`, which a script holds as it is written;
`nbopt.data.thread_generator`, which is left out as a whole where one of its names is missing; and
`nbopt.training.compile.compiler`, a program of its own, whose errors are told as those of any compiler.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from nbopt.loading import without_collecting

MISSING: list[str] = []
"""The names that this torch does not have."""


def _take(place: str, name: str, instead: Any) -> Any:
    """Return what torch has under a private name, ``instead`` if it has nothing."""
    try:
        found: Any = importlib.import_module("torch")
        for part in place.split(".")[1:]:
            found = getattr(found, part, None) or importlib.import_module(f"{found.__name__}.{part}")
        return getattr(found, name)
    except (AttributeError, ImportError):
        MISSING.append(f"{place}.{name}")
        return instead


def _one_by_one(method: str) -> Callable[..., Any]:
    """Return what does to each of several tensors what torch would do to all of them at once."""

    def work(tensors: Sequence[Tensor], others: Any, **named: Any) -> list[Tensor]:
        if not isinstance(others, (list, tuple)):
            others = [others] * len(tensors)
        return [getattr(tensor, method)(other, **named) for tensor, other in zip(tensors, others, strict=True)]

    return work


def _run_backward(losses: Any, gradients: Any, keep: bool, create: bool, inputs: Any, **_named: Any) -> None:
    torch.autograd.backward(losses, gradients, keep, create, inputs=inputs or None)


foreach_add = _take("torch", "_foreach_add", _one_by_one("add"))
foreach_add_ = _take("torch", "_foreach_add_", _one_by_one("add_"))
foreach_copy_ = _take("torch", "_foreach_copy_", _one_by_one("copy_"))
foreach_div_ = _take("torch", "_foreach_div_", _one_by_one("div_"))
foreach_mul_ = _take("torch", "_foreach_mul_", _one_by_one("mul_"))
set_grad_enabled = _take("torch._C", "_set_grad_enabled", torch.set_grad_enabled)
run_backward = _take("torch.autograd.graph", "_engine_run_backward", _run_backward)

# Without them, updates are left to `torch.optim`.
fused_adam_ = _take("torch", "_fused_adam_", None)
fused_adamw_ = _take("torch", "_fused_adamw_", None)

# What a hypergradient writes out, as torch's own second derivative of it is wrong.
weight_norm = _take("torch", "_weight_norm", None)

# What they are the bases of, where the bases have other names.
DropoutNd = _take(
    "torch.nn.modules.dropout",
    "_DropoutNd",
    (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout),
)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
BatchNorm = _take("torch.nn.modules.batchnorm", "_BatchNorm", _BATCH_NORMS)
NormBase = _take("torch.nn.modules.batchnorm", "_NormBase", (*_BATCH_NORMS, *_INSTANCE_NORMS))

# Those on all modules, which compiled steps would not call. Unknown, they count as there: steps stay eager.
_UNKNOWN = {"unknown": None}
GLOBAL_HOOKS = tuple(
    _take("torch.nn.modules.module", name, _UNKNOWN)
    for name in (
        *("_global_forward_hooks", "_global_forward_pre_hooks"),
        *("_global_backward_hooks", "_global_backward_pre_hooks"),
    )
)

# A product by oneDNN. Without it, products are torch's own.
_linear_pointwise = _take("torch.ops.mkldnn", "_linear_pointwise", None)
linear_pointwise: Any = getattr(_linear_pointwise, "default", None)

# Sees every operation. Without it, nobody looks whether a copy is tied to its original, or counts what is computed.
DispatchMode = _take("torch.utils._python_dispatch", "TorchDispatchMode", None)

# What is turned on in a thread, outermost first. Without them, nobody says that another thread does not have it.
function_modes = _take("torch.overrides", "_get_current_function_mode_stack", list)
dispatch_modes = _take("torch.utils._python_dispatch", "_get_current_dispatch_mode_stack", list)
saved_tensors_hooks = _take("torch._C._autograd", "_top_saved_tensors_default_hooks", lambda _ignore_tracing: None)


def package_loader() -> Any:
    """Return what loads machine code; an AttributeError where there is none, as any reason why steps stay eager."""
    return torch._C._aoti.AOTIModelPackageLoader


def default_cache_dir() -> str:
    """Return where torch's compiler keeps things if nobody says otherwise; "" if it does not tell."""
    with suppress(AttributeError, ImportError):
        home: Any = importlib.import_module("torch._inductor.runtime.cache_dir_utils")  # takes seconds
        return str(home.default_cache_dir())
    return ""


def load_dynamo() -> None:
    """Import what torch imports with the first optimizer."""
    with suppress(ImportError), without_collecting():
        importlib.import_module("torch._dynamo")
