"""The panel's words: what state a study is in, at a glance."""

from __future__ import annotations

from collections.abc import Sequence

from nbopt.formatting import brief, count, duration
from nbopt.i18n import _
from nbopt.notebook.panel.status import NONE
from nbopt.search.showing import Shown
from nbopt.search.trial import COMPLETE, FAILED, PRUNED, RUNNING, Trial
from nbopt.training.state import RunState
from nbopt.viz.trials import label_of, time_spent


def facts_of(study: Shown, trials: Sequence[Trial]) -> list[tuple[str, str, str]]:
    """Return what stands in the header, the most telling first: CSS class, name and value."""
    many = dict.fromkeys((RUNNING, COMPLETE, PRUNED, FAILED), 0)
    for trial in trials:
        many[trial.state] += 1
    ended = len(trials) - many[RUNNING]
    running = study.state is RunState.RUNNING
    spent = time_spent(trials)
    left = NONE
    if running and ended:
        known = spent[spent == spent]
        left = duration(float(known.max()) / ended * max(0, study.total - ended))
    failed = [("failed", _("failed"), count(many[FAILED]))] if many[FAILED] else []
    return [
        ("best", _("best {name}", name=label_of(study.objectives[0]).lower()), _best(study, trials)),
        ("trials", _("trials"), f"{count(ended)} / {count(study.total)}"),
        ("going", _("under way"), count(many[RUNNING])),
        ("pruned", _("ended early"), count(many[PRUNED])),
        *failed,
        ("left", _("left"), left),
    ]


def _best(study: Shown, trials: Sequence[Trial]) -> str:
    """Return the best that a complete trial reached, of the first objective, and which one."""
    first = study.objectives[0]
    done = [trial for trial in trials if trial.state == COMPLETE]
    if not done:
        return NONE
    best = (min if first.direction == "minimize" else max)(done, key=lambda trial: trial.objectives[0])
    return f"{brief(best.objectives[0])} @ {best.number}"
