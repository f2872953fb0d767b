"""The list of runs in a panel: what it shows, and what it does to runs."""

import numpy as np
import pytest

import nbopt
from nbopt.formatting import brief
from nbopt.notebook.charts.bands import outlines
from nbopt.notebook.charts.view import Ghost
from nbopt.notebook.panel.runs import table, verdict
from nbopt.record.history import History
from nbopt.run.session.work import Work
from nbopt.store import writer
from nbopt.viz.curves import Curve, curve
from tests.notebook.frontend import eventually


@pytest.fixture(autouse=True)
def _alone_and_at_once(monkeypatch):
    """Other tests' runs may live still, and a list of 200 says so in its note."""
    monkeypatch.setattr(nbopt.run.session.registry, "_live", type(nbopt.run.session.registry._live)())
    monkeypatch.setattr(table, "_PAINT_SECONDS", 0.0)


@pytest.fixture
def open_list(page, show):
    """Unfold the list of a run's panel; return the panel and what draws the list."""

    def unfold(run):
        panel = show(run)
        assert "runs" not in panel.drawers.made
        page.do(panel.drawers.toggles["runs"], value=True)
        eventually(lambda: "runs" in panel.drawers.made and panel.drawers.made["runs"].widget.rows)
        return panel, panel.drawers.made["runs"]

    return unfold


def leave(run):
    """Leave a run to the store."""
    run.stop()
    writer.flush()
    run.recorder.leave()
    return run.id


@pytest.fixture
def stored(make_run, tmp_path):
    """Return the ids of two runs that the store alone has."""
    ids = []
    for name, lr in (("<i>old</i>", 0.1), ("newer", 0.01)):
        run = make_run(name=name, lr=lr, store=tmp_path)
        run.step(30)
        ids.append(leave(run))
        nbopt.run.session.registry._live.pop(run)
    return ids


def row_of(view, run_id):
    return next(row for row in view.widget.rows if row["id"] == run_id)


def test_runs_of_the_kernel_and_of_the_store_are_listed_newest_first(page, make_run, stored, tmp_path, open_list):
    _panel, view = open_list(make_run(name="own", store=tmp_path))
    eventually(lambda: len(view.widget.rows) == 3)
    assert [row["name"] for row in view.widget.rows] == ["own", "newer", "<i>old</i>"]
    assert [name for name, _label in view.widget.columns] == ["lr"]
    assert [row["values"] for row in view.widget.rows] == [["0.001"], ["0.01"], ["0.1"]]
    assert [row["own"] for row in view.widget.rows] == [True, False, False]
    assert row_of(view, stored[0])["step"] == "30" and row_of(view, stored[0])["best"]


def test_a_stored_run_is_drawn_in_its_colour_with_its_value_and_compared(page, make_run, stored, tmp_path, open_list):
    panel, view = open_list(make_run(name="own", store=tmp_path))
    eventually(lambda: len(view.widget.rows) == 3)
    page.tell(view.widget, {"do": "show", "run": stored[0], "on": True})
    eventually(lambda: row_of(view, stored[0])["colour"])
    eventually(lambda: "&lt;i&gt;old&lt;/i&gt;" in panel.charts[0]._head.value)
    assert row_of(view, stored[0])["colour"] in panel.charts[0]._head.value
    drawn = curve(nbopt.open(stored[0], store=tmp_path).history, "val_loss", smoothing=panel.toolbar.view.smoothing)
    assert f"<b>{brief(drawn.smooth_y[-1])}</b>" in panel.charts[0]._head.value
    assert "<i>old</i>" in panel.charts[0].keys
    assert view.widget.heads == ["own", "<i>old</i>"]
    assert ["Learning rate", "0.001", "0.1"] in view.widget.diff
    page.tell(view.widget, {"do": "show", "run": stored[0], "on": False})
    eventually(lambda: "old" not in panel.charts[0]._head.value)


def test_a_group_is_drawn_as_mean_and_band(page, make_run, stored, tmp_path, open_list):
    panel, view = open_list(make_run(name="own", store=tmp_path))
    eventually(lambda: len(view.widget.rows) == 3)
    for run_id in stored:
        page.tell(view.widget, {"do": "show", "run": run_id, "on": True})
    page.tell(view.widget, {"do": "group", "by": ""})
    eventually(lambda: "mean (2 runs)" in panel.charts[0]._head.value)
    eventually(lambda: len(panel.charts[0].curves.y) == 4 + 2 * 3)
    eventually(lambda: len(panel.charts[0].as_sent()["over"]["bands"]) == 1)
    page.tell(view.widget, {"do": "group", "by": "lr"})
    eventually(lambda: "lr 0.1 (1 runs)" in panel.charts[0]._head.value)
    page.tell(view.widget, {"do": "group", "by": "-"})
    eventually(lambda: "newer" in panel.charts[0]._head.value)


@pytest.mark.parametrize("log", [False, True])
def test_a_band_goes_along_its_lowest_and_back_along_its_highest(log):
    empty = np.empty(0)

    def curves(*values):
        y = np.array(values, float)
        return Curve("loss", empty, empty, np.array([0.0, 5.0, 10.0]), y, y[-1]), Curve("", *[empty] * 4, np.nan)

    ghosts = [Ghost(label, History(), "#009e73") for label in ("mean", "", "")]
    parts = [*curves(10, 10, 10), *curves(1, 10, np.nan), *curves(100, 100, 100)]
    ((colour, corners),) = outlines(ghosts, parts, (0.0, 10.0), (1.0, 100.0), log)
    middle = 0.5 if log else 1 - 9 / 99
    expected = [[0, 1], [0.5, middle], [1, 0], [0.5, 0], [0, 0]]
    assert colour == "#009e73" and corners == pytest.approx(np.array(expected), abs=1e-4)


