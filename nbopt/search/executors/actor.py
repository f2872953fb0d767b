"""The actor of Ray that has a workplace."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import Any

from nbopt.search.executors.workplace import Workplace

_POLL_SECONDS = 5.0  # how long who collects waits for something to be said
_ALONE_SECONDS = 3600.0  # after so long without a study that collects, an actor with nothing to do ends


class Desk:
    """A workplace, with what it says kept until a study has it.

    Parameters
    ----------
    loads, dumps : callable
        Of Ray's cloudpickle.
    """

    def __init__(self, loads: Any, dumps: Any) -> None:
        self._loads, self._dumps = loads, dumps
        self._outbox: deque[tuple[int, bytes]] = deque()
        self._count, self._heard = 0, time.monotonic()
        self._said = threading.Condition()
        self._workplace = Workplace(self._say, loads, dumps)
        for work in (self._workplace.work, self._watch):
            threading.Thread(target=work, daemon=True).start()

    def _say(self, kind: str, number: int, content: Any) -> None:
        message = self._dumps((kind, number, content))
        with self._said:
            self._count += 1
            self._outbox.append((self._count, message))
            self._said.notify_all()

    def deliver(self, message: bytes) -> None:
        """Take a message of the study's."""
        self._workplace.deliver(*self._loads(message))

    def collect(self, seen: int) -> list[tuple[int, bytes]]:
        """Return what was said after message ``seen``; wait a moment for it. Forget what was said before."""
        self._heard = time.monotonic()
        with self._said:
            while self._outbox and self._outbox[0][0] <= seen:
                self._outbox.popleft()
            self._said.wait_for(lambda: self._outbox, _POLL_SECONDS)
            return [*self._outbox]

    def attach(self) -> tuple[int, dict[int, Any]]:
        """Belong to another study, which knows nothing; return this process, and the trials here with their values."""
        with self._said:
            self._outbox.clear()
        return os.getpid(), self._workplace.held()

    def _watch(self) -> None:
        while time.monotonic() - self._heard < _ALONE_SECONDS or not self._workplace.waits:
            time.sleep(_POLL_SECONDS)
        os._exit(0)


def make_actor(ray: Any) -> Any:
    """Return the class of actors; messages of one kind come one after the other."""
    came, asked = ray.method(concurrency_group="in"), ray.method(concurrency_group="out")

    class Actor:
        def __init__(self) -> None:
            self._desk = Desk(ray.cloudpickle.loads, ray.cloudpickle.dumps)

        def deliver(self, message: bytes) -> None:
            self._desk.deliver(message)

        def collect(self, seen: int) -> list[tuple[int, bytes]]:
            return self._desk.collect(seen)

        def attach(self) -> tuple[int, dict[int, Any]]:
            return self._desk.attach()

    for name, group in (("deliver", came), ("collect", asked), ("attach", came)):
        setattr(Actor, name, group(getattr(Actor, name)))
    return ray.remote(concurrency_groups={"in": 1, "out": 1})(Actor)
