"""The live panel of a run: buttons, controls, curves. One panel per run; shown twice, it is two views of the same."""

from __future__ import annotations

import html
import weakref
from typing import Any

import ipywidgets as widgets
import numpy as np

from nbopt.errors import shorten
from nbopt.i18n import _
from nbopt.notebook.cells import CELLS
from nbopt.notebook.charts.gallery import Gallery
from nbopt.notebook.charts.view import Ghost
from nbopt.notebook.closing import close_all
from nbopt.notebook.frontend.bridge import Bridge, Companion
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.notebook.listed import listed
from nbopt.notebook.panel import messages, status
from nbopt.notebook.panel.arrows import Arrows
from nbopt.notebook.panel.aside import Attempts
from nbopt.notebook.panel.by_hand import ByHand
from nbopt.notebook.panel.column import Column
from nbopt.notebook.panel.compact import Compact
from nbopt.notebook.panel.drawers import Drawers
from nbopt.notebook.panel.family import Host, paint_family, release_family
from nbopt.notebook.panel.guard_banner import GuardBanner
from nbopt.notebook.panel.lr_sweep import sweep_drawer
from nbopt.notebook.panel.on_demand import Controls
from nbopt.notebook.panel.runs.overlays import Overlays
from nbopt.notebook.panel.runs.table import RunsView, runs_drawer
from nbopt.notebook.panel.search_around import search_drawer
from nbopt.notebook.panel.size.drawer import size_drawer
from nbopt.notebook.panel.strips import Strips
from nbopt.notebook.panel.takeaway.menu import take_away_drawer
from nbopt.notebook.panel.takeaway.picture import picture
from nbopt.notebook.panel.toolbar import FURTHEST, UNITS, Toolbar
from nbopt.notebook.panel.transport import Transport
from nbopt.notebook.panel.waiting import Waiting
from nbopt.notebook.publisher import StatusPublisher
from nbopt.notebook.static_view import StaticView
from nbopt.run.session.operable import Driven
from nbopt.run.session.steerable import Steerable
from nbopt.training.state import RunState
from nbopt.viz.curves import from_axis
from nbopt.viz.marks import Marks

_PIXELS = 1000  # that a chart is wide

_beacon = StatusPublisher(listed)
_panels: weakref.WeakKeyDictionary[Steerable, Panel] = weakref.WeakKeyDictionary()


def panel_of(run: Steerable) -> Panel:
    """Return the run's panel, made on first asking."""
    if run not in _panels:
        _panels[run] = Panel(run)
    return _panels[run]


def retire(run: Steerable) -> None:
    """Take the run's panel away for good, wherever it stands."""
    if run in _panels:
        panel = _panels[run]
        if panel.above is not None:
            panel.above.below.remove(run)
            panel.above.bridge.wake()
        panel.host = None
        panel.close()


def announce(run: Driven) -> None:
    """Tell JupyterLab's status bar of the run, now and whenever it changes."""
    if _beacon.wake not in run.watchers:
        run.watch(_beacon.wake)
    _beacon.ensure_open()


