"""The bridge between engine and notebook: the only writer of output widgets.

One thread per panel, and one for the playground's board. While the run trains it paints at a capped rate, less often
where the browser takes long to draw or where the curves have not grown by a pixel yet, and never before the browser
says it has drawn. News of the run, such as a change that acts now, waits for the browser alone. At rest it sleeps until
there is news, then paints once, whoever looks, so that a saved notebook holds the last picture.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import anywidget
import traitlets

from nbopt.notebook.frontend.scripts import joined, styles
from nbopt.notebook.frontend.subshells import keep_frontend_route
from nbopt.training.prepare import load_ahead

FRAME_SECONDS = 0.1
_SHARE = 1 / 3  # of the browser's time, for drawing: the rest is for who trains on the same cores, and for the user
_LONGEST = 1.0  # seconds between two frames, however slow the browser
_BESIDE_SECONDS = 5.0  # between two times that whatever else is to keep up with a run is called


class FrontEnd(anywidget.AnyWidget):
    """The front end's half of a bridge: answers each frame once it has been drawn, by a message ``{frame: number}``."""

    frame = traitlets.Int(0).tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        keep_frontend_route(self)  # heard while a cell runs


class Companion(FrontEnd):
    """A panel's half: sends zooms, picks, scales and groups opened, too (companion.js)."""

    _esm = joined(Path(__file__).parent / "companion.js")
    _css = styles(Path(__file__).parent / "panel.css", Path(__file__).parent / "strips.css")
    charts: Any = traitlets.List().tag(sync=True)
    groups = traitlets.Dict().tag(sync=True)
    labels = traitlets.Dict().tag(sync=True)
    search = traitlets.Unicode().tag(sync=True)
    log = traitlets.Unicode().tag(sync=True)
    words = traitlets.Dict().tag(sync=True)
    says = traitlets.Dict().tag(sync=True)
    strips = traitlets.Dict().tag(sync=True)
    undo = traitlets.Unicode().tag(sync=True)
    unit = traitlets.Unicode().tag(sync=True)
    whole = traitlets.Bool(True).tag(sync=True)
    ending: Any = traitlets.Dict({"ended": False, "title": "", "text": ""}).tag(sync=True)


class Watched(Protocol):
    """What a bridge shows: a run, or several of them."""

    @property
    def name(self) -> str:
        """What lists and panels call it."""

    def watch(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` from now on whenever there is news."""

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Stop calling ``wake``."""


class Bridge:
    """Paints a run's panel, from `start` on.

    Parameters
    ----------
    run : Watched
    paint : callable
        Brings all widgets up to date; called by the bridge only, on one thread at a time.
    complain : callable
        Shows the text of an exception that painting raised.
    growth : callable
        Returns the seconds in which what is shown grows by as much as can be seen; None where it does not grow by
        itself.
    on_message : callable
        Takes whatever else the browser sends: a dict with a zoom or a pick, if it is sane.
    companion : FrontEnd, optional
        The widget that answers; one of a panel by default.
    seconds : float, optional
        The least time between two frames; `FRAME_SECONDS` by default.
    ahead : int
        How many frames may be under way when another is sent; with any, slow drawing does not slow them down.
    beside : callable, optional
        Called every few seconds while what is shown grows, whoever looks.

    Attributes
    ----------
    seconds : float
        The least time between two frames, on a browser that draws quickly.
    """

    def __init__(
        self,
        run: Watched,
        paint: Callable[[], None],
        complain: Callable[[str], None],
        growth: Callable[[], float | None],
        on_message: Callable[[Any], None],
        companion: Any = None,
        seconds: float | None = None,
        ahead: int = 0,
        beside: Callable[[], None] = lambda: None,
    ) -> None:
        self.companion = companion or Companion()
        self.seconds = FRAME_SECONDS if seconds is None else seconds
        self.companion.on_msg(self._hear)
        self._ahead = ahead
        self._beside = beside
        self._run = run
        self._paint = paint
        self._complain = complain
        self._growth = growth
        self._on_message = on_message
        self._stir = threading.Event()  # there may be something to do
        self._news = False  # not painted yet
        self._answered = -1
        self._sent_at = 0.0
        self._timed = False  # whether the frame under way went to somebody who saw the last one
        self._drawing = 0.0  # seconds that a frame took of late, from sending to the browser's answer
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"nbopt panel {run.name}", daemon=True)

    def start(self, drawn: Callable[[], None] = lambda: None) -> None:
        """Paint once here, so that the page gets a whole picture, and from now on whenever there is news.

        ``drawn`` is called in between.
        """
        self._run.watch(self.wake)
        self._show()
        drawn()
        self._thread.start()

    @property
    def is_answered(self) -> bool:
        """Whether a page has drawn a frame so far."""
        return self._answered >= 0

    def wake(self) -> None:
        """Say that there is something to paint."""
        self._news = True
        self._stir.set()

    def close(self) -> None:
        """Stop painting; the widgets keep their last state."""
        if self._closed:
            return
        self._closed = True
        self.companion.on_msg(self._hear, remove=True)
        self._run.unwatch(self.wake)
        self._stir.set()
        self._thread.join(timeout=5)

    def _hear(self, _widget: Any, content: Any, _buffers: Any) -> None:
        match content:
            case {"frame": int(frame)} if frame <= self.companion.frame:
                if self._answered < 0:
                    # Not a daemon: torch aborts in a thread that is left when the process ends.
                    threading.Thread(target=load_ahead, name="nbopt loads").start()
                if self._timed and frame == self.companion.frame > self._answered:
                    took = time.monotonic() - self._sent_at
                    self._drawing = took if not self._drawing else 0.7 * self._drawing + 0.3 * took
                self._answered = max(self._answered, frame)
                self._stir.set()
            case _:
                self._on_message(content)

    def _work(self) -> None:
        while not self._closed:
            due, grows = self._until_due(), self._growth() is not None
            self._stir.wait(min(_BESIDE_SECONDS, _BESIDE_SECONDS if due is None else due) if grows else due)
            self._stir.clear()
            if grows and not self._closed:
                self._beside()
            if not self._news and self._until_due() != 0:
                continue
            time.sleep(max(0.0, self._sent_at + self._pause() - time.monotonic()))
            # At rest the picture is sent whoever looks; while training, only to those who saw the last one.
            if not self._closed and (self._growth() is None or self.is_seen):
                self._show()

    def _show(self) -> None:
        self._sent_at, self._timed, self._news = time.monotonic(), self.is_seen, False
        with self.companion.hold_sync():  # one message
            try:
                self._paint()
            except Exception:  # nobody would see it, and the next frame may go well
                self._complain(traceback.format_exc())
            self.companion.frame += 1

    def _pause(self) -> float:
        """Return the least time from one frame to the next."""
        if self._ahead or self._growth() is None:
            return self.seconds
        return max(self.seconds, min(self._drawing / _SHARE, _LONGEST))

    def _until_due(self) -> float | None:
        """Return the seconds until a frame is due without any news; None while nothing grows or nobody watches."""
        growth = self._growth()
        if growth is None or not self.is_seen:
            return None
        return max(0.0, self._sent_at + max(self._pause(), min(growth, _LONGEST)) - time.monotonic())

    @property
    def is_seen(self) -> bool:
        """Whether a page has drawn the last frame."""
        return self._answered >= self.companion.frame - self._ahead
