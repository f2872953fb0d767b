"""All charts of a panel, drawn from the run alone: nothing depends on when they were drawn before."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from nbopt.formatting import brief, count
from nbopt.i18n import N_, _
from nbopt.notebook.charts.charts import FEW, Chart
from nbopt.notebook.charts.lines import Floats
from nbopt.notebook.charts.overlay import Best
from nbopt.notebook.charts.view import Ghost, Scene, View
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.record.history import History
from nbopt.run.session.steerable import Steerable
from nbopt.viz.curves import to_axis, whole_span
from nbopt.viz.marks import Marks
from nbopt.viz.ranges import with_room
from nbopt.viz.ticks import Span

_TITLES = {"loss": N_("Loss"), "lr": N_("Learning rate used")}  # the latter is not just what the control shows
_ACRONYMS = {"r2": "R²", "mae": "MAE", "rmse": "RMSE", "roc_auc": "ROC AUC"}  # metrics that are not called by a word
_STALE = 3  # validations without a better one, from which on that is shown


class Gallery:
    """The charts of one run.

    Parameters
    ----------
    run : Steerable
    marks : Marks
    kit : WidgetFactory

    Attributes
    ----------
    charts : list of Chart
        Those there are now; what is measured later comes on.
    widget : ipywidgets.Box
    """

    def __init__(self, run: Steerable, marks: Marks, kit: WidgetFactory) -> None:
        self._run = run
        self._marks = marks
        self.charts = [Chart(name, title(name), kit) for name in run.measures]
        self._later = [*run.later_measures]
        self._kit = kit
        self.widget = kit.box("charts", *(chart.widget for chart in self.charts))

    def draw(self, view: View, picked: int | None, ghosts: Sequence[Ghost]) -> None:
        """Bring all charts up to date; called by the bridge alone.

        Parameters
        ----------
        view : View
        picked : int or None
            The step picked to go back to.
        ghosts : sequence of Ghost
        """
        history = self._run.history
        if begun := [name for name in self._later if name in history]:
            self._later = [name for name in self._later if name not in begun]
            in_steps = (_("in each step"), "")
            self.charts += [Chart(name, title(name), self._kit, labels=in_steps, smooth=False) for name in begun]
            self.widget.children = [chart.widget for chart in self.charts]
        marks = list(self._marks.marks)
        places = [*(mark.step for mark in marks), self._marks.back_to, 0 if picked is None else picked]
        at = to_axis(history, np.array(places, float), view.axis)
        past = history.given_up if self._marks.rewinds else None
        best = self._best(view.axis)
        scene = Scene(
            view.span or self._whole_span(past, ghosts, view.axis, at[:-2]),
            marks,
            at[:-2],
            ghosts,
            past,
            float(at[-2]),
            None if picked is None else float(at[-1]),
            best,
        )
        for place, chart in enumerate(self.charts):
            chart.is_small = place > 0 and len(self.charts) > FEW
            chart.draw(history, view, scene)
            scene = scene._replace(best=best and best._replace(text=""))  # told once, above the loss

    def _whole_span(self, past: History | None, ghosts: Sequence[Ghost], axis: str, marked: Floats) -> Span:
        names = [name for chart in self.charts for name in chart.names]
        histories = [self._run.history, *(ghost.history for ghost in ghosts), *([past] if past is not None else [])]
        spans = [whole_span(history, names, axis) for history in histories if "loss" in history] or [(0.0, 1.0)]
        last = float(marked[-1]) if len(marked) else 0.0  # changed at rest: no step is beyond
        return with_room(min(low for low, _high in spans), max(*(high for _low, high in spans), last))

    def _best(self, axis: str) -> Best | None:
        judge, validations = self._run.stopping, self._run.history.tracks.get("val_loss")
        step = None if judge is None else judge.best_step
        if step is None or validations is None:
            return None
        steps, value = validations.read()[0], judge.best
        later = len(steps) - bisect_right(steps, step)
        x, now = to_axis(self._run.history, np.array([step, steps[-1]], float), axis).tolist()
        text = _("best {value} at step {step}", value=brief(value), step=count(step))
        if later < _STALE:
            return Best(x, x, text)
        return Best(x, now, _("{best}, no better since", best=text))


def title(name: str) -> str:
    """Return what the chart of a measurement is called."""
    if name in _TITLES or name in _ACRONYMS:
        return _(_TITLES[name]) if name in _TITLES else _ACRONYMS[name]
    metric = next((known for known in _ACRONYMS if name.endswith(f"_{known}")), "")  # of one of several outputs
    words = name.removesuffix(f"_{metric}" if metric else "").replace("_", " ").capitalize()
    return f"{words} {_ACRONYMS[metric]}" if metric else words