class Panel:
    """The widgets of one run.

    Attributes
    ----------
    widget : ipywidgets.Widget
        The root, of CSS class ``nbopt-panel``.
    family : ipywidgets.Widget
        The panel, and below it those of the runs branched off here: what a cell shows.
    controls : Controls
    toolbar : Toolbar
    still : Still
    compact : Compact or None
        What draws it small below another one.
    host : object
        What the panel is a part of, if it is: another panel, or the playground.
    above : Host or None
        The panel that it stands below.
    """

    def __init__(self, run: Steerable) -> None:
        self.run = run
        self.host: object = None
        self.above: Host | None = None
        self.compact: Compact | None = None
        self._marks = Marks(run.journal, run.hyperparams.label)
        self.attempts = Attempts(self._wake)
        self._kit = kit = WidgetFactory(self.attempts.refuse, later=True)
        self.transport = Transport(run, self.attempts.do, self._wake, kit)
        texts = [kit.make(widgets.HTML) for _part in range(5)]
        self._status, self._error, self._device, self._earlier, self._journal = texts
        tip = _("List the newest changes and events")
        self._unfold = kit.toggle("unfold", _("Journal"), self._wake, tip)
        self.by_hand = ByHand(run)
        self.controls = Controls(run, self._marks, self._ask, self._wake, kit)
        self.arrows = Arrows(run, self.attempts.do)
        self.controls.find_slope = self.arrows.find
        self.waiting = Waiting(run, kit)
        self.banner = GuardBanner(run, self.attempts.do, kit)
        self.column = Column(run, self.controls, self.by_hand, self.attempts.do, self._wake, kit)
        self.strips = Strips(run, self.controls, self.by_hand, self.attempts.do, self._wake, self._is_seen)
        self.overlays = Overlays(run, self._wake)
        drawers = {"runs": runs_drawer(run, self.overlays, self.transport.branches, retire, self._wake)}
        if "open" in run.abilities:  # it has a model and data
            drawers["rates"] = sweep_drawer(run, self._wake, kit)
            drawers["search"] = search_drawer(run, self._wake, kit)
            drawers["size"] = size_drawer(run, self._wake, self._is_seen)
        drawers["takeaway"] = take_away_drawer(run, self._draw, self._wake)
        self.drawers = Drawers(drawers, self._wake, kit)
        self.gallery = Gallery(run, self._marks, kit)
        self.charts = self.gallery.charts
        self.toolbar = Toolbar(self.charts, self.transport.past, self._wake, self._zoom, kit)
        self.still = StaticView(run, {chart.name: chart.title for chart in self.charts})
        companion = Companion(log=_("log"), **self.column.page())
        self.bridge = Bridge(
            run, self._paint, self._complain, self._growth, self._hear, companion, beside=self.still.keep_up
        )
        self.widget = self._layout()
        kit.guard(self.bridge.companion)
        self.family = kit.make(widgets.VBox, [self.widget], css=("nbopt-family",))
        self.bridge.start(kit.open)

    def close(self) -> None:
        """Take the panel away for good, unless it is a part of another: nothing keeps it any more, nor its run."""
        if self.host is not None:
            return
        _panels.pop(self.run, None)
        self.bridge.close()
        self.strips.close()
        self.overlays.close()
        self.drawers.close()
        release_family(self, [_panels[run] for run in self.below if run in _panels])
        rows = [control.widget for control in self.controls.made.values()]  # one may have no place yet
        close_all(self.family, *rows, *(part for chart in self.charts for part in chart.parts))

    @property
    def below(self) -> list[Steerable]:
        """The runs whose panels stand below this one."""
        return self.transport.branches

    def stand_below(self, host: Host) -> None:
        """Be drawn small, as a part of another panel."""
        announce(self.run)
        self.host = self.above = host
        self.compact = Compact(self.widget, self.drawers.bar, self._wake, self._kit)

    # -- layout --

    def _layout(self) -> Any:
        box = self._kit.box
        self._title = self._kit.make(widgets.HTML, status.title(self.run))
        header = box("header", self.transport.widget, self._status, self._title)
        lost = self._kit.make(widgets.HTML, status.lost_line(self.run))
        strip = box("strip", self._error, self.waiting.widget, self.banner.widget, self._device, lost)
        body = box(
            "body",
            self.column.widget,
            box("right", self.toolbar.widget, self.gallery.widget),
        )
        journal = box("journal", self._unfold, self._journal)
        footer = box("footer", self._earlier, self.drawers.bar, self.drawers.widget, journal)
        panel = box("panel", header, strip, body, footer, self.bridge.companion)
        panel.add_class(f"nbopt-run-{self.run.id}")  # for whoever looks for it in the page
        return panel

    # -- what the user does, on the kernel's threads --

    def _ask(self, name: str, value: Any) -> None:
        self.attempts.problem = ""
        self.by_hand.set(**{name: value})

    def _wake(self) -> None:
        self.bridge.wake()

    def _is_seen(self) -> bool:
        return self.bridge.is_seen

    def _hear(self, content: Any) -> None:
        match content:
            case _ if self.column.hear(content) or self.arrows.hear(content):
                pass
            case _ if self.strips.hear(content):
                self._wake()
            case {"zoom": zoom}:
                self._zoom(zoom)
            case {"pick": int(x) | float(x)} if x == x:
                at = np.array([float(min(max(x, -FURTHEST), FURTHEST))])
                step = float(from_axis(self.run.history, at, self.toolbar.view.axis)[0])
                self.transport.target.value = str(round(min(max(step, 0), self.run.step_count)))
            case {"log": bool(on), "chart": int(index)} if 0 <= index < len(self.charts) and self.charts[index].is_loss:
                self.charts[index].log = on
                self._wake()
            case {"pick": None}:
                self.transport.target.value = ""
            case _:
                self.attempts.refuse(_("The panel does not understand {message}.", message=shorten(content)))

    def _zoom(self, request: Any) -> None:
        """Take a zoom from the browser, or None to follow the tail again."""
        taken = self.toolbar.zoom(request)
        self.attempts.problem = "" if taken else _("The panel cannot zoom to {request}.", request=shorten(request))
        self._wake()

    # -- what the run says, on the bridge's thread --

    def _paint(self) -> None:
        run, view = self.run, self.toolbar.view  # the view may change meanwhile
        self.transport.paint()
        self._status.value = status.status_line(run)
        self._title.value = status.title(run)
        self._device.value = status.device_line(run)
        self._earlier.value = status.earlier_line(CELLS.earlier(run))
        self._error.value = messages.strip(self._messages())
        self.toolbar.tail.disabled = view.span is None
        self._marks.refresh()
        self.column.paint()
        self.controls.paint()
        self.gallery.draw(view, self.transport.step, self._ghosts())
        self._journal.value = status.journal_list(run.journal, run.hyperparams.label, self._unfold.value)
        companion = self.bridge.companion
        companion.strips = self.strips.paint()
        companion.undo = self.by_hand.undoable
        companion.unit = _(UNITS[view.axis])
        companion.whole = view.axis == "step"
        companion.ending = status.ending(run)
        companion.charts = [chart.as_sent() for chart in self.charts]
        self.drawers.paint()
        if self.compact is not None:
            self.compact.paint()
        paint_family(self, panel_of)
        if run.state is not RunState.RUNNING:
            self.still.refresh()

    def _draw(self) -> str:
        """Return the charts as they are looked at, as SVG."""
        return picture(self.run.name, self.run.history, self.charts, self.toolbar.view, self._ghosts())

    def _ghosts(self) -> list[Ghost]:
        """Return the runs drawn beside this one."""
        runs = self.drawers.made.get("runs")
        return self.overlays.ghosts(runs.rows if isinstance(runs, RunsView) else ())

    def _growth(self) -> float | None:
        """Return the seconds of training in one pixel of the x axis."""
        running = [run for run in (self.run, *self.overlays.running()) if run.state is RunState.RUNNING]
        return min(((run.history.last("_time") or 0.0) / _PIXELS for run in running), default=None)

    def _messages(self) -> list[messages.Message]:
        """Return what there is to say, the most urgent first."""
        run = self.run
        asked = messages.problem(self.attempts.problem)
        urgent = [self.waiting.paint(), asked, messages.error(run), self.banner.paint()]
        return [*urgent, *messages.cautions(run), messages.end(run)]

    def _complain(self, text: str) -> None:
        title = html.escape(_("The panel could not be drawn; training is not affected."))
        trace = f"<pre>{html.escape(text)}</pre>"
        self._error.value = messages.strip([messages.Message("nbopt-error", title, trace)])
