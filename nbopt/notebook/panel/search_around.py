"""A search around where a run is, from its panel: the best trials are drawn beside it, and a click takes values."""

from __future__ import annotations

import html
from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as widgets

from nbopt.formatting import brief
from nbopt.i18n import _
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.notebook.panel.aside import Aside, Attempts
from nbopt.notebook.panel.drawers import Drawer
from nbopt.notebook.panel.offer import HIDDEN
from nbopt.notebook.panel.runs.overlays import FOUND
from nbopt.training.state import RunState

_SOURCE = "search"
_USUAL_EPOCHS = 10  # of each trial, where the run has more before it: a search is to end while somebody waits


class SearchDrawer:
    """Has a study try values near to a run's, and offers those of its best trials. The run itself stays as it is.

    Parameters
    ----------
    run : Run
    wake : callable
        Tells the bridge that there is something to show.
    kit : WidgetFactory

    Attributes
    ----------
    widget : ipywidgets.Box
    here, anew, halt : ipywidgets.Button
        Search from where the run is, from its beginning, and no more.
    epochs : ipywidgets.Text
        For how many each trial trains; empty, to the end of the run.
    take : list of ipywidgets.Button
        Each gives the run the values of a trial, the best one first.
    """

    def __init__(self, run: Any, wake: Callable[[], None], kit: WidgetFactory) -> None:
        self._run = run
        self._attempts = attempts = Attempts(wake)
        self._aside = Aside(f"nbopt searches around {run.name}", attempts.do, wake)
        self._is_closed = False
        self._own: Any = None
        self._offered: list[Any] = []
        self._note = kit.make(widgets.HTML)
        tip = _("Try values close to the run's own, on copies that continue from where it is now")
        self.here = kit.button("search-here", _("Search from here"), partial(self._begin, "now"), tip)
        tip = _("Try values close to the run's own, on copies that start from its beginning")
        self.anew = kit.button("search-anew", _("From the beginning"), partial(self._begin, 0), tip)
        tip = _("End the search and keep what it has found")
        self.halt = kit.button("search-stop", _("Stop searching"), self._stop, tip, disabled=True)
        tip = _("Give the run these values")
        edges = [widgets.Layout(border_left=f"4px solid {colour}") for colour in FOUND]  # others share one
        self.take = [
            kit.button("search-take", "", partial(self._take, place), tip, layout=edge)
            for place, edge in enumerate(edges)
        ]
        for button in self.take:
            button.add_class(HIDDEN)
        is_long = not run.plan.steps and run.plan.epochs - run.epoch > _USUAL_EPOCHS
        self.epochs = kit.make(
            widgets.Text,
            css=("nbopt-search-epochs",),
            value=str(_USUAL_EPOCHS) if is_long else "",
            description=_("Epochs a trial"),
            placeholder=_("to the end"),
            tooltip=_("How many epochs each trial trains; if empty, to the end of the run"),
        )
        head = kit.box("sweep-head", self.here, self.anew, self.halt, self.epochs, self._note)
        self.widget = kit.box("sweep", head, kit.box("sweep-head", *self.take))

    def close(self) -> None:
        """End the search that was begun here: nobody would see what it finds."""
        self._is_closed = True
        if self._own is not None:
            self._own.stop(wait=False, source=_SOURCE)

    # -- what the user does, on the kernel's threads

    def _begin(self, at: int | str) -> None:
        self._aside.do(partial(self._search, at))

    def _search(self, at: int | str) -> None:
        from nbopt.search.study import Study  # with all that it needs, once somebody searches

        text = self.epochs.value.strip()
        self._own = Study.around(self._run, at=at, epochs=int(text) if text.isdecimal() else text or None)
        if not self._is_closed:
            self._own.start(source=_SOURCE)

    def _stop(self) -> None:
        if (study := self._run.search) is not None:
            study.stop(wait=False, source=_SOURCE)

    def _take(self, place: int) -> None:
        if place < len(self._offered):
            self._attempts.do(lambda: self._run.set(source=_SOURCE, **self._offered[place].values))

    # -- what is shown, on the bridge's thread

    def paint(self) -> None:
        """Show how far the search is, and what it found; called by the bridge alone."""
        study, run = self._run.search, self._run
        searches = study is not None and study.state is RunState.RUNNING
        self.here.disabled = self._aside.is_busy or searches or run.state.is_ended
        self.anew.disabled = self._aside.is_busy or searches
        self.halt.disabled = not searches
        kind, text = ("problem", self._attempts.problem) if self._attempts.problem else ("name", self._say())
        self._note.value = f'<span class="nbopt-{kind}">{html.escape(text)}</span>'
        self._offered = [] if study is None else [trial for trial, _session in study.held]
        for place, button in enumerate(self.take):
            if place >= len(self._offered):
                button.add_class(HIDDEN)
                continue
            trial = self._offered[place]
            values = [f"{run.hyperparams.label(name)} {_write(value)}" for name, value in trial.values.items()]
            text = " · ".join([f"{study.objectives[0].name} {brief(trial.objective)}", *values])
            if button.description != text:
                button.description = text
            button.disabled = all(run.hyperparams[name] == value for name, value in trial.values.items())
            button.remove_class(HIDDEN)

    def _say(self) -> str:
        study = self._run.search
        if self._aside.is_busy:
            return _("Copying the run …")
        if study is None:
            return _("The run does not change and may train meanwhile.")
        if study.state is RunState.FAILED:
            return str(study.end_reason)
        told = _("{done} of {count} trials done.", done=study.step_count, count=study.total)
        if not study.held:
            return told
        return told + " " + _("The best are drawn beside the run; a click gives it their values.")


def _write(value: Any) -> str:
    return brief(value) if isinstance(value, float) else str(value)


def search_drawer(run: Any, wake: Callable[[], None], kit: WidgetFactory) -> Drawer:
    """Return the drawer of a panel that searches near to where a run is; for the parameters see `SearchDrawer`."""
    tip = _("Search for better values near to the present ones, on copies of this run")
    return Drawer(_("Search around here"), tip, lambda: SearchDrawer(run, wake, kit))
