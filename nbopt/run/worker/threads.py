"""Threads in which the user's code finds what it finds where they are begun."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import torch

from nbopt.i18n import _
from nbopt.training.user_code.modes import find_modes


def thread_from_here(name: str, work: Callable[..., object], *arguments: Any) -> threading.Thread:
    """Return a thread that will ``work`` with the context variables of this one, numpy's ``errstate`` among them.

    Modes of torch are not handed over, as those of a ``with`` are over before the thread is: see `check_modes`.
    """
    run = copy_context().run
    return threading.Thread(target=run, args=(work, *arguments), name=f"nbopt {name}", daemon=True)


def check_modes(elsewhere: bool) -> None:
    """Look whether what trains now would have the modes of torch that a loop here has.

    Parameters
    ----------
    elsewhere : bool
        Whether it trains in another thread or process.

    Raises
    ------
    RuntimeError
        If it would not; or if tensors are made on another device than the CPU unless one is said, as nobody's are here.
    """
    if (place := torch.get_default_device()).type != "cpu":
        rule = _("torch.set_default_device(None) ends that; a run is told by device= where to train")
        known = _("tensors are made on {device} by default, which runs do not support", device=place)
        raise RuntimeError(f"{known}: {rule}.")
    if elsewhere and not torch.is_grad_enabled():
        raise RuntimeError(_("gradients are turned off here, as by torch.no_grad(), and nothing is trained without."))
    if elsewhere and (modes := find_modes()):
        rule = _('call fit(), which trains here, or say it by a setting, as precision="bfloat16"')
        known = _("{modes} holds in this thread alone, and the training has another", modes=", ".join(modes))
        raise RuntimeError(f"{known}: {rule}.")
