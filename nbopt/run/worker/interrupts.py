"""Ctrl-C while `Run.fit` trains in the main thread: the step that is under way is done first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any


class Deferred:
    """Within its ``with`` block, the first Ctrl-C asks for an end and is raised after the block; a second one at once.

    Elsewhere than in the main thread, and where somebody handles Ctrl-C otherwise, it does nothing.

    Parameters
    ----------
    ask : callable
        Asks for the end; called by the signal's handler.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._came = False
        self._former: Any = None

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            former = signal.getsignal(signal.SIGINT)
            if former is signal.default_int_handler:
                self._former = former
                signal.signal(signal.SIGINT, self._handle)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._former is not None:
            signal.signal(signal.SIGINT, self._former)
        if self._came and error is None:
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: Any) -> None:
        if self._came:
            raise KeyboardInterrupt
        self._came = True
        self._ask()
