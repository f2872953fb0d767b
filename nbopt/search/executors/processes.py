"""The executor of local processes, each a worker of its own, started by loky: what a notebook defines works in them."""

from __future__ import annotations

import os
import queue
import signal
import threading
from multiprocessing.util import Finalize
from typing import Any

from nbopt.i18n import _
from nbopt.search.executors.crew import Crew, Worker
from nbopt.search.executors.parcels import pack
from nbopt.search.executors.workplace import Workplace
from nbopt.search.optional import need

_LAST_SECONDS = 5.0  # how long a process that is told to end may take
_END = b""


class Processes(Crew):
    """Trials in processes of this machine.

    They end with the study, with this process, however it ends, and when the study is no longer held.

    Parameters
    ----------
    slots : int
    """

    def __init__(self, slots: int) -> None:
        super().__init__(slots)
        self._pickler, self._context = need("cloudpickle"), need("loky.backend").get_context("loky")
        Finalize(self, _end_all, (self._workers,), exitpriority=10)

    def hire(self, study: str) -> Worker:
        """Start a process."""
        return _Process(self._context, self._pickler, self.inbox)

    def pack(self, subject: Any) -> bytes:
        """Return what trials are made of as it is sent to processes."""
        return pack(subject, self._pickler.dumps)


class _Process:
    """A worker in a process.

    Two threads of this process read and write, so that the study waits for neither.
    """

    def __init__(self, context: Any, pickler: Any, inbox: queue.SimpleQueue[Any]) -> None:
        self._pickler, self._inbox = pickler, inbox
        self._connection, other = context.Pipe()
        self._outbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._process = context.Process(target=_serve, args=(other,), name="nbopt worker")
        self._process.start()
        other.close()
        for work in (self._read, self._write):
            threading.Thread(target=work, name=f"nbopt worker {self._process.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return int(self._process.pid)

    def send(self, kind: str, content: Any) -> None:
        """Send a message."""
        self._outbox.put(self._pickler.dumps((kind, content)))

    def end(self) -> None:
        """End it."""
        self._outbox.put(_END)
        self._process.terminate()
        self._process.join(_LAST_SECONDS)

    def _write(self) -> None:
        try:
            while message := self._outbox.get():
                self._connection.send_bytes(message)
        except OSError:  # it is gone, which the other thread tells
            return

    def _read(self) -> None:
        try:
            while True:
                self._inbox.put((self, *self._pickler.loads(self._connection.recv_bytes())))
        except (EOFError, OSError):
            self._process.join(_LAST_SECONDS)
            self._outbox.put(_END)
            self._connection.close()
            self._inbox.put((self, "lost", 0, explain(self._process.exitcode)))


def _end_all(workers: list[_Process]) -> None:
    for worker in workers:
        worker.end()


def explain(code: int | None) -> str:
    """Return in words why a process ended."""
    if code == -signal.SIGKILL:
        return _("the process was killed; where nobody did, the system ran out of memory")
    if code is not None and code < 0:
        return _("the process ended by signal {number} ({name})", number=-code, name=signal.Signals(-code).name)
    return _("the process ended by itself, with code {code}", code=code)


def _serve(connection: Any) -> None:
    """Work, in the process that was started."""
    cloudpickle = need("cloudpickle")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the study
    lock = threading.Lock()

    def send(kind: str, number: int, content: Any) -> None:
        message = cloudpickle.dumps((kind, number, content))
        try:
            with lock:
                connection.send_bytes(message)
        except OSError:  # the study's process is gone
            os._exit(0)

    workplace = Workplace(send, cloudpickle.loads, cloudpickle.dumps)

    def listen() -> None:
        try:
            while True:
                workplace.deliver(*cloudpickle.loads(connection.recv_bytes()))
        except (EOFError, OSError):  # the study's process is gone
            os._exit(0)

    threading.Thread(target=listen, name="nbopt messages", daemon=True).start()
    workplace.work()
