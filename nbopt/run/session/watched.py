"""`Watched`: something that threads wait for, and that tells others when it changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NoReturn

from nbopt.i18n import _


class OfOneProcess:
    """What has threads and a store, and is therefore neither pickled nor copied."""

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        """Say what to do instead."""
        told = _("a {kind} can be neither pickled nor copied", kind=type(self).__name__)
        ways = _("nbopt.open(id) opens what is stored, run.branch() copies a run, run.export() writes its model")
        raise TypeError(f"{told}: {ways}.")


class Watched(OfOneProcess):
    """What a `Session` tells its panel, its worker and whoever waits for it.

    Attributes
    ----------
    watchers : list of callable
        Who is called whenever state or journal changed.
    lock : threading.RLock
        Guards state and the hand-over between threads; never taken in a step.
    """

    def __init__(self) -> None:
        self.watchers: list[Callable[[], None]] = []
        self.lock = threading.RLock()
        self._moved: threading.Condition | None = None

    @property
    def moved(self) -> threading.Condition:
        """Tells who waits that something changed; made for the first who does: members of populations have none.

        Examples
        --------
        >>> with run.moved:
        ...     run.moved.wait(timeout=0)
        False
        """
        with self.lock:
            self._moved = self._moved or threading.Condition(self.lock)
            return self._moved

    def announce(self) -> None:
        """Wake whoever waits or watches.

        Examples
        --------
        >>> run.watch(lambda: print("something changed"))
        >>> run.announce()
        something changed
        """
        with self.lock:
            if self._moved is not None:
                self._moved.notify_all()
        for wake in [*self.watchers]:
            wake()

    def watch(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` from now on whenever state or journal have changed.

        Parameters
        ----------
        wake : callable
            Takes nothing. It is called from any thread, the training thread too, and must therefore be quick.

        Examples
        --------
        >>> states = []
        >>> run.watch(lambda: states.append(run.state.name))
        >>> run.step()
        >>> states[0], states[-1]
        ('RUNNING', 'PAUSED')
        """
        self.watchers.append(wake)

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Stop calling ``wake``.

        Raises
        ------
        ValueError
            If it is not called.

        Examples
        --------
        >>> woken = []
        >>> wake = lambda: woken.append(run.state)
        >>> run.watch(wake)
        >>> run.unwatch(wake)
        >>> run.step()
        >>> woken
        []
        """
        self.watchers.remove(wake)
