"""What a button does that takes long: in a thread of its own, since the next click is not to wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Aside:
    """Does one thing at a time.

    Parameters
    ----------
    name : str
        Of the thread.
    attempt : callable
        Does what it is given, and shows what that raises.
    wake : callable
        Called when it is done.

    Attributes
    ----------
    is_busy : bool
        What is asked for meanwhile is not done.
    """

    def __init__(self, name: str, attempt: Callable[[Callable[[], Any]], None], wake: Callable[[], None]) -> None:
        self.is_busy = False
        self._name = name
        self._attempt = attempt
        self._wake = wake

    def do(self, act: Callable[[], Any]) -> None:
        """Begin with it, unless something else is under way."""
        if not self.is_busy:
            self.is_busy = True
            threading.Thread(target=self._work, args=(act,), name=self._name, daemon=True).start()

    def _work(self, act: Callable[[], Any]) -> None:
        try:
            self._attempt(act)
        finally:
            self.is_busy = False
            self._wake()
