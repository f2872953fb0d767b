"""Threads in which the user's code finds what it finds where they are begun."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any


def thread_from_here(name: str, work: Callable[..., object], *arguments: Any) -> threading.Thread:
    """Return a thread that will ``work`` with the context variables of this one, numpy's ``errstate`` among them."""
    run = copy_context().run
    return threading.Thread(target=run, args=(work, *arguments), name=f"nbopt {name}", daemon=True)
