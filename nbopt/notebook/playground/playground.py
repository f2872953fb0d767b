"""The playground: lessons, data, a network and its boundary, and below them the panel of the run."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as widgets
import torch

from nbopt.errors import unknown
from nbopt.i18n import _
from nbopt.notebook.charts.colours import CLASSES
from nbopt.notebook.frontend.bridge import Bridge
from nbopt.notebook.frontend.intake import guard
from nbopt.notebook.frontend.widgets import bundle
from nbopt.notebook.panel.panel import announce, panel_of, retire
from nbopt.notebook.playground.board import AHEAD, SECONDS, Board
from nbopt.notebook.playground.data import KINDS, REACH, make_points
from nbopt.notebook.playground.inputs import button, menu, slider
from nbopt.notebook.playground.lessons import BASE, LESSONS, WELCOME, Setup
from nbopt.notebook.playground.network import ACTIVATIONS, changed_weights, make_network
from nbopt.notebook.playground.page import box, legend, said, texts_of
from nbopt.notebook.playground.picture import beside, network, plane
from nbopt.notebook.playground.race import Race
from nbopt.notebook.static_view import StillPicture
from nbopt.run.run import Run
from nbopt.training.state import RunState
from nbopt.viz.boundary import Boundary

_NOISES = (0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
_SAMPLES = (20, 40, 80, 128, 200, 256, 400, 800)
_DEPTHS, _WIDTHS = range(5), range(1, 9)
_MIDDLE = 32767.5  # of a field: both classes as probable
_SPEED = 60.0  # steps a second, to watch the boundary move
_PANEL_SECONDS = 0.25  # between two frames of the charts, which leaves the page time for the board


class Playground:
    """Points in the plane, and a small network in training; the last expression of a cell shows it.

    From then on torch reckons on one thread in this process: with so small a network, and a browser on the same
    machine, its threads would wait for each other most of the time.

    Parameters
    ----------
    lesson : str, optional
        One of `nbopt.notebook.playground.lessons.LESSONS`.

    Attributes
    ----------
    run : Run
        The run on the present data with the present network.
    setup : Setup
    race : Race or None
        On the loss surface, while that is shown.
    """

    run: Run

    def __init__(self, lesson: str | None = None) -> None:
        torch.set_num_threads(1)
        self._lock = threading.RLock()
        self._writing = False
        self._problem = ""
        self._left: list[Run] = []
        self._bridge: Bridge | None = None
        self.race: Race | None = None
        self.setup = Setup()
        self.board = Board()
        self.board.tones, self.board.levels, self.board.reach = list(CLASSES), [_MIDDLE], [-REACH, REACH] * 2
        self._text, self._note, self._legend = widgets.HTML(), widgets.HTML(), widgets.HTML(legend())
        self.widget = self._layout()
        guard(self.widget, self._refuse)
        self._tell("")
        self._still = StillPicture(f"nbopt-playground-{id(self)}", self._moment, self._picture, self.__repr__)
        self._renew(self.setup, dict(BASE))
        if lesson is not None:
            self.choose(lesson)

    def _repr_mimebundle_(self, **_keys: Any) -> Any:
        self._still.display()
        return bundle(self.widget, repr(self))

    def __repr__(self) -> str:
        return f"<Playground: {self.run.name}>"

    # -- what a person or code does --

    def choose(self, lesson: str) -> None:
        """Set up a lesson, at rest.

        Raises
        ------
        InvalidHyperparam
            For a lesson there is not.
        """
        if lesson not in LESSONS:
            raise unknown(_("lesson"), lesson, LESSONS)
        chosen = LESSONS[lesson]
        with self._lock:
            self._tell(lesson)
            for name, item in self._lessons.items():
                item.button_style = "primary" if name == lesson else ""
            if chosen.setup is None:
                self._show_race()
            else:
                self._renew(chosen.setup, {**BASE, **chosen.hyperparams})

    def change(self, **changes: Any) -> None:
        """Make a new run, with other data or another network and the same hyperparameters.

        If the present one trains, the new one does too.

        Parameters
        ----------
        **changes
            Fields of `Setup`.
        """
        with self._lock:
            going = self.run.state is RunState.RUNNING
            run = self.run
            values = {
                name: value
                for name, value in run.hyperparams.items()
                if name not in run.inert and (name in run.given or value != run.hyperparams.default(name))
            }
            self._renew(self.setup._replace(**changes), values)
            if going:
                self.run.start(wait=False, source="panel")

    def close(self) -> None:
        """End it: the run stops, and the widgets keep their last state."""
        self._leave()
        self._panel.bridge.close()

    # -- behind it --

    def _renew(self, setup: Setup, hyperparams: dict[str, Any]) -> None:
        """Put a new run in the place of the present one."""
        points = make_points(setup.data, setup.samples, setup.noise, setup.seed)
        model = make_network(setup.depth, setup.width, setup.activation, setup.seed)
        if setup.depth == 0:
            hyperparams.pop("dropout", None)  # there is no layer for it
        run = Run(
            model,
            train=(points.x, points.y),
            val=(points.x_val, points.y_val),
            metrics=["accuracy"],
            seed=setup.seed,
            device="cpu",  # the fastest for so few numbers
            store=None,
            name=f"{_(KINDS[setup.data])}, {setup.depth} × {setup.width}",  # noqa: RUF001
            **hyperparams,
        )
        run.speed = _SPEED if self._bridge is None else self.run.speed
        self._leave()
        self.run, self.setup = run, setup
        self._boundary = Boundary(model, REACH, partial(changed_weights, run))
        self._points = points
        self._write_inputs()
        announce(run)
        self._panel = panel_of(run)
        self._panel.bridge.seconds = _PANEL_SECONDS
        self._panel.host = self
        self._place.children = [self._panel.family]
        self._stage.children = [self._main, self._place]
        self._bridge = Bridge(
            run,
            self._paint,
            self._complain,
            lambda: 0.0 if run.state is RunState.RUNNING else None,
            self._hear,
            self.board,
            SECONDS,
            AHEAD,
        )
        self._bridge.start()

    def _leave(self) -> None:
        """End what is shown now."""
        if self.race is not None:
            self.race.close()
            self.race = None
        if self._bridge is None:
            return
        self._bridge.close()
        self.run.stop(wait=False, source="panel")
        self._left.append(self.run)
        # The page may still be building the panel before: one that is gone then would be an error there.
        while len(self._left) > 2:
            retire(self._left.pop(0))

    def _show_race(self) -> None:
        self.run.pause(wait=False, source="panel")
        if self.race is None:
            self.race = Race()
        self._stage.children = [self.race.widget]

    def _try(self, act: Callable[[Any], None], value: Any = None) -> None:
        """Act for an input, unless it is written from here; an exception would be seen by nobody."""
        if self._writing:
            return
        self._problem = ""
        try:
            act(value)
        except Exception as error:
            self._problem = str(error)
        self._wake()

    def _refuse(self, reason: str) -> None:
        self._problem = reason
        self._wake()

    def _wake(self) -> None:
        if self._bridge is not None:
            self._bridge.wake()

    def _hear(self, _content: Any) -> None:
        self._refuse(_("The board only answers frames."))

    def _complain(self, text: str) -> None:
        self._note.value = f'<pre role="alert">{html.escape(text)}</pre>'

    # -- what it shows --

    def _tell(self, lesson: str) -> None:
        """Show the text of a lesson, or the welcome."""
        texts = [("", _(WELCOME)), *((_(each.title), _(each.text)) for each in LESSONS.values())]
        self._text.value = said(["", *LESSONS].index(lesson), texts)

    def _layout(self) -> Any:
        def on(field: str) -> Callable[[Any], None]:
            return partial(self._try, lambda value: self.change(**{field: value}))

        setup = self.setup
        self._inputs = {
            "data": menu(_("Data"), {name: _(label) for name, label in KINDS.items()}, setup.data, on("data"), "data"),
            "noise": slider(_("Noise"), _NOISES, setup.noise, on("noise"), "noise"),
            "samples": slider(_("Points"), _SAMPLES, setup.samples, on("samples"), "samples"),
            "depth": slider(_("Layers"), _DEPTHS, setup.depth, on("depth"), "depth"),
            "width": slider(_("Units"), _WIDTHS, setup.width, on("width"), "width"),
            "activation": menu(
                _("Activation"),
                {name: _(label) for name, (label, _layer) in ACTIVATIONS.items()},
                setup.activation,
                on("activation"),
                "activation",
            ),
        }
        anew = button(
            _("New data"),
            "refresh",
            partial(self._try, lambda _none: self.change(seed=self.setup.seed + 1)),
            "anew",
            _("Draw new points and new initial weights"),
        )
        self._lessons = {
            name: button(_(lesson.title), "", partial(self._try, self.choose, name), name)
            for name, lesson in LESSONS.items()
        }
        lessons = box("play-lessons", *self._lessons.values())
        inputs = box("inputs", *self._inputs.values(), anew, self._legend, self._note)
        self._main = box("play-main", inputs, self.board)
        self._place, self._stage = box("play-place"), box("play-stage", self._main)
        self._text.add_class("nbopt-play-text")
        return box("playground", self._text, lessons, self._stage)

    def _write_inputs(self) -> None:
        self._writing = True
        try:
            for name, item in self._inputs.items():
                value = getattr(self.setup, name)
                if item.value != value:
                    item.value = value
        finally:
            self._writing = False

    def _paint(self) -> None:
        board, run = self.board, self.run
        board.show_points(self._points)
        board.show_network(self._boundary.sketch())
        self._note.value = f'<div role="alert">{html.escape(self._problem)}</div>' if self._problem else ""
        if run.state is not RunState.RUNNING:
            board.texts = texts_of(self.setup, run)
            self._still.refresh()

    def _moment(self) -> tuple[Any, ...]:
        race = self.race.moment() if self.race is not None else ()
        return self.run.id, self.run.state, self.run.step_count, *race

    def _picture(self) -> str:
        if self.race is not None:
            return self.race.picture()
        texts, sketch = texts_of(self.setup, self.run), self._boundary.sketch()
        board = beside(plane(sketch, self._points, texts["field"]), network(sketch, texts["network"]))
        return board + self._panel.still.draw()  # which makes no panel where it was taken away
