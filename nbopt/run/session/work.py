"""Work that somebody waits for: steps done again by a rewind, a branch or an opening, or tried by a sweep.

It tells how far it is, now and then, and may be stopped between two steps. A panel shows it, and a line below the cell.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from nbopt.formatting import count
from nbopt.i18n import _

_SECONDS = 0.2  # between two times that it tells
_SHOWN_AFTER = 1.0  # what takes less is not worth a word


class Waited(Protocol):
    """What shows that somebody waits for it: a session."""

    watchers: list[Callable[[], None]]
    work: Any


class Work:
    """Steps that are being done, for somebody who waits.

    Parameters
    ----------
    session : Waited
        Whose panel shows it.
    what : str
        What is done, in words.
    follow : callable, optional
        Called with this each time it tells, and when it is over.

    Attributes
    ----------
    done, total : int
        Steps done, and how many there are.
    is_stopped : bool
        Whether somebody asked for its end.
    is_over : bool
    """

    def __init__(self, session: Waited, what: str, follow: Callable[[Work], None] | None = None) -> None:
        self.what = what
        self.done = self.total = 0
        self.is_stopped = self.is_over = False
        self._session = session
        self._follow = follow
        self._began = time.perf_counter()
        self._due = self._began + _SHOWN_AFTER

    def __enter__(self) -> Work:
        self._session.work = self
        return self

    def __exit__(self, *_error: object) -> None:
        self.is_over = True
        self._session.work = None
        self._tell()

    def stop(self) -> None:
        """Have it end after the step that is under way; called by any thread, as it takes no lock."""
        self.is_stopped = True

    def note(self, done: int, total: int) -> None:
        """Take note of how far it is."""
        now = time.perf_counter()
        if now >= self._due:
            self._due = now + _SECONDS
            self.done, self.total = done, total
            self._tell()

    @property
    def share(self) -> float:
        """The part that is done, from 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def is_shown(self) -> bool:
        """Whether it takes long enough to be told of."""
        return bool(self.total)

    @property
    def words(self) -> str:
        """How far it is, in words.

        Examples
        --------
        >>> work = Work(run, "Opening")
        >>> work.done, work.total = 1234, 1400
        >>> work.words
        'Opening: 1,234 of 1,400 steps'
        """
        if self.is_over and not self.is_stopped:
            return _("{what}: {total} steps done", what=self.what, total=count(self.total))
        return _("{what}: {done} of {total} steps", what=self.what, done=count(self.done), total=count(self.total))

    def _tell(self) -> None:
        if self.is_shown:
            for wake in [*self._session.watchers]:
                wake()
            if self._follow is not None:
                self._follow(self)


def follow_on_terminal(work: Work) -> None:
    """Write how far it is to a terminal, in one line."""
    if sys.stderr.isatty():
        hint = _("Ctrl-C stops it")
        sys.stderr.write("\r\033[K" if work.is_over else f"\r{work.words} ({hint})\033[K")
        sys.stderr.flush()
