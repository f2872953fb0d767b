"""What torch does otherwise in this thread, and in no other: modes that were turned on around the training."""

from __future__ import annotations

from typing import Any

import torch

from nbopt.torch_private import dispatch_modes, function_modes, saved_tensors_hooks

_AUTOCAST = ("cpu", "cuda", "mps", "xpu")


def find_modes() -> list[str]:
    """Return the names of those that change what a step computes, as autocast does."""
    kinds = [kind for kind in _AUTOCAST if torch.is_autocast_enabled(kind)]
    found = [f'torch.autocast("{kind}", {torch.get_autocast_dtype(kind)})' for kind in kinds]
    modes = [mode for mode in (*function_modes(), *dispatch_modes()) if _default_of(mode) != "cpu"]
    found += [f"torch.device({place!r})" if (place := _default_of(mode)) else type(mode).__name__ for mode in modes]
    return [*found, "saved_tensors_hooks"] if saved_tensors_hooks(True) is not None else found


def _default_of(mode: Any) -> str:
    """Return where a mode has tensors made, as `torch.set_default_device` turns one on; "" for other modes."""
    return str(mode.device) if type(mode).__name__ == "DeviceContext" else ""