def test_stars_and_names_are_kept(page, make_run, stored, tmp_path, open_list):
    own = make_run(name="own", store=tmp_path)
    panel, view = open_list(own)
    eventually(lambda: len(view.widget.rows) == 3)
    page.tell(view.widget, {"do": "rename", "run": own.id, "name": "<own>"})  # not stored yet
    eventually(lambda: "&lt;own&gt;" in panel._title.value and own.name == "<own>")
    page.tell(view.widget, {"do": "star", "run": stored[0], "on": True})
    page.tell(view.widget, {"do": "rename", "run": stored[0], "name": " a better name "})
    eventually(lambda: row_of(view, stored[0])["star"] and row_of(view, stored[0])["name"] == "a better name")
    line = next(line for line in nbopt.runs(tmp_path) if line.id == stored[0])
    assert line.starred and line.name == "a better name"


def test_a_stored_run_is_opened_below_with_this_runs_model(page, make_run, stored, tmp_path, open_list):
    own = make_run(name="own", store=tmp_path)
    panel, view = open_list(own)
    eventually(lambda: len(view.widget.rows) == 3 and "open" in row_of(view, stored[1])["can"])
    page.tell(view.widget, {"do": "open", "run": stored[1]})
    eventually(lambda: len(panel.family.children) == 2)
    (opened,) = panel.transport.branches
    assert (opened.id, opened.step_count, opened.hyperparams["lr"]) == (stored[1], 30, 0.01)
    assert opened.model is not own.model
    eventually(lambda: "open" not in row_of(view, stored[1])["can"] and "newer" in panel.charts[0]._head.value)

    page.tell(view.widget, {"do": "close", "run": stored[1]})
    eventually(lambda: len(panel.family.children) == 1)
    assert opened.state.name == "STOPPED"
    page.tell(view.widget, {"do": "delete", "run": stored[1]})
    eventually(lambda: [line.id for line in nbopt.runs(tmp_path)] == [stored[0]])
    eventually(lambda: not (tmp_path / "snapshots" / stored[1]).exists())


def test_the_list_tells_where_a_run_is_that_rests_though_it_is_drawn_nowhere(make_run, open_list, monkeypatch):
    _panel, view = open_list(make_run(name="own", store=None))
    monkeypatch.setattr(table, "_PAINT_SECONDS", 100.0)
    other = make_run(name="other", store=None)
    view._wake()
    eventually(lambda: any(row["name"] == "other" for row in view.widget.rows))
    other.step(7)
    eventually(lambda: row_of(view, other.id)["step"] == "7" and row_of(view, other.id)["state"] == "paused")


def test_how_far_an_opening_is_stands_above_the_list_with_a_button_that_stops_it(page, make_run, open_list):
    own = make_run(name="own", store=None)
    _panel, view = open_list(own)
    view._actions.opening = view.rows[0]
    view._wake()
    eventually(lambda: view.widget.note == "Opening own …")
    assert not view.widget.halts
    own.work = Work(own, "Opening")
    own.work.done, own.work.total = 1234, 1400
    view._wake()
    eventually(lambda: view.widget.note == "Opening: 1,234 of 1,400 steps" and view.widget.halts)
    page.tell(view.widget, {"do": "halt"})
    assert own.work.is_stopped
    view._actions.opening = own.work = None
    view._wake()
    eventually(lambda: view.widget.note == "" and not view.widget.halts)


def test_what_cannot_be_done_is_told_and_changes_nothing(page, make_run, stored, tmp_path, open_list):
    _panel, view = open_list(make_run(name="own", store=tmp_path))
    eventually(lambda: len(view.widget.rows) == 3)
    for content in ("<script>", {"do": "rename", "run": stored[0], "name": ""}, {"do": "delete", "run": "none"}):
        page.tell(view.widget, content)
        eventually(lambda: view.widget.note)
    page.tell(view.widget, {"do": "group", "by": "nothing"})
    eventually(lambda: "nothing" in view.widget.note)
    assert len(nbopt.runs(tmp_path)) == 2


def test_repeats_are_drawn_as_a_mean_in_a_band_and_say_which_of_two_runs_is_better(
    page, make_run, open_list, monkeypatch
):
    monkeypatch.setattr(verdict, "SEEDS", 6)
    own, other = make_run(name="own", store=None, lr=0.001), make_run(name="other", store=None, lr=0.03)
    panel, view = open_list(own)
    for run in (own, other):
        run.step(49)
    assert view.widget.verdict == {} and view.widget.seeds is None
    page.tell(view.widget, {"do": "show", "run": other.id, "on": True})
    eventually(lambda: view.widget.verdict == {"ask": "Which is better? Repeat both under 6 seeds"})
    page.tell(view.widget, {"do": "verdict"})
    eventually(lambda: "interval" in view.widget.verdict.get("text", ""))
    assert view.widget.verdict["text"] == str(nbopt.compare(own, other))
    assert view.widget.verdict["text"].startswith("lr 0.03 is better than lr 0.001: validation loss lower by")
    eventually(lambda: view.widget.seeds)
    _plain, mean, low, high, of_other = [*panel._ghosts()][:5]
    assert (mean.label, low.label, of_other.label) == ("mean of 6 seeds", "", "other, mean of 6 seeds")
    lasts = [member.history.last("val_loss") for member in own.repeats]
    drawn = [edge.history.last("val_loss") for edge in (mean, low, high)]
    assert drawn == pytest.approx([np.mean(lasts), min(lasts), max(lasts)])
    page.tell(view.widget, {"do": "seeds", "on": False})
    eventually(lambda: view.widget.seeds is False)
    assert len(panel._ghosts()) == 1
    own.step(1)  # what was said is of where they were
    eventually(lambda: "ask" in view.widget.verdict)
