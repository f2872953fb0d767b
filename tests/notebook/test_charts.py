"""What the charts of a panel show of a run: how far they reach, and what lies over the curves."""

from __future__ import annotations

import numpy as np
import pytest

from nbopt.notebook.charts.charts import FEW
from tests.notebook.frontend import eventually


@pytest.fixture
def drawn(make_run, show):
    """A run whose measurements are put in by hand, its panel, and what paints it."""
    run = make_run()
    panel = show(run)
    panel.bridge.close()  # from here on it paints only when told to

    def measure(name, values, every=1):
        run.history.extend(name, every * np.arange(len(values)), values)

    return run, panel, measure


def tell(panel, message):
    panel.bridge._hear(None, message, [])


def over(panel, chart=0):
    panel._paint()
    return panel.bridge.companion.charts[chart]["over"]


def test_a_spike_leaves_the_scale_as_it_was_and_is_told_by_an_arrow_until_one_wants_to_see_it(drawn):
    _run, panel, measure = drawn
    values = 0.5 + np.sin(np.arange(1000)) / 4
    values[500:503] = 1e5
    measure("loss", values)
    arrows = over(panel)["arrows"]
    scale, fit = panel.charts[0]._linear, {"zoom": {"chart": 0, "x": None, "y": None}}
    assert scale.max < 2
    assert [(up, at) for at, up, _colour, _text in arrows] == [(True, pytest.approx(0.5, abs=0.01))]
    tell(panel, fit)  # a double click
    assert over(panel)["arrows"] == [] and scale.max > 1e4
    tell(panel, fit)
    assert over(panel)["arrows"] == arrows and scale.max < 2


def test_a_double_click_ends_a_zoom_first(drawn):
    _run, panel, measure = drawn
    measure("loss", np.linspace(3, 1, 200))
    over(panel)
    tell(panel, {"zoom": {"chart": 0, "x": [50, 60], "y": [1.0, 2.0]}})
    over(panel)
    assert (panel.charts[0]._x.min, panel.charts[0]._linear.max) == (50, 2.0)
    tell(panel, {"zoom": {"chart": 0, "x": None, "y": None}})
    over(panel)
    assert panel.charts[0]._x.max == 200 and panel.charts[0]._linear.max > 2.9
    assert not panel.charts[0].shows_all


def test_the_axes_stay_put_while_the_curves_have_room(drawn):
    run, panel, measure = drawn
    measure("loss", 1 + np.random.default_rng(0).random(4000))
    over(panel)
    seen = set()
    for step in range(4000, 4060, 3):
        run.history.extend("loss", range(step, step + 3), [1.5, 1.4, 1.6])
        over(panel)
        seen.add((panel.charts[0]._x.max, panel.charts[0]._linear.min, panel.charts[0]._linear.max))
    assert len(seen) <= 3


def test_losses_alone_have_a_log_axis_and_each_chart_remembers_its_own(drawn, page):
    _run, panel, measure = drawn
    measure("loss", np.geomspace(10, 0.1, 100))
    measure("accuracy", np.linspace(0.1, 0.9, 100))
    companion = panel.bridge.companion
    panel._paint()
    assert [chart["log"] for chart in companion.charts] == [False, None]
    tell(panel, {"chart": 0, "log": True})
    panel._paint()
    assert [chart["log"] for chart in companion.charts] == [True, None]
    panel.toolbar.view = panel.toolbar.view._replace(log_y=False, smoothing=0.1)  # whatever else is looked at
    panel._paint()
    assert companion.charts[0]["log"] is True
    tell(panel, {"chart": 1, "log": True})
    assert "does not understand" in panel.attempts.problem
    page.do(next(w for w in panel.toolbar.widget.children if "nbopt-log-y" in w._dom_classes), value=True)
    panel._paint()
    assert companion.charts[0]["log"] is True and panel.charts[1]._scale is panel.charts[1]._linear


def test_the_legend_tells_what_the_bold_line_shows(drawn):
    _run, panel, measure = drawn
    measure("loss", [1.0, 1.0, 0.0])
    panel._paint()
    bold = panel.charts[0].curves.y[-2, -1]
    assert 0.1 < bold < 0.9 and f"<b>{bold:.4g}</b>" in panel.charts[0]._head.value


def test_a_line_that_is_not_there_is_not_read(drawn):
    _run, panel, measure = drawn
    measure("loss", [1.0, 0.5])
    panel._paint()
    assert panel.charts[0].keys == ["", "", "training", ""]
    sent = panel.bridge.companion.charts[0]
    assert sent["raws"] == [-1, -1, 0, 1] and len(panel.charts[0].curves.y) == 4


def test_the_best_step_is_marked_and_where_none_was_better_since_is_shaded(make_run, show):
    run = make_run(epochs=1000, lr=0.01)
    panel = show(run)
    panel.bridge.close()
    run.step(20)
    sent = over(panel)
    steps, values = run.history["val_loss"]
    best = int(steps[values.argmin()])
    assert sent["best"][0] == pytest.approx(best / panel.charts[0]._x.max, abs=1e-4)
    assert f"at step {best}" in sent["best"][1] and sent["stale"] in (None, [sent["best"][0]] * 2)
    run.set(lr=0.0, l1=0.0)
    run.set(lr=1.0)  # from here on it only gets worse
    run.step(20)
    sent = over(panel)
    steps, values = run.history["val_loss"]
    best = int(steps[values.argmin()])
    assert len(steps[steps > best]) >= 3
    assert sent["stale"] == pytest.approx([best / 40, steps[-1] / 40], abs=1e-4)
    assert "no better since" in sent["best"][1]
    assert over(panel, 1)["best"] == [sent["best"][0], ""]  # told once


def test_changes_made_at_rest_are_marked_at_once_all_those_of_one_step(make_run, show):
    run = make_run()
    panel = show(run)
    run.set(lr=0.01)
    eventually(lambda: panel.charts[0].over.ticks == [(0, "Learning rate 0.001 → 0.01")])
    run.step(40)
    run.set(lr=0.02)
    run.set(weight_decay=1e-4, l1=1e-5)
    companion = panel.bridge.companion
    eventually(lambda: [text.count("\n") for _at, text in companion.charts[0]["over"]["marks"]] == [0, 2])
    at, text = companion.charts[0]["over"]["marks"][1]
    assert at <= 1 and text.split("\n")[0] == "Learning rate 0.01 → 0.02"
    assert "0 → 1e-4" in text and "0 → 1e-5" in text


@pytest.mark.parametrize(
    ("values", "left"), [([0.1, 0.9], 52), ([1.00001e-7, 1.00009e-7], 76), ([1e4, 2e4], 52)], ids=str
)
def test_the_numbers_of_the_y_axis_have_the_room_they_take(drawn, values, left):
    _run, panel, measure = drawn
    measure("loss", values)
    over(panel)
    assert panel.charts[0].figure.fig_margin["left"] == panel.bridge.companion.charts[0]["left"] == left


def test_small_charts_get_fewer_points(drawn):
    _run, panel, measure = drawn
    for name in ("loss", "accuracy", "lr"):
        measure(name, np.random.default_rng(0).random(8001))
    over(panel)
    widths = [chart.curves.x.shape[1] for chart in panel.charts]
    assert len(widths) > FEW and max(widths[1:]) < 0.6 * widths[0]
