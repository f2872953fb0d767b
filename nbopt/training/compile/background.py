"""A second thread that makes a chunk while the run goes on."""

from __future__ import annotations

import atexit
import ctypes
import threading
from typing import Any, Protocol

from nbopt.training.compile.build import Build

_END_SECONDS = 10.0


class Workshop(Protocol):
    """What makes a chunk for a signature."""

    signature: Any
    build: Build

    def make(self) -> Any:
        """Make it."""


class BackgroundCompile(threading.Thread):
    """Makes a chunk while the run goes on."""

    def __init__(self, workshop: Workshop) -> None:
        super().__init__(name="nbopt compiles", daemon=True)
        self.signature = workshop.signature
        self.result: Any = ""  # or why there is none
        self._workshop = workshop

    def run(self) -> None:
        """Make it; keep why it failed."""
        _jobs.add(self)
        try:
            self.result = self._workshop.make()
        except Exception as error:
            self.result = str(error) or type(error).__name__
        finally:
            _jobs.discard(self)

    def end(self) -> None:
        """Break off: torch aborts in a thread that is left when the process ends."""
        self._workshop.build.cancel()
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident or 0), ctypes.py_object(SystemExit))
        self.join(_END_SECONDS)


_jobs: set[BackgroundCompile] = set()


@atexit.register
def _end_all() -> None:
    for job in list(_jobs):
        job.end()
