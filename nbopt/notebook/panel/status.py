"""The panel's words: what state the run is in, at a glance."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nbopt.formatting import brief, count, duration, setting, speed
from nbopt.i18n import N_, _
from nbopt.notebook.listed import listed
from nbopt.notebook.naming import in_own_names, own_variables
from nbopt.record.journal import Entry, Journal
from nbopt.run.session.operable import Driven
from nbopt.run.session.steerable import Steerable
from nbopt.training.device import describe, memory_in_use
from nbopt.training.state import RunState

STATES = {
    RunState.CREATED: N_("Ready"),
    RunState.RUNNING: N_("Training"),
    RunState.PAUSED: N_("Paused"),
    RunState.FINISHED: N_("Finished"),
    RunState.STOPPED: N_("Stopped"),
    RunState.FAILED: N_("Failed"),
}
_EVENTS = {
    "start": N_("start"),
    "resume": N_("resume"),
    "step": N_("step by step"),
    "pause": N_("pause"),
    "stopped": N_("end: {detail}"),
    "finished": N_("end: {detail}"),
    "failed": N_("failure: {detail}"),
    "rewind": N_("back to step {detail}"),
    "restore_best": N_("best weights restored, those of step {detail}"),
    "reopen": N_("patience counts from 0 again"),
    "leave_out": N_("one sample skipped in its epoch: the step on it failed"),
    "branch": N_("branched from run {detail}"),
    "diverged": N_("divergence: {detail}"),
    "out_of_memory": N_("out of memory: {detail}"),
    "store_failed": N_("not stored: {detail}"),
    "tuning": "{detail[reason]}",
    "edit": "{detail[reason]}",
    "not_exact": N_("not exact: {detail[reason]}"),
    "open": N_("opened from the store"),
    "redone": N_("interrupted within a step: repeated from step {detail}"),
    "stored": N_("stored again, with everything since"),
    "carried": "{detail}",
    "note": "{detail}",
}
_SOURCES = {
    "panel": N_("panel"),
    "undo": N_("undo"),
    "finder": N_("rate finder"),
    "code": N_("code"),
    "run": N_("run"),
    "guard": N_("guard"),
    "status bar": N_("status bar"),
    "cell": N_("its cell, run again"),
}
_JOURNAL_LINES = 50
_LONGEST = 300  # characters of a notification
NONE = "\N{EN DASH}"  # where there is no value yet


def facts(run: Steerable) -> list[tuple[str, str]]:
    """Return where the run is, as names and values."""
    plan = run.plan
    has_epochs = "epochs" in run.hyperparams or bool(run.epoch)
    found = [(_("epoch"), f"{run.epoch}{plan.of_epochs.replace('/', ' / ')}")] if has_epochs else []
    found.append((_("step"), count(run.step_count) + (f" / {count(run.last_step)}" if run.last_step else "")))
    if run.state is RunState.RUNNING:
        if rate := run.steps_per_second:
            found.append((_("speed"), speed(rate)))
        if run.seconds_left is not None:
            found.append((_("left"), duration(run.seconds_left)))
    stopping = run.stopping
    if stopping is not None and stopping.best_step is not None:
        found.append((_("best val loss"), f"{brief(stopping.best)} @ {count(stopping.best_step)}"))
    return found + run.technique_facts


def status_line(run: Steerable) -> str:
    """Return the line beside the buttons, as HTML: always the same facts, so that none moves another."""
    return facts_line(run, _header_facts(run))


def facts_line(run: Driven, rows: Iterable[tuple[str, str, str]]) -> str:
    """Return the state, facts (CSS class, name and value of each) and how much is done, as HTML."""
    cells = "".join(
        f'<span class="nbopt-fact nbopt-fact-{css}"><i>{html.escape(name)}</i> {html.escape(value)}</span>'
        for css, name, value in rows
    )
    state = run.state.value
    pill = f'<span class="nbopt-state nbopt-state-{state}" role="status">{html.escape(_(STATES[run.state]))}</span>'
    pill += f'<span class="nbopt-lost">{html.escape(_("Disconnected"))}</span>'
    bar = f'<div class="nbopt-progress"><div style="width:{100 * run.share:.1f}%"></div></div>'
    return f'<div class="nbopt-facts">{pill}{cells}</div>{bar}'


def in_short(rows: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return facts as words, without what is not known yet."""
    return [f"{name} {value}" for _css, name, value in rows if value != NONE]


def _header_facts(run: Steerable) -> list[tuple[str, str, str]]:
    """Return what stands in the header, the most telling first: CSS class, name and value."""
    told, loss, rate = dict(facts(run)), run.history.last("loss"), run.steps_per_second
    best, running = _("best val loss"), run.state is RunState.RUNNING
    rows = [("loss", _("loss"), NONE if loss is None else brief(loss))]
    if best in told or "val_loss" in run.history.expected:
        rows.append(("best", best, told.pop(best, NONE)))
    rows += [(css, name, told.pop(name)) for css, name in (("epoch", _("epoch")), ("step", _("step"))) if name in told]
    rows.append(("speed", _("speed"), speed(rate) if running and rate else NONE))
    rows.append(("left", _("left"), told.pop(_("left"), NONE)))
    told.pop(_("speed"), None)
    return [*rows, *(("more", name, value) for name, value in told.items())]


