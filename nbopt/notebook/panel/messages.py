"""What a panel has to say, in a strip that has its place whether there is something to say or not."""

from __future__ import annotations

import html
import traceback
from collections.abc import Iterable
from typing import NamedTuple

from nbopt.formatting import count
from nbopt.i18n import _
from nbopt.notebook.cells import SOURCE as CELL
from nbopt.run.session.operable import Driven
from nbopt.run.session.steerable import Steerable
from nbopt.training.state import RunState


class Message(NamedTuple):
    """Something to say, as HTML.

    Attributes
    ----------
    css : str
        Classes.
    said : str
        In a line or two; "" if there is nothing to say.
    more : str
        What can be unfolded.
    """

    css: str
    said: str
    more: str = ""


def strip(messages: Iterable[Message]) -> str:
    """Return the first of what there is to say, and the rest to unfold, as HTML; "" if there is nothing."""
    told = [message for message in messages if message.said]
    if not told:
        return ""
    first, *others = told
    more = first.more + "".join(f'<div class="{one.css}">{one.said}{one.more}</div>' for one in others)
    title = html.escape(_("{count} more", count=len(others)) if others else _("Details"))
    fold = f'<details class="nbopt-more"><summary>{title}</summary><div class="nbopt-unfolded">{more}</div></details>'
    role = ' role="alert"' if "nbopt-error" in first.css else ""
    return f'<div class="{first.css}"{role}><div class="nbopt-said">{first.said}</div>{fold if more else ""}</div>'


def problem(text: str) -> Message:
    """Return why the last deed did nothing."""
    return Message("nbopt-error", html.escape(text))


def error(run: Driven) -> Message:
    """Return the run's error with what to do next."""
    raised = run.error
    if run.state is not RunState.FAILED or raised is None:
        return Message("nbopt-error", "")
    advice = _(
        "Nothing is lost: correct it in a cell or change a control, then press Resume to continue from step {step}.",
        step=count(run.step_count),
    )
    return failure(raised, advice)


def failure(raised: BaseException, advice: str) -> Message:
    """Return what an exception says, and what to do next."""
    notes = "".join(f"<div>{html.escape(note)}</div>" for note in getattr(raised, "__notes__", []))
    trace = html.escape("".join(traceback.format_exception(raised)))
    name, text = html.escape(type(raised).__name__), html.escape(str(raised))
    said = f'<b>{name}</b>: {text} <span class="nbopt-soft">{html.escape(advice)}</span>'
    return Message("nbopt-error", said, f"<div>{said}</div>{notes}<pre>{trace}</pre>")


def cautions(run: Steerable) -> list[Message]:
    """Return what is not as expected: steps done again that were not the same, a model that two runs train."""
    told = [run.caution, run.exactness if run.exact is False else ""]
    return [Message("nbopt-note nbopt-not-exact", html.escape(text)) for text in told]


def end(run: Driven) -> Message:
    """Return what the run came to."""
    return Message("nbopt-note", html.escape(_end(run)))


def _end(run: Driven) -> str:
    if run.state is RunState.PAUSED and len(run.journal) and run.journal[-1].source == CELL:
        return _("Paused: the cell that made this run was run again and made a new one. This one is kept.")
    if run.state is RunState.FAILED or not run.end_reason:
        return ""
    text = run.end_reason[:1].upper() + run.end_reason[1:] + "."
    if run.journal[-1].name == "finished" and len(run.journal) > 1 and run.journal[-2].name == "restore_best":
        step = count(run.journal[-2].new)
        text += _(" The best weights, those of step {step}, are restored.", step=step)
    return text
