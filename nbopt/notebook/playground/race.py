"""The race: several optimizers on one loss surface, step by step."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from nbopt.errors import unknown
from nbopt.formatting import brief, count, number
from nbopt.i18n import _
from nbopt.notebook.charts.colours import DEPTH, RACERS
from nbopt.notebook.frontend.bridge import Bridge
from nbopt.notebook.frontend.intake import guard
from nbopt.notebook.frontend.widgets import bundle
from nbopt.notebook.playground.board import AHEAD, SECONDS, Board
from nbopt.notebook.playground.inputs import button, menu, slider
from nbopt.notebook.playground.picture import beside, ways
from nbopt.notebook.playground.racer import ENTRANTS, Racer
from nbopt.notebook.static_view import StillPicture
from nbopt.viz.surfaces import SIDE, SURFACES, relief

_FACTORS = (0.1, 0.2, 0.5, 1, 2, 3, 5, 10)
_SPEEDS = (5, 10, 30, 60, 120)  # steps a second
_LONGEST = 3000
_LEVELS = list(range(9000, 65536, 5000))


class Race:
    """Optimizers on a loss surface; the last expression of a cell shows it.

    Parameters
    ----------
    surface : str
        One of `nbopt.viz.surfaces.SURFACES`.

    Attributes
    ----------
    racers : list of Racer
    buttons, inputs : dict of str to ipywidgets.Widget
    """

    def __init__(self, surface: str = "bowl") -> None:
        if surface not in SURFACES:
            raise unknown(_("surface"), surface, SURFACES)
        self.name = "race"
        self._surface = surface
        self._factor: float = 1
        self._speed = 30
        self._problem = ""
        self._lock = threading.RLock()
        self._halt = threading.Event()
        self._halt.set()
        self._watchers: list[Callable[[], None]] = []
        self.board = Board()
        self.racers: list[Racer] = []
        self._legend, self._error = widgets.HTML(), widgets.HTML()
        self.widget = self._layout()
        self.restart()
        guard(self.widget, self._refuse)
        self._bridge = Bridge(self, self._paint, self._complain, self._growth, self._hear, self.board, SECONDS, AHEAD)
        self._still = StillPicture(f"nbopt-race-{id(self)}", self.moment, self.picture, self.__repr__)
        self._bridge.start()

    def _repr_mimebundle_(self, **_keys: Any) -> Any:
        self._still.display()
        return bundle(self.widget, repr(self))

    def __repr__(self) -> str:
        places = ", ".join(
            f"{_(entrant.label)} {brief(loss)}" for entrant, loss in zip(ENTRANTS, self.losses, strict=True)
        )
        return f"<Race on {self._surface!r}: {places}>"

    # -- what a person or code does --

    @property
    def is_running(self) -> bool:
        """Whether it steps by itself."""
        return not self._halt.is_set()

    @property
    def losses(self) -> list[float]:
        """How high each racer is."""
        return [racer.loss for racer in self.racers]

    def start(self) -> None:
        """Let it step by itself."""
        with self._lock:
            if not self.is_running:
                self._halt = threading.Event()
                threading.Thread(target=self._work, args=(self._halt,), name="nbopt race", daemon=True).start()
        self._tell()

    def pause(self) -> None:
        """Let it rest."""
        self._halt.set()
        self._tell()

    def step(self, n: int = 1) -> None:
        """Do ``n`` steps with each of them."""
        with self._lock:
            for _step in range(n):
                for racer in self.racers:
                    racer.step()
        self._tell()

    def restart(self) -> None:
        """Put all of them back to the start."""
        self.pause()
        with self._lock:
            surface = SURFACES[self._surface]
            self.racers = [Racer(entrant, surface, self._factor * entrant.lr[self._surface]) for entrant in ENTRANTS]
        self._tell()

    def choose(self, surface: str) -> None:
        """Race on another surface."""
        if surface not in SURFACES:
            raise unknown(_("surface"), surface, SURFACES)
        self._surface = surface
        self.restart()
        self.inputs["surface"].value = surface

    def scale(self, factor: float) -> None:
        """Make every learning rate ``factor`` times what it is by default, from the next step on."""
        with self._lock:
            self._factor = factor
            for entrant, racer in zip(ENTRANTS, self.racers, strict=True):
                racer.run.set(lr=factor * entrant.lr[self._surface], source="panel")
        self._tell()

    def close(self) -> None:
        """End it; the last picture stays."""
        self.pause()
        self._bridge.close()

    def _work(self, halt: threading.Event) -> None:
        while not halt.wait(1 / self._speed):
            self.step()
            done = all(racer.lost or racer.arrived for racer in self.racers)
            if done or max(racer.run.step_count for racer in self.racers) >= _LONGEST:
                halt.set()
        self._tell()

    # -- what the bridge asks for --

    def watch(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` from now on whenever there is news."""
        self._watchers.append(wake)

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Stop calling ``wake``."""
        self._watchers.remove(wake)

    def _growth(self) -> float | None:
        return 0.0 if self.is_running else None

    def _tell(self) -> None:
        for wake in list(self._watchers):
            wake()

    def _refuse(self, reason: str) -> None:
        self._problem = reason
        self._tell()

    def _hear(self, _content: Any) -> None:
        self._refuse(_("The board only answers frames."))

    def _complain(self, text: str) -> None:
        self._error.value = f'<pre role="alert">{html.escape(text)}</pre>'

    # -- what it shows --

    def _layout(self) -> Any:
        self.buttons = {
            "start": button(_("Start"), "play", self.start, "race-start"),
            "pause": button(_("Pause"), "pause", self.pause, "race-pause"),
            "step": button(_("Step"), "step-forward", self.step, "race-step"),
            "restart": button(_("Restart"), "fast-backward", self.restart, "race-restart"),
        }

        def speed_up(speed: int) -> None:
            self._speed = speed

        surfaces = {name: _(surface.label) for name, surface in SURFACES.items()}
        self.inputs = {
            "surface": menu(_("Surface"), surfaces, self._surface, self.choose, "surface"),
            "factor": slider(_("Rates ×"), _FACTORS, self._factor, self.scale, "factor"),  # noqa: RUF001
            "speed": slider(_("Steps/s"), _SPEEDS, self._speed, speed_up, "speed"),
        }
        buttons = widgets.Box(list(self.buttons.values()))
        buttons.add_class("nbopt-play-buttons")
        inputs = widgets.VBox([buttons, *self.inputs.values(), self._legend, self._error])
        inputs.add_class("nbopt-inputs")
        root = widgets.Box([inputs, self.board])
        for name in ("nbopt-playground", "nbopt-race"):
            root.add_class(name)
        return root

    def _paint(self) -> None:
        board, surface = self.board, SURFACES[self._surface]
        with self._lock:
            racers = list(self.racers)
            ways = [racer.way for racer in racers]
        if board.reach != list(surface.reach) or not board.field:
            board.reach, board.target = list(surface.reach), list(surface.lowest)
            board.side, board.field, board.levels = SIDE, relief(surface).tobytes(), _LEVELS
            board.tones, board.hues = [DEPTH], list(RACERS)
            board.texts = {"field": _("The paths of four optimizers on: {surface}", surface=_(surface.label))}
        board.show_paths(ways)
        self._legend.value = self._table(racers)
        self._error.value = f'<div role="alert">{html.escape(self._problem)}</div>' if self._problem else ""
        self.buttons["start"].disabled = self.is_running
        self.buttons["pause"].disabled = not self.is_running
        if not self.is_running:
            self._still.refresh()

    def moment(self) -> tuple[Any, ...]:
        """Return what a picture of it depends on."""
        return self._surface, self._factor, [racer.run.step_count for racer in self.racers]

    def picture(self) -> str:
        """Return a picture of it as HTML that needs no script."""
        text = _("The paths of four optimizers on: {surface}", surface=_(SURFACES[self._surface].label))
        places = [racer.way for racer in self.racers]
        return beside(ways(SURFACES[self._surface], places, text), f"<div>{self._table(self.racers)}</div>")

    def _table(self, racers: list[Racer]) -> str:
        head = "<td></td>" + "".join(f"<th>{html.escape(word)}</th>" for word in (_("rate"), _("loss")))
        rows = []
        for entrant, colour, racer in zip(ENTRANTS, RACERS, racers, strict=True):
            state = _("lost") if racer.lost else brief(racer.loss)
            rate = number(racer.run.hyperparams["lr"])
            mark = f'<span class="nbopt-race-dot" style="color:{colour}" aria-hidden="true">●</span>'
            key = f"{mark} {html.escape(_(entrant.label))}"
            rows.append(f"<tr><td>{key}</td><td>{rate}</td><td>{html.escape(state)}</td></tr>")
        steps = html.escape(_("step {step}", step=count(max(racer.run.step_count for racer in racers))))
        return f'<table class="nbopt-race-table"><tr>{head}</tr>{"".join(rows)}</table><div>{steps}</div>'
