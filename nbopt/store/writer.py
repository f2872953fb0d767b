"""The thread that keeps the store up to date, one in a process, and what is done when the process ends."""

from __future__ import annotations

import atexit
import os
import threading
import time
from pathlib import Path
from typing import Protocol

from nbopt.store import database

_SECONDS = 0.4  # between two looks at a run that moves
_IDLE_SECONDS = 0.5
_TIDY_SECONDS = 5.0
_END_SECONDS = 30.0  # that the thread is given for what it is at when the process ends


class Follower(Protocol):
    """Who looks after one run: a `nbopt.store.recorder.Recorder`."""

    folder: Path
    due: float
    """When, on `time.monotonic`, the thread is to look again at the earliest."""

    @property
    def is_over(self) -> bool:
        """Whether nothing will be left to write, ever."""
        ...

    def update(self) -> bool:
        """Bring the rows up to date; return whether there was news."""
        ...

    def leave(self) -> None:
        """Forget the run."""
        ...

    def stop(self) -> None:
        """Write no more: the process ends."""
        ...


class _Writer:
    """The thread that looks after all recorders of a process."""

    def __init__(self) -> None:
        self._recorders: list[Follower] = []
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._tidy_at = 0.0

    def add(self, recorder: Follower) -> None:
        with self._lock:
            if recorder not in self._recorders:
                self._recorders.append(recorder)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="nbopt store", daemon=True)
                self._thread.start()

    def wake(self) -> None:
        self._news.set()

    def update(self, folder: Path | None = None) -> None:
        """Bring everything up to date now, in the caller's thread."""
        for recorder in list(self._recorders):
            if folder in (None, recorder.folder):
                recorder.update()

    def finish(self) -> None:
        """Bring everything up to date for the last time, and end the thread.

        Python ends threads that are still at work once the interpreter is gone, wherever they are: in the midst of a
        call into torch or numpy that aborts the process.
        """
        self._ending.set()
        self._news.set()
        if (thread := self._thread) is not None:
            thread.join(_END_SECONDS)
        self.update()
        for recorder in list(self._recorders):
            recorder.stop()

    def _work(self) -> None:
        while not self._ending.is_set():
            self._news.clear()
            busy = False
            for recorder in list(self._recorders):
                over = recorder.is_over
                if not over and time.monotonic() < recorder.due:
                    continue
                busy |= recorder.update()
                if over:
                    self._remove(recorder)
            if time.monotonic() > self._tidy_at:
                database.tidy_all()
                self._tidy_at = time.monotonic() + _TIDY_SECONDS
            with self._lock:
                if not self._recorders:
                    self._thread = None
                    return
            if not busy:
                self._news.wait(_IDLE_SECONDS)
            self._ending.wait(_SECONDS)

    def _remove(self, recorder: Follower) -> None:
        with self._lock:
            self._recorders.remove(recorder)
        recorder.leave()


_writer = _Writer()


def flush(folder: Path | None = None) -> None:
    """Write all that this process's runs have to store, before somebody reads it."""
    _writer.update(folder)


@atexit.register
def _finish() -> None:
    _writer.finish()
    database.close_all()


def _start_anew() -> None:
    global _writer
    _writer = _Writer()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def add(recorder: Follower) -> None:
    """Look after a run from now on."""
    _writer.add(recorder)


def wake() -> None:
    """Look at the runs soon."""
    _writer.wake()
