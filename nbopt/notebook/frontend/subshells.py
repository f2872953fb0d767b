"""Let messages from the browser through while a cell runs."""

from __future__ import annotations

from typing import Any

from ipywidgets import Widget


def keep_frontend_route(holder: Any) -> None:
    """Let the browser decide which shell of the kernel handles its messages on a comm.

    JupyterLab sends comm messages to a subshell, so that they are handled while a cell runs. ipykernel
    7.4 sends them back to the shell the comm was last written from, most often the main one: there they
    wait until the cell ends, and a message that arrives during an ``await`` is never reported as done.
    On versions of ipykernel that do not do so, nothing happens.

    Parameters
    ----------
    holder : ipywidgets.Widget or comm.base_comm.BaseComm
        A widget, whose every later comm is treated too, or a comm. Calling it again does no harm.
    """
    if isinstance(holder, Widget):
        holder.observe(_on_comm, "comm")
        _release(holder.comm)
    else:
        _release(holder)


def _on_comm(change: dict[str, Any]) -> None:
    _release(change["new"])


def _release(comm: Any) -> None:
    # Private to ipykernel 7.4, and absent before: drop this file when that version is history.
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = _as_sent


def _as_sent(data: object, default: str | None) -> str | None:
    return default
