"""What a person asks for at a panel: done at once or in a thread of its own, and what it raises is kept to be shown."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Attempts:
    """Does what is asked for; an exception there would be seen by nobody.

    Parameters
    ----------
    wake : callable
        Called when there is something to show.

    Attributes
    ----------
    problem : str
        Why the newest thing asked for was not done; "" if it was.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.problem = ""
        self.wake = wake

    def do(self, act: Callable[[], Any]) -> None:
        """Do it here and now."""
        self.problem = ""
        try:
            act()
        except Exception as error:
            self.problem = str(error)
        self.wake()

    def refuse(self, reason: str) -> None:
        """Say why a message was not taken."""
        self.problem = reason
        self.wake()


class Aside:
    """Does one thing at a time, in a thread, since the next click is not to wait.

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