def lost_line(run: Steerable) -> str:
    """Return what is to be read where there is no kernel any more, as HTML: `header.js` sees when."""
    told = html.escape(_("Disconnected: the kernel that trained this run is gone. This is the last picture."))
    return f'<div class="nbopt-lost">{told} {way_back(run)}</div>'


def way_back(run: Steerable) -> str:
    """Return the line of code that opens the run again, as HTML; "" where none can."""
    if "open" not in run.abilities:
        return ""
    if not run.opening:
        return html.escape(_("The run was not stored (store=None)."))
    note = html.escape(_("To go on from here, with the model and data it was made with:"))
    return f"{note} <code>{html.escape(in_own_names(run.opening, run, own_variables()))}</code>"


def ending(run: Driven) -> dict[str, Any]:
    """Return whether the run has come to its end, and what is to be told of that, for `header.js`."""
    ended = run.state in (RunState.FINISHED, RunState.FAILED)
    text = str(run.error) if run.state is RunState.FAILED and run.error is not None else run.end_reason
    return {"ended": ended, "title": f"{run.name}: {_(STATES[run.state])}", "text": text[:_LONGEST]}


def title(run: Driven, keys_of_charts: Sequence[tuple[str, str]] | None = None) -> str:
    """Return the name with what the panel can do besides, as HTML; `header.js` has the two act.

    Parameters
    ----------
    run : Driven
    keys_of_charts : sequence of (str, str), optional
        Keys that charts have, and what they do; by default those of a run's.
    """
    bell, keys = html.escape(_("Tell me when it ends"), quote=True), html.escape(_("Keys"), quote=True)
    usual = [(_("+ and -"), _("on a chart: zoom; arrows move, 0 shows all"))]
    listed = [
        (_("Space"), _("pause, or go on")),
        ("s", _("one step")),
        *([("b", _("branch"))] if "branch" in run.abilities else []),
        *(usual if keys_of_charts is None else keys_of_charts),
    ]
    rows = "".join(f"<dt>{html.escape(key)}</dt><dd>{html.escape(text)}</dd>" for key, text in listed)
    when = html.escape(_("While the panel has the focus, and no input or button:"))
    return (
        f'<span class="nbopt-name" title="{html.escape(run.name, quote=True)}">{html.escape(run.name)}</span>'
        f'<button class="nbopt-bell" type="button" aria-pressed="false" title="{bell}" aria-label="{bell}">'
        '<i class="fa fa-bell-o" aria-hidden="true"></i></button>'
        f'<details class="nbopt-keys"><summary title="{keys}" aria-label="{keys}">?</summary>'
        f'<div class="nbopt-unfolded">{when}<dl>{rows}</dl></div></details>'
    )


def earlier_line(runs: Iterable[Driven]) -> str:
    """Return where the runs are that an earlier execution of the cell made, as HTML; "" if there are none."""
    known = {thing.id for thing in listed()}
    lines = [
        html.escape(_("Earlier run of this cell: {name}, at step {step}.", name=run.name, step=count(run.step_count)))
        + (f" <code>%nbopt show {run.id}</code>" if run.id in known else "")
        for run in runs
    ]
    return "".join(f"<div>{line}</div>" for line in lines)


def device_line(run: Steerable) -> str:
    """Return where the run trains and why, as HTML."""
    device, told = run.device, [*run.notes, _("exact when done again") if run.exact else ""]
    if device is not None:
        told = [describe(device.torch), device.reason, *told]
        if (memory := memory_in_use(device.torch)) is not None:
            told.append(_("{megabytes} MB in use", megabytes=count(memory / 1e6)))
    parts = list(filter(None, told))
    return f'<span class="nbopt-device">{html.escape(" · ".join(parts))}</span>'


def journal_list(journal: Journal, label: Callable[[str], str], unfolded: bool) -> str:
    """Return how many lines the journal has and, unfolded, the newest of them, newest first, as HTML.

    ``label`` returns what panels call a hyperparameter.
    """
    told = _("1 entry") if len(journal) == 1 else _("{count} entries", count=count(len(journal)))
    entries = f"<span>{html.escape(told)}</span>"
    if not unfolded:
        return entries
    rows = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in journal_cells(entry, label))}</tr>"
        for entry in reversed(journal[-_JOURNAL_LINES:])
    )
    head = "".join(f"<th>{html.escape(word)}</th>" for word in (_("step"), _("what"), _("by")))
    return f'{entries}<div class="nbopt-entries"><table><tr>{head}</tr>{rows}</table></div>'


def journal_cells(entry: Entry, label: Callable[[str], str]) -> tuple[str, str, str]:
    """Return an entry of the journal in words: its step, what happened, and who asked for it."""
    if entry.kind == "change":
        text = f"{label(entry.name)} {setting(entry.old)} → {setting(entry.new)}"
    elif entry.name in _EVENTS:
        text = _(_EVENTS[entry.name], detail=count(entry.new) if isinstance(entry.new, int) else entry.new)
    else:
        text = entry.name if entry.new is None else f"{entry.name}: {entry.new}"
    source = _(_SOURCES[entry.source]) if entry.source in _SOURCES else entry.source
    return count(entry.step), text, source
