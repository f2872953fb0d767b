"""A sweep of learning rates from the panel: begun when its drawer is opened, and its suggestion taken by one button."""

from __future__ import annotations

import html
from collections.abc import Callable

import ipywidgets as widgets

from nbopt.formatting import number
from nbopt.i18n import _
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.notebook.panel.aside import Aside, Attempts
from nbopt.notebook.panel.drawers import Drawer
from nbopt.notebook.panel.lr_finder import FinderChart
from nbopt.run.beside import find_rate
from nbopt.run.lr_finder import Sweep
from nbopt.run.session.steerable import Steerable
from nbopt.training.state import RunState

_SOURCE = "finder"


class SweepDrawer:
    """Tries rates on a copy of a run, in a thread, and shows what came of it.

    Parameters
    ----------
    run : Steerable
    wake : callable
        Tells the bridge that there is something to show.
    kit : WidgetFactory

    Attributes
    ----------
    widget : ipywidgets.Box
    use, again : ipywidgets.Button
        Take the suggestion; try once more, from where the run is then.
    """

    def __init__(self, run: Steerable, wake: Callable[[], None], kit: WidgetFactory) -> None:
        self._run = run
        self._attempts = attempts = Attempts(wake)
        self._aside = Aside(f"nbopt tries rates of {run.name}", attempts.do, wake)
        self._kit = kit
        self._sweep: Sweep | None = None
        self._chart: FinderChart | None = None
        self._was_paused = False
        self._note = kit.make(widgets.HTML)
        tip = _("Set the run's learning rate to the suggestion")
        self.use = kit.button("use-rate", _("Use it"), self._take, tip, disabled=True)
        tip = _("Try rates once more, from where the run is now")
        self.again = kit.button("try-again", _("Try again"), self._begin, tip, disabled=True)
        self._head = kit.box("sweep-head", self._note, self.use, self.again)
        self.widget = kit.box("sweep", self._head)
        self._begin()

    def close(self) -> None:
        """End the chart's own bridge."""
        if self._chart is not None:
            self._chart.close()

    @property
    def _rate(self) -> float | None:
        """The suggestion, as it is set: of two digits."""
        found = None if self._sweep is None else self._sweep.suggestion
        return None if found is None else float(f"{found:.2g}")

    # -- what the user does, on the kernel's threads

    def _begin(self) -> None:
        self._aside.do(self._try)

    def _try(self) -> None:
        self._was_paused = self._run.state is RunState.RUNNING
        self._sweep = find_rate(self._run)

    def _take(self) -> None:
        self._attempts.do(lambda: self._run.set(source=_SOURCE, lr=self._rate))

    # -- what is shown, on the bridge's thread

    def paint(self) -> None:
        """Show the newest sweep; called by the bridge alone."""
        if self._sweep is not None and (self._chart is None or self._chart.sweep is not self._sweep):
            before, self._chart = self._chart, FinderChart(self._sweep)
            self._kit.guard(self._chart.widget)
            self.widget.children = [self._head, self._chart.widget]
            if before is not None:
                before.close()
        kind = "problem" if self._attempts.problem else "name"
        self._note.value = f'<span class="nbopt-{kind}">{html.escape(self._say())}</span>'
        self.use.disabled = self._aside.is_busy or self._rate in (None, self._run.hyperparams["lr"])
        self.again.disabled = self._aside.is_busy

    def _say(self) -> str:
        if self._attempts.problem:
            return self._attempts.problem
        if self._aside.is_busy:
            return _("Trying learning rates on a copy of the run …")
        rest = _(" The run was paused for it.") if self._was_paused and self._run.state is RunState.PAUSED else ""
        if self._rate is None:
            return _("The loss fell at none of the rates.") + rest
        return _("Suggested learning rate: {rate}.", rate=number(self._rate)) + rest


def sweep_drawer(run: Steerable, wake: Callable[[], None], kit: WidgetFactory) -> Drawer:
    """Return the drawer of a panel that tries learning rates; for the parameters see `SweepDrawer`."""
    tip = _("Try rising learning rates on a copy of this run, which stays as it is")
    return Drawer(_("Find learning rate"), tip, lambda: SweepDrawer(run, wake, kit))
