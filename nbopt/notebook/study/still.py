"""A study's still picture: what `Study` shows outside a notebook, for pages where no kernel lives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbopt.i18n import _
from nbopt.notebook.static_view import StillPicture
from nbopt.notebook.study.view import StudyView
from nbopt.search.results.view import html
from nbopt.search.showing import Shown
from nbopt.search.trial import Trial

_MOST = 300  # trials drawn


class StillStudy(StillPicture):
    """The still picture of one study.

    Parameters
    ----------
    study : Shown
    view : StudyView
    """

    def __init__(self, study: Shown, view: StudyView) -> None:
        def moment() -> tuple[Any, ...]:
            return study.state, study.step_count, len(study.journal)

        super().__init__(f"nbopt-study-{study.id}", moment, lambda: draw_still(study), lambda: repr(study))


def draw_still(study: Shown) -> str:
    """Return the picture as HTML."""
    told = _("{state}, {done} of {count} trials", state=study.state.value, done=study.step_count, count=study.total)
    best = study.front if len(study.objectives) > 1 else study.ranked()[:1]
    shown = html(f"{study.name}: {told}", study.objectives, few_of(study, best), best, study.asked)
    return f'<div class="nbopt-still" style="font-size:13px;padding:8px 0">{shown}</div>'


def few_of(study: Shown, best: Sequence[Trial]) -> list[Trial]:
    """Return so many trials that a saved page stays small: those that tell, and of the others every so many."""
    trials = study.trials
    if len(trials) <= _MOST:
        return trials
    step = -(-len(trials) // (_MOST // 2))
    kept = {id(trial) for trial in [*trials[::step], *study.ranked()[: _MOST // 4], *best[: _MOST // 4]]}
    return [trial for trial in trials if id(trial) in kept]
