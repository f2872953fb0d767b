"""What a hand does to a study from its panel: each is a verb of the study, and so stands in its journal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from nbopt.errors import InvalidHyperparam, shorten
from nbopt.formatting import number
from nbopt.hyperparams import Int
from nbopt.i18n import _
from nbopt.notebook.panel.aside import Aside
from nbopt.notebook.panel.typed import read
from nbopt.notebook.panel.verbs import SOURCE
from nbopt.notebook.study.view import StudyView
from nbopt.run.session.steerable import Steerable
from nbopt.search.showing import Shown
from nbopt.search.spaces.dimension import Dimension

_DIGITS = 3  # of the bounds that a brush gives


class Deeds:
    """Does what the page asks for.

    Parameters
    ----------
    study : Shown
    view : StudyView
        Knows the axes, by which a brush is told.
    attempt : callable
        Does what it is given, and shows what that raises.
    wake : callable
        Tells the bridge that there is something to show.
    show : callable
        Puts the panel of a run below the study's.

    Attributes
    ----------
    chosen : tuple of int
        The trials that buttons act on.
    """

    def __init__(
        self,
        study: Shown,
        view: StudyView,
        attempt: Callable[[Callable[[], Any]], None],
        wake: Callable[[], None],
        show: Callable[[Steerable], None],
    ) -> None:
        self._study, self._view, self._attempt, self._show = study, view, attempt, show
        self._aside = Aside(f"nbopt trials of {study.name}", attempt, wake)  # steps may have to be done again
        self.chosen: tuple[int, ...] = ()

    def hear(self, content: Any) -> bool:
        """Do what a message asks for; return whether it is one of these."""
        study = self._study
        match content:
            case {"narrow": dict(brushed)}:
                self._attempt(lambda: study.narrow(source=SOURCE, **self._bounds(brushed)))
            case {"widen": str(name)} if name in study.space:
                self._attempt(lambda: study.narrow(source=SOURCE, **{name: study.declared[name].ends}))
            case {"pin": dict(texts)}:
                self._attempt(lambda: study.pin(source=SOURCE, **self._read(texts)))
            case {"add": dict(texts)}:
                self._attempt(lambda: study.add(source=SOURCE, **self._read(texts)))
            case {"trials": str(text)}:
                self._attempt(lambda: self._set_trials(text))
            case {"end": True}:
                self._attempt(self._end)
            case {"rest": bool(resting)}:
                self._attempt(lambda: self._rest(resting))
            case {"clone": dict(texts)}:
                self._aside.do(partial(self._clone, dict(texts)))
            case _:
                return False
        return True

    def usable(self) -> dict[str, str]:
        """Return what cannot be done to the trials chosen, each with the reason; "" of what can."""
        study, chosen = self._study, self.chosen
        trials = study.trials
        chosen = self.chosen = tuple(trial for trial in chosen if trial < len(trials))
        nobody = "" if chosen else _("Choose a trial first.")
        going = any(not trials[k].is_done for k in chosen)
        end = nobody or ("" if going else _("It has ended."))
        alone = nobody or ("" if len(chosen) == 1 else _("Choose one trial."))
        busy = _("Wait a moment: a trial is being taken out.") if self._aside.is_busy else ""
        take = alone or busy or study.hindrance(trials[chosen[0]])
        together = "" if study.holds_one else _("Trials of this study can only pause together: pause the study.")
        rests = [trials[k].is_resting for k in chosen if not trials[k].is_done]
        rest = end or together or (_("It is paused already.") if all(rests) else "")
        onward = end or together or ("" if any(rests) else _("It is not paused."))
        return {"end": end, "rest": rest, "onward": onward, "promote": take, "clone": take}

    def _end(self) -> None:
        for trial in [self._study.trials[k] for k in self.chosen]:
            if not trial.is_done:
                self._study.stop_trial(trial.number, source=SOURCE)

    def _rest(self, resting: bool) -> None:
        for trial in [self._study.trials[k] for k in self.chosen]:
            if not trial.is_done and trial.is_resting is not resting:
                (self._study.pause_trial if resting else self._study.resume_trial)(trial.number, source=SOURCE)

    def _clone(self, texts: Mapping[str, Any]) -> None:
        if len(self.chosen) != 1:
            raise InvalidHyperparam(_("Choose one trial."))
        (own,) = self.chosen
        values = self._study.trials[own].values
        given = self._read(texts) if texts else {}
        changes = {name: value for name, value in given.items() if number(value) != number(values.get(name))}
        if texts and not changes:
            raise InvalidHyperparam(_("Nothing differs from trial {number}: change a value first.", number=own))
        self._show(self._study.clone(own, source=SOURCE, **changes))

    def _set_trials(self, text: str) -> None:
        self._study.set(trials=read(text, Int(1, low=1, high=1)), source=SOURCE)

    def _read(self, texts: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that were typed; what was left empty is left out."""
        space, found = self._study.space, {}
        for name, text in texts.items():
            if not isinstance(text, str) or len(text) > 100:
                raise InvalidHyperparam(_("{value} cannot be set here.", value=shorten(text)))
            if not (text := text.strip()):
                continue
            dimension = space[name]
            options = {number(option): option for option in getattr(dimension.spec, "options", ()) or dimension.options}
            found[name] = options.get(text, text) if options else read(text, dimension.spec)
        return found

    def _bounds(self, brushed: Mapping[str, Any]) -> dict[str, Any]:
        """Return the bounds that a brush means: places of an axis, or numbers of options."""
        return {name: self._bound(name, places) for name, places in brushed.items()}

    def _bound(self, name: str, places: Any) -> Any:
        dimension, axis = self._study.declared[name], self._view.column(name).axis
        match places:
            case {"kinds": [*numbers]} if axis.kinds and set(numbers) <= {*range(len(axis.kinds))}:
                options = {number(option): option for option in dimension.options}
                return [options[axis.kinds[k]] for k in numbers if axis.kinds[k] in options]
            case [int() | float() as first, int() | float() as last] if not axis.kinds and first <= last:
                return bounds_of(dimension, axis.value(first), axis.value(last))
        raise InvalidHyperparam(_("{value} cannot be set here.", value=shorten(places)))


def bounds_of(dimension: Dimension, low: float, high: float) -> tuple[Any, Any]:
    """Return numbers that a person would have written near ``low`` and ``high``, within what is declared."""
    declared = dimension.ends
    if dimension.whole:
        first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
        if dimension.powers:
            first, last = 2 ** math.ceil(math.log2(max(1, low)) - 1e-9), 2 ** math.floor(math.log2(max(1, high)) + 1e-9)
        if first > last:
            raise InvalidHyperparam(_("{name}: no value lies within the brush.", name=dimension.name))
        return max(first, declared[0]), min(last, declared[1])
    low, high = (float(f"{value:.{_DIGITS}g}") for value in (low, high))
    return max(low, declared[0]), min(high, declared[1])
