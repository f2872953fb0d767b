"""Work that somebody waits for, in the panel and below a cell."""

import html

import pytest

from nbopt.notebook import viewer
from nbopt.run.session import work
from nbopt.run.session.work import Work
from tests.notebook.frontend import eventually


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(work, "_SECONDS", 0.0)
    monkeypatch.setattr(work, "_SHOWN_AFTER", 0.0)


def test_a_panel_shows_how_far_a_rewind_is_and_stops_it(page, make_run, show, monkeypatch):
    monkeypatch.setattr("nbopt.training.snapshots.securing.SECONDS", 1e9)
    run = make_run(store=None, val=None)
    run.step(800)
    panel = show(run)
    panel.transport.target.value = "799"
    page.click(panel.transport.buttons["rewind"])
    eventually(lambda: "Going back: " in panel._error.value and " steps" in panel._error.value)
    assert "nbopt-progress" in panel._error.value
    (button,) = eventually(lambda: panel.waiting.widget.children)
    page.click(button)
    eventually(lambda: run.state.name == "PAUSED" and run.work is None)
    assert run.step_count < 799
    eventually(lambda: panel._error.value == "" and panel.waiting.widget.children == ())


def test_a_line_below_the_cell_tells_how_far_work_is(make_run, monkeypatch):
    lines = []

    class Line:
        def update(self, bundle, raw):
            lines.append(bundle)

    def display(bundle, **_keys):
        lines.append(bundle)
        return Line()

    class Shell:
        kernel = object()

    monkeypatch.setattr(viewer, "get_ipython", Shell)
    monkeypatch.setattr(viewer, "display", display)
    run = make_run(store=None)
    with Work(run, "Opening <it>", viewer.follow()) as at:
        at.note(1234, 1400)
        at.note(1399, 1400)
    texts = [line["text/plain"] for line in lines]
    hint = " · interrupt the kernel to stop it"
    assert texts == [
        f"Opening <it>: 1,234 of 1,400 steps{hint}",
        f"Opening <it>: 1,399 of 1,400 steps{hint}",
        "Opening <it>: 1,400 steps done",
    ]
    assert html.escape("<it>") in lines[0]["text/html"] and 'value="0.881"' in lines[0]["text/html"]


def test_without_a_cell_there_is_no_line():
    assert viewer.follow() is None
