"""The strips below controls, as the kernel has them: found out when somebody asks, sent with the frame, clicked."""

from __future__ import annotations

import threading

import pytest
import torch

from tests.notebook.frontend import eventually
from tests.run import plain_loop


def strips_of(page, panel):
    return page.state(panel.bridge.companion)["strips"]


def cells_of(strips, name):
    return (strips["bars"].get(name) or {"cells": []})["cells"]


def threads_of(panel):
    return [thread for thread in threading.enumerate() if thread.name == f"nbopt what if {panel.run.name}"]


@pytest.fixture
def panel(page, make_run, show):
    """Return the panel of a run at rest after three steps, with a page that answers."""
    run = make_run(lr=0.01)
    run.step(3)
    return show(run)


def ask(page, panel, content, done):
    page.tell(panel.bridge.companion, content)
    eventually(lambda: page.answer(panel) and done(strips_of(page, panel)))
    return strips_of(page, panel)


def test_nothing_is_found_out_before_somebody_asks(page, panel):
    assert strips_of(page, panel)["bars"] == {"lr": None} and threads_of(panel) == []
    panel.run.step(2)
    assert threads_of(panel) == []


def test_a_strip_tells_of_values_on_the_slider_and_a_click_sets_one(page, panel):
    run = panel.run
    before = len(run.journal)
    strips = ask(page, panel, {"ask": ["lr"]}, lambda strips: cells_of(strips, "lr"))
    cells = strips["bars"]["lr"]["cells"]
    labels, places = [cell[0] for cell in cells], [cell[5] for cell in cells]
    assert 9 <= len(cells) <= 15 and "0.01" in labels and places == sorted(places)
    assert [cell[2] for cell in cells] == [label == "0.01" for label in labels]
    assert sum(cell[3] for cell in cells) == 1 and {0.0, 1.0} <= set(places)
    assert cells[0][4].startswith(f"lr {labels[0]}: ") and " → " in cells[0][4] and "in 10 steps" in cells[0][4]
    assert len(run.journal) == before
    wanted = labels[-2]
    page.tell(panel.bridge.companion, {"take": ["lr"], "label": wanted})
    (change,) = run.journal.changes()
    assert change[:5] == (3, "lr", 0.01, float(wanted), "panel")
    changed = ask(page, panel, {"ask": []}, lambda strips: any(cell[2] for cell in cells_of(strips, "lr")[-3:]))
    assert [cell[0] for cell in changed["bars"]["lr"]["cells"] if cell[2]] == [wanted]


def test_what_is_no_number_has_a_strip_too_and_none_takes_it_away(page, panel):
    strips = ask(page, panel, {"ask": ["initialization", "optimizer"]}, lambda strips: cells_of(strips, "optimizer"))
    assert [cell[0] for cell in strips["bars"]["optimizer"]["cells"]] == [
        *panel.run.hyperparams.spec("optimizer").options
    ]
    late = ask(
        page, panel, {"ask": []}, lambda strips: "before the first step" in strips["bars"]["initialization"]["says"]
    )
    assert late["bars"]["initialization"]["cells"] == []
    left = ask(page, panel, {"leave": ["initialization", "optimizer"]}, lambda strips: len(strips["bars"]) == 1)
    assert left["bars"] == {"lr": None}
    eventually(lambda: not threads_of(panel))


def test_a_map_is_of_two_and_a_click_sets_both(page, panel):
    strips = ask(page, panel, {"map": ["lr", "weight_decay"]}, lambda strips: strips["map"] and strips["map"]["cells"])
    found = strips["map"]
    assert len(found["cells"]) == len(found["rows"]) * len(found["columns"]) >= 25
    (present,) = [cell for cell in found["cells"] if cell[2]]
    assert (found["rows"][present[5]], found["columns"][present[6]]) == ("0.01", "0")
    other = found["cells"][-1]
    page.tell(panel.bridge.companion, {"take": ["lr", "weight_decay"], "label": other[0]})
    assert other[0] == ", ".join(str(f"{panel.run.hyperparams[name]:g}") for name in ("lr", "weight_decay"))
    assert {change.source for change in panel.run.journal.changes()} == {"panel"}


def test_how_far_ahead_and_in_which_share_of_the_time_can_be_said(page, panel):
    ask(page, panel, {"ask": ["lr"]}, lambda strips: cells_of(strips, "lr"))
    strips = ask(page, panel, {"ahead": 4}, lambda strips: "in 4 steps" in strips["bars"]["lr"]["says"])
    strips = ask(page, panel, {"share": 25}, lambda strips: strips["share"] == 25)
    assert strips["ahead"] == 4
    assert panel.strips._what_ifs.share == 0.25


def test_what_no_page_would_send_is_refused_in_words(page, panel):
    insane = [
        *[{"ask": ["no_such"]}, {"ask": [1]}, {"map": ["lr", "lr"]}, {"ahead": True}, {"ahead": -1}, {"share": 90}],
        *[{"share": float("nan")}, {"share": True}, {"take": ["lr"], "label": "0.5"}, {"take": [[]], "label": ""}],
    ]
    for content in insane:
        panel.attempts.problem = ""
        page.tell(panel.bridge.companion, content)
        assert "does not understand" in panel.attempts.problem, content
    assert panel.strips.asked == [] and panel.run.journal.changes() == []


def test_a_loop_that_cannot_be_asked_shows_no_strips(page, show):
    panel = show(plain_loop.Attached(torch.optim.SGD([torch.zeros(1)], lr=0.05)))
    assert strips_of(page, panel) == {}
    page.tell(panel.bridge.companion, {"ask": ["lr"]})
    assert "does not understand" in panel.attempts.problem
