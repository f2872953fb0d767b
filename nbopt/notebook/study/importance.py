"""How much each hyperparameter matters: found out while somebody looks, in slices beside the search."""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from nbopt.i18n import _
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.notebook.panel.drawers import Drawer
from nbopt.search.results.importance import find_slowly
from nbopt.search.showing import Shown
from nbopt.training.state import RunState
from nbopt.viz.trials import label_of

_MORE = 1.1  # times as many trials as the last time, before it is found out anew
_REST = 9.0  # times as long as a slice takes this rests after it
_ASKED_SECONDS = 2.0  # without being painted for so long, nobody looks any more


class ImportanceView:
    """Bars of all dimensions.

    Parameters
    ----------
    study : Shown
    wake : callable
        Tells the bridge that there is something to show.
    kit : WidgetFactory

    Attributes
    ----------
    widget : ipywidgets.Box
    evaluator, objective : ipywidgets.Dropdown
    """

    def __init__(self, study: Shown, wake: Callable[[], None], kit: WidgetFactory) -> None:
        self._study, self._wake = study, wake
        self._bars = kit.make(widgets.HTML)
        judges = [
            (_("PED-ANOVA: what the best have in common"), "ped_anova"),
            (_("fANOVA: share of variance"), "fanova"),
        ]
        self.evaluator = kit.make(widgets.Dropdown, options=judges, description=_("By"))
        names = [(label_of(each), place) for place, each in enumerate(study.objectives)]
        self.objective = kit.make(widgets.Dropdown, options=names, description=_("Of"))
        for control in (self.evaluator, self.objective):
            control.observe(lambda _change: wake(), "value")
        self.widget = kit.box("importance", self.evaluator, self.objective, self._bars)
        self._shares: dict[str, float] = {}
        self._known: tuple[Any, ...] = ()  # what the shares are of
        self._thread: threading.Thread | None = None
        self._closed = False
        self._painted_at = 0.0
        self._problem = ""

    def paint(self) -> None:
        """Show what is known, and have it found out anew where that is due; called by the bridge alone."""
        self._painted_at = time.monotonic()
        wanted = (self.evaluator.value, self.objective.value, self._study.step_count)
        if wanted[:2] != self._known[:2]:
            self._shares = {}
        is_due = wanted[:2] != self._known[:2] or wanted[2] > _MORE * self._known[2] or self._is_over(wanted)
        if is_due and self._thread is None:
            self._known = wanted
            self._thread = threading.Thread(target=self._find, args=wanted[:2], name="nbopt importance", daemon=True)
            self._thread.start()
        self._bars.value = self._draw()

    def close(self) -> None:
        """Have nothing found out any more."""
        self._closed = True

    def _is_over(self, wanted: tuple[Any, ...]) -> bool:
        """Whether the study has ended with trials that are not judged yet."""
        return self._study.state.is_ended and wanted != self._known

    def _find(self, evaluator: str, objective: int) -> None:
        try:
            began, self._problem = time.thread_time(), ""
            for shares in find_slowly(self._study, objective, evaluator):
                if self._closed or (evaluator, objective) != (self.evaluator.value, self.objective.value):
                    return
                self._shares = shares
                self._wake()
                if self._study.state is not RunState.RUNNING:
                    continue
                if time.monotonic() - self._painted_at > _ASKED_SECONDS:
                    self._known = ()
                    return
                time.sleep(_REST * (time.thread_time() - began))
                began = time.thread_time()
        except Exception as error:  # nobody would see it
            self._problem = str(error)
        finally:
            self._thread = None
            self._wake()

    def _draw(self) -> str:
        if self._problem:
            return f'<div class="nbopt-problem">{html.escape(self._problem)}</div>'
        if not self._shares:
            told = (
                _("Finding out …")
                if self._thread is not None
                else _("Too few trials are complete to tell, or all are alike.")
            )
            return f'<div class="nbopt-soft">{html.escape(told)}</div>'
        space = self._study.space
        rows = "".join(
            f"<tr><th>{html.escape(space[name].spec.label or name if name in space else name)}</th>"
            f'<td><i style="width:{max(0.5, 100 * share):.1f}%"></i></td><td>{100 * share:.0f} %</td></tr>'
            for name, share in self._shares.items()
        )
        return f'<table class="nbopt-shares">{rows}</table>'


def importance_drawer(study: Shown, wake: Callable[[], None], kit: WidgetFactory) -> Drawer:
    """Return the drawer of a panel that holds the bars."""
    tip = _("How much each hyperparameter matters for what trials reached")
    return Drawer(_("Importance"), tip, lambda: ImportanceView(study, wake, kit))
