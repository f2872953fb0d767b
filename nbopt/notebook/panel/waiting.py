"""Work that somebody waits for, in the panel's strip: how far it is, and a button that stops it."""

from __future__ import annotations

import html

from nbopt.i18n import _
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.notebook.panel.messages import Message
from nbopt.run.session.steerable import Steerable
from nbopt.run.session.work import Work


class Waiting:
    """Shows the work of a run; the button is made when it is first needed.

    Parameters
    ----------
    run : Steerable
    kit : WidgetFactory

    Attributes
    ----------
    widget : ipywidgets.Box
        The button.
    """

    def __init__(self, run: Steerable, kit: WidgetFactory) -> None:
        self._run = run
        self._kit = kit
        self.widget = kit.box("guard")

    def paint(self) -> Message:
        """Return how far it is, and show the button if there is something to stop; called by the bridge alone."""
        work: Work | None = self._run.work
        if work is None or not work.is_shown:
            self.widget.children = []
            return Message("nbopt-note", "")
        if not self.widget.children:
            tip = _("Stop after the current step; the run stays paused there")
            self.widget.children = [self._kit.button("halt", _("Stop here"), self._stop, tip)]
        bar = f'<div class="nbopt-progress"><div style="width:{100 * work.share:.1f}%"></div></div>'
        return Message("nbopt-note", html.escape(work.words) + bar)

    def _stop(self) -> None:
        if (work := self._run.work) is not None:  # without a lock: whoever works has it
            work.stop()
