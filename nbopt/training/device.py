"""Which device a run trains on, and why."""

from __future__ import annotations

from typing import NamedTuple

import torch

from nbopt.errors import InvalidHyperparam, unknown
from nbopt.i18n import _

# Part of the free memory that data may take, the rest being left to activations and gradients.
_DATA_SHARE = 0.5


class Device(NamedTuple):
    """A device and the reason it was picked.

    Attributes
    ----------
    torch : torch.device
    reason : str
        One sentence for the panel.
    """

    torch: torch.device
    reason: str


def pick_device(requested: str | torch.device | Device = "auto") -> Device:
    """Pick the device to train on: CUDA, else MPS, else the CPU, or the one asked for.

    Parameters
    ----------
    requested : str, torch.device or Device
        ``"auto"`` or anything `torch.device` takes; or what was picked before.

    Raises
    ------
    ValueError
        If torch does not know such a device, or this machine has none.
    """
    if isinstance(requested, Device):
        return requested
    if requested == "auto":
        if torch.cuda.is_available():
            return Device(torch.device("cuda", torch.cuda.current_device()), _("CUDA is available"))
        if torch.backends.mps.is_available():
            return Device(torch.device("mps"), _("MPS is available"))
        return Device(torch.device("cpu"), _("no CUDA or MPS device found"))
    try:
        device = torch.device(requested)
    except (RuntimeError, TypeError) as error:
        raise unknown(_("device"), requested, ["auto", "cpu", "cuda", "mps"]) from error
    if not _is_there(device):
        raise ValueError(_('device="{device}" is not on this machine. Use device="auto" or "cpu".', device=device))
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    return Device(device, _("as requested"))


def _is_there(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    return device.type != "mps" or torch.backends.mps.is_available()


def fits(nbytes: int, device: torch.device) -> bool:
    """Return whether ``nbytes`` of data may live on ``device`` for the whole run."""
    if device.type != "cuda":
        return True
    free, _total = torch.cuda.mem_get_info(device)
    return nbytes <= free * _DATA_SHARE


def describe(device: torch.device) -> str:
    """Return the device's name as a person knows it."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} ({device})"
    if device.type == "cpu":
        count = torch.get_num_threads()
        return _("CPU, 1 thread") if count == 1 else _("CPU, {count} threads", count=count)
    return str(device)


def memory_in_use(device: torch.device) -> int | None:
    """Return the bytes that tensors take on the device; for the CPU, the process's resident memory, or None."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.current_allocated_memory()
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * 4096
    except OSError:
        return None


def if_here(name: str) -> str:
    """Return the name of a device that this machine has, ``"auto"`` in the place of another one."""
    try:
        pick_device(name)
    except (ValueError, InvalidHyperparam):
        return "auto"
    return name
