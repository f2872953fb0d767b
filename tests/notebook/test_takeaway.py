"""What can be taken away from a panel: curves, settings, a report."""

import csv
import io
import re
from xml.etree import ElementTree

import pandas as pd
import pytest

from nbopt.notebook.charts.colours import OTHERS, TRAIN, VAL
from nbopt.notebook.panel.takeaway import menu
from tests.notebook.frontend import eventually

ITEMS = ["csv", "png", "svg", "code", "script", "recipe", "report"]


@pytest.fixture
def open_menu(page, show, make_run):
    """Return the panel of a trained run and its menu."""

    def unfold(**settings):
        run = make_run(**{"name": "<b>digits</b> & more", "store": None, **settings})
        run.step(40)
        run.set(lr=0.01)
        run.step(20)
        panel = show(run)
        page.do(panel.drawers.toggles["takeaway"], value=True)
        eventually(lambda: "takeaway" in panel.drawers.made)
        return panel, panel.drawers.made["takeaway"]

    return unfold


def test_the_page_gets_what_it_asks_for_and_is_told_what_cannot_be(page, open_menu):
    _panel, shown = open_menu()
    for what in ITEMS:
        page.tell(shown.widget, {"take": what, "how": "download"})

    def customs():
        return [data["content"] for data in page.sent(shown.widget) if data.get("method") == "custom"]

    eventually(lambda: len(customs()) == len(ITEMS))
    got = {content["what"]: content for content in customs()}
    assert set(got) == set(ITEMS)
    names = [got[what]["name"] for what in ("csv", "png", "report")]
    assert names == ["b-digits-b-more.csv", "b-digits-b-more.png", "b-digits-b-more.html"]
    for content in ({"take": "weights", "how": "copy"}, {"take": "csv", "how": "burn"}, "x"):
        shown.widget.note = ""
        page.tell(shown.widget, content)
        eventually(lambda: "does not understand" in shown.widget.note)


def test_the_csv_has_all_that_was_measured(open_menu):
    panel, shown = open_menu()
    rows = list(csv.DictReader(io.StringIO(shown.take("csv").text)))
    history = panel.run.history
    assert set(rows[0]) == {"step", *history.names}
    steps, values = history["loss"]
    found = [(int(row["step"]), float(row["loss"])) for row in rows if row["loss"]]
    assert found == list(zip(steps.tolist(), values.tolist(), strict=True))
    names = {}
    exec(shown.take("csv", "cell").cell.rpartition("\n")[0], names)
    pd.testing.assert_frame_equal(names["curves"].set_index("step"), history.to_pandas(), check_dtype=False)


def test_more_rows_than_a_page_can_take_are_refused_with_the_way_out(open_menu, monkeypatch):
    _panel, shown = open_menu()
    monkeypatch.setattr(menu, "MOST_ROWS", 10)
    with pytest.raises(ValueError, match="to_csv"):
        shown.take("csv")


def test_the_picture_shows_the_charts_as_they_are_looked_at(page, open_menu, make_run):
    panel, shown = open_menu()
    branch = panel.run.branch(at=40, lr=0.5)
    branch.step(30)
    panel.toolbar.view = panel.toolbar.view._replace(log_y=True)
    root = ElementTree.fromstring(shown.take("svg").text)
    colours = [path.get("stroke") for path in root.iter("{http://www.w3.org/2000/svg}path") if path.get("stroke-width")]
    assert {TRAIN, VAL, OTHERS[0]} <= set(colours)
    text = "".join(root.itertext())
    assert "<b>digits</b> & more" in text and "Accuracy" in text and "branch at 40" in text
    assert not re.search(r"(href|url\(|<script|<style)", shown.take("svg").text)
    assert shown.take("png").text == shown.take("svg").text


def test_the_report_has_settings_journal_and_best_values_and_escapes_what_people_wrote(open_menu):
    panel, shown = open_menu()
    panel.run.journal.event(60, "note", "<img src=x onerror=alert(1)>")
    text = shown.take("report").text
    assert "<b>" not in text and "<img src=x" not in text and "<script" not in text
    assert "&lt;b&gt;digits&lt;/b&gt; &amp; more" in text and "&lt;img src=x" in text
    assert "Learning rate 0.001 → 0.01" in text
    assert "<td>Learning rate</td><td>0.01</td><td>0.001</td>" in text
    steps, values = panel.run.history["val_loss"]
    assert f"@ {steps[values.argmin()]}</td>" in text
    assert "http" not in text.replace("http://www.w3.org", "")


def test_a_loop_that_cannot_be_written_says_so(open_menu):
    panel, shown = open_menu()
    with panel.run.at_rest():
        panel.run.model[0].weight.requires_grad_(False)
    panel.run.step(1)
    with pytest.raises(ValueError, match="changed by hand"):
        shown.take("script")
