"""What a trial in another process asks its study: whether to go on, and which values there are to be."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple


class Failure(NamedTuple):
    """The answer is an exception."""

    error: Exception


class Method(NamedTuple):
    """The answer is something that can be called."""


class Asked:
    """Stands, in a worker, for the trial of Optuna's that the study holds; and asks the study.

    Parameters
    ----------
    number : int
    send : callable
        ``send(kind, number, content)``.
    answers : queue
    """

    def __init__(self, number: int, send: Callable[[str, int, Any], None], answers: queue.SimpleQueue[Any]) -> None:
        self._number, self._send, self._answers = number, send, answers
        self._lock, self._state = threading.Lock(), threading.Lock()
        self._said: list[Any] = []
        self._waiting: Any = None

    def ask(self, what: str, *content: Any) -> Any:
        """Return the study's answer; wait for it as long as it takes.

        Raises
        ------
        Exception
            Whatever the study raised.
        """
        with self._lock:
            with self._state:
                self._waiting = what, content
                self._send("asked", self._number, self._waiting)
            answer = self._answers.get()
            with self._state:
                self._said.append(self._waiting)
                self._waiting = None
        if isinstance(answer, Failure):
            raise answer.error
        return answer

    @property
    def waits(self) -> bool:
        """Whether an answer is waited for."""
        return self._waiting is not None

    @property
    def has_suggested(self) -> bool:
        """Whether anything but a note was asked: what another study would have answered may be something else."""
        with self._state:
            asked = [*self._said, *([] if self._waiting is None else [self._waiting])]
        return any(what != "note" for what, _content in asked)

    def tell_again(self) -> None:
        """Tell another study what was asked so far, and ask again what has had no answer."""
        with self._state:
            self._send("said", self._number, [*self._said])
            if self._waiting is not None:
                self._send("asked", self._number, self._waiting)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        answer = self.ask("look", name)
        if isinstance(answer, Method):
            return lambda *given, **named: self.ask("call", name, given, named)
        return answer


def answer(job: Any, what: str, content: tuple[Any, ...]) -> Any:
    """Return what the study answers to what a trial asked."""
    try:
        if what == "note":
            return job.note(job.number, *content)
        name, *given = content
        if name.startswith("_"):
            raise AttributeError(name)
        found = getattr(job.asked, name)
        if what == "look":
            return Method() if callable(found) else found
        return found(*given[0], **given[1])
    except Exception as error:  # as Optuna's trial raises it where it is
        return Failure(error)
