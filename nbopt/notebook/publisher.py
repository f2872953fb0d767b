"""Tell the front end which runs, populations and studies are alive in this kernel, and take its pause, resume and stop.

The other end is the JupyterLab extension (``labextension/src/kernelRuns.ts``). Messages to it are
``{"runs": [...]}``, when something changed, and ``{"error": "..."}``. Messages from it are
``{"do": "refresh"}``, ``{"do": "seen"}`` and ``{"do": "pause" | "resume" | "stop", "run": id}``.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import comm
from comm.base_comm import BaseComm

from nbopt.errors import shorten
from nbopt.i18n import _
from nbopt.notebook.frontend.subshells import keep_frontend_route
from nbopt.notebook.listed import facts_of

if TYPE_CHECKING:
    from nbopt.run.session.operable import Driven
    from nbopt.run.session.steerable import Steerable

TARGET = "nbopt.runs"
SOURCE = "status bar"
"""Who asked, in a run's journal."""
TICK = 0.5
"""Seconds between two reports, at least."""
LINGER = 3.0
"""Seconds to go on looking after a wake: a command takes effect between two batches."""
UNSEEN = 60
"""Reports to send without a sign of a reader: the server keeps those that no page collects."""


class StatusPublisher:
    """Reports the live runs of this kernel to the front end.

    Parameters
    ----------
    live_runs : callable
        Returns the runs to report, in the order to show them. It is called from the publisher's thread.
    """

    def __init__(self, live_runs: Callable[[], Iterable[Driven]]) -> None:
        self._live_runs = live_runs
        self._changed = threading.Condition()  # guards all below; never held while a run is called
        self._comm: BaseComm | None = None
        self._publisher: threading.Thread | None = None
        self._sent: dict[str, Any] | None = None
        self._training = False
        self._woken = False
        self._awake_until = 0.0
        self._unseen = 0

    def ensure_open(self) -> None:
        """Open the comm, unless it is open, and report."""
        with self._changed:
            self._unseen = 0
            if self._comm is None:
                self._open()
        self.wake()

    def wake(self) -> None:
        """Look at the runs: something may have changed while none was training."""
        with self._changed:
            self._woken = True
            self._awake_until = time.monotonic() + LINGER
            self._changed.notify_all()

    def close(self) -> None:
        """Close the comm and end the publisher."""
        channel = self._comm
        if channel is not None:
            self._end(channel)
            channel.close()
        if self._publisher is not None and self._publisher is not threading.current_thread():
            self._publisher.join(timeout=1.0)

    def _open(self) -> None:
        # By the module's attribute: a kernel puts its own function there.
        channel = comm.create_comm(target_name=TARGET, data={"runs": []})
        keep_frontend_route(channel)
        channel.on_msg(lambda message: self._obey(channel, message))
        channel.on_close(lambda message: self._end(channel))
        self._comm, self._sent = channel, None
        self._publisher = threading.Thread(target=self._publish, args=(channel,), name="nbopt-beacon", daemon=True)
        self._publisher.start()

    def _end(self, channel: BaseComm) -> None:
        """Forget ``channel``, which is closed or about to be; its publisher ends by that."""
        with self._changed:
            if self._comm is channel:
                self._comm = None
                self._changed.notify_all()

    def _publish(self, channel: BaseComm) -> None:
        last = -math.inf
        while self._wait_until_due(channel, last):
            report = self._report()
            last = time.monotonic()
            with self._changed:
                self._training = any(run["state"] == "RUNNING" for run in report.get("runs", ()))
                if report == self._sent or self._unseen >= UNSEEN:
                    continue
                self._sent = report
                self._unseen += 1
            try:
                channel.send(report)
            except Exception:  # The kernel is going down: there is nobody left to tell.
                self._end(channel)

    def _wait_until_due(self, channel: BaseComm, last: float) -> bool:
        """Wait for the next moment to look at the runs; False when ``channel`` is closed."""

        def closed() -> bool:
            return self._comm is not channel

        def wanted() -> bool:
            watched = self._training and self._unseen < UNSEEN
            return closed() or watched or self._woken or time.monotonic() < self._awake_until

        with self._changed:
            self._changed.wait_for(wanted)
            self._changed.wait_for(closed, timeout=max(0.0, last + TICK - time.monotonic()))
            self._woken = False
            return not closed()

    def _report(self) -> dict[str, Any]:
        try:
            return {"runs": [_describe(run) for run in self._live_runs()]}
        except Exception as error:
            return {"error": _in_words(error)}

    def _obey(self, channel: BaseComm, message: Mapping[str, Any]) -> None:
        try:
            self._do(message["content"]["data"])
        except Exception as error:
            channel.send({"error": _in_words(error)})
        self.wake()

    def _do(self, command: object) -> None:
        with self._changed:
            self._unseen = 0
        match command:
            case {"do": "seen"}:
                pass
            case {"do": "refresh"}:
                with self._changed:
                    self._sent = None
            case {"do": "pause" | "resume" | "stop" as action, "run": str(run_id)}:
                run = next((run for run in self._live_runs() if run.id == run_id), None)
                if run is None:
                    raise LookupError(_("No live run has the id {run_id}.", run_id=shorten(run_id)))
                getattr(run, action)(wait=False, source=SOURCE)
            case _:
                raise ValueError(_("The beacon does not understand {command}.", command=shorten(command)))


def _describe(thing: Driven) -> dict[str, Any]:
    who = {"id": thing.id, "name": thing.name, "state": thing.state.name}
    facts = facts_of(thing)
    return who | (_describe_run(cast("Steerable", thing)) if facts is None else {"facts": facts})


def _describe_run(run: Steerable) -> dict[str, Any]:
    speed, loss = run.steps_per_second, run.history.last("val_loss")
    return {
        "epoch": int(run.epoch),
        "epochs": int(run.plan.epochs) if run.plan.epochs < math.inf else 0,
        "step": int(run.step_count),
        "steps_per_second": _finite(speed),
        "loss": _finite(run.history.last("loss") if loss is None else loss),
    }


def _finite(value: float | None) -> float | None:
    """Return what JSON can hold."""
    return float(value) if value is not None and math.isfinite(value) else None


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
