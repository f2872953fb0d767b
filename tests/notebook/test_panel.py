"""The panel as a whole: what it shows, what it takes, and what it withstands."""

from __future__ import annotations

import html
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st
from torch import nn

import nbopt
from nbopt.formatting import brief, duration
from nbopt.notebook.charts.view import View
from nbopt.notebook.panel import status
from nbopt.notebook.panel.head import Told, write_head
from nbopt.notebook.panel.messages import end, error
from nbopt.notebook.panel.panel import panel_of
from nbopt.notebook.viewer import mimebundle
from nbopt.viz.curves import curve
from tests.notebook.frontend import eventually, every_widget
from tests.tries import tries


@pytest.fixture
def trained(make_run, show):
    """A run after some steps, at rest, and its panel."""
    run = make_run()
    run.step(40)
    return run, show(run)


def span_of(panel, chart=0):
    scale = panel.charts[chart]._x
    return scale.min, scale.max


def y_span_of(panel, chart=0):
    scale = panel.charts[chart]._scale
    return scale.min, scale.max


def painted(panel):
    """Paint as the bridge does; return the error box."""
    for _frame in range(2):  # the first one may have begun before
        frame = panel.bridge.companion.frame
        panel.bridge.wake()
        eventually(lambda frame=frame: panel.bridge.companion.frame > frame)
    return panel._error.value


def test_the_classes_people_style_and_script_by_are_there(trained):
    _run, panel = trained
    dict(panel.controls)  # makes them all
    painted(panel)
    classes = {name for widget in every_widget(panel.widget) for name in getattr(widget, "_dom_classes", ())}
    wanted = {f"nbopt-{name}" for name in ("panel", "start", "pause", "step", "stop", "rewind", "branch")}
    assert wanted | {f"nbopt-hp-{name}" for name in panel.controls} <= classes


def test_the_buttons_do_what_they_say(page, make_run, show):
    run = make_run()
    panel = show(run)
    page.click(panel.transport.buttons["step"])
    eventually(lambda: run.step_count == 1 and run.state.name == "PAUSED")
    page.click(panel.transport.buttons["start"])
    eventually(lambda: run.step_count > 20)
    page.click(panel.transport.buttons["pause"])
    eventually(lambda: run.state.name == "PAUSED")
    page.click(panel.transport.buttons["stop"])
    eventually(lambda: run.state.name == "STOPPED")
    eventually(lambda: "Stopped" in panel._status.value)
    disabled = {"start": False, "pause": True, "step": False, "stop": True, "rewind": False, "branch": False}
    eventually(lambda: {name: button.disabled for name, button in panel.transport.buttons.items()} == disabled)
    assert {entry.source for entry in run.journal} == {"panel"}


def test_what_a_button_cannot_do_is_told_and_the_next_deed_clears_it(page, make_run, show):
    run = make_run(epochs=1)
    panel = show(run)
    run.fit()
    page.click(panel.transport.buttons["step"])
    eventually(lambda: "Set epochs higher" in panel._error.value)
    page.do(panel.controls["epochs"].inputs[1], value="2")
    eventually(lambda: "Set epochs higher" not in panel._error.value)


def test_the_bundle_of_a_run_is_its_one_panel_with_a_text_for_those_who_cannot_show_it(page, make_run):
    run = make_run()
    bundle = mimebundle(run)
    assert bundle["text/plain"] == repr(run)
    view = bundle["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == panel_of(run).family.model_id
    assert mimebundle(run)["application/vnd.jupyter.widget-view+json"] == view
    panel_of(run).bridge.close()


ends = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-(10**400), 10**400),
    st.floats(-10, 50),
    st.none(),
    st.booleans(),
    st.text(max_size=3),
)
spans = st.one_of(st.lists(ends, max_size=3), st.lists(st.floats(-5, 50), min_size=2, max_size=2), ends)
zooms = st.fixed_dictionaries({}, optional={"chart": st.one_of(st.integers(-2, 3), ends), "x": spans, "y": spans})
messages = st.one_of(
    st.fixed_dictionaries({"zoom": st.one_of(zooms, ends)}),
    st.fixed_dictionaries({"frame": ends}),
    st.fixed_dictionaries({"pick": ends}),
    st.recursive(ends, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=5),
)


@tries(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(messages, max_size=4), st.booleans(), st.sampled_from(["step", "epoch", "time"]))
@example([{"zoom": {"chart": 0, "x": [1.0, 5.0], "y": [-1.0, 0.5]}}], True, "step")
@example([{"zoom": {"chart": 0, "x": [1.0, 5.0], "y": [-2.0, -1.0]}}], True, "step")
@example([{"zoom": {"chart": 1, "x": [0.0, 5e-324], "y": [0.0, 5e-324]}}], False, "step")
@example([{"zoom": {"chart": 1, "x": [-1.7e308, 1.7e308], "y": [-1.7e308, 1.7e308]}}], False, "time")
@example([{"zoom": {"chart": 0, "x": [10**399, 10**400], "y": [1, 10**400]}}], False, "epoch")
@example([{"zoom": {"chart": 0, "x": [1e6, 1e6 + 1e-9], "y": [1.0, 1.0 + 2e-16]}}], False, "epoch")
def test_whatever_the_page_sends_no_message_raises_or_spoils_the_picture(trained, sent, log_y, axis):
    check_messages(trained, log_y, axis, sent)


def check_messages(trained, log_y, axis, sent):
    _run, panel = trained
    panel.toolbar.view = View(log_y=log_y, axis=axis)
    for message in sent:
        panel.bridge._hear(None, message, [])
    assert "could not be drawn" not in painted(panel)
    for chart in panel.charts:
        for low, high in (span_of(panel), (chart._scale.min, chart._scale.max)):
            assert -math.inf < low < high < math.inf
        assert np.isfinite(chart.curves.x).all() and len(chart._x_axis.tick_values) <= 8
    assert panel.bridge._answered <= panel.bridge.companion.frame
    panel.bridge._hear(None, {"zoom": None}, [])  # and the way back is open
    assert painted(panel) == ""
    assert panel.toolbar.view.span is None and all(chart.zoom_y is None for chart in panel.charts)


def test_a_zoom_shows_just_what_was_asked_for_in_all_charts_and_following_ends_it(page, trained):
    run, panel = trained
    page.tell(panel.bridge.companion, {"zoom": {"chart": 0, "x": [5, 20], "y": [0.2, 0.4]}})
    eventually(lambda: all(span_of(panel, chart) == (5, 20) for chart in (0, 1)))
    assert y_span_of(panel) == pytest.approx((0.2, 0.4))
    assert y_span_of(panel, 1) != pytest.approx((0.2, 0.4))
    run.step(30)
    assert painted(panel) == "" and span_of(panel) == (5, 20)
    assert not panel.toolbar.tail.disabled
    page.click(panel.toolbar.tail)
    eventually(lambda: span_of(panel)[1] > 60)
    eventually(lambda: panel.toolbar.tail.disabled)


def test_another_unit_of_x_ends_a_zoom(page, trained):
    run, panel = trained
    page.tell(panel.bridge.companion, {"zoom": {"chart": 0, "x": [5, 30], "y": None}})
    eventually(lambda: span_of(panel) == (5, 30))
    axis = next(w for w in every_widget(panel.widget) if "nbopt-axis" in getattr(w, "_dom_classes", ()))
    page.do(axis, index=1)
    eventually(lambda: panel.bridge.companion.unit == "epoch")
    assert span_of(panel)[0] < 1 and span_of(panel)[1] == run.epoch


HOSTILE = [
    [math.inf, -math.inf, math.nan, 1e300, -1e300],
    [math.nan] * 5,
    [0.0] * 5,
    [-1.0, -2.0, 0.0, 1e-320, -1e-320],
    [1e17] * 5,
    [1e30] * 5,
    [1e-300, 1e-30, 1e30, 1.0, 0.0],
    [5e-324] * 5,
    [-3.0] * 5,
    [1.0, 1.0 + 2e-16, 1.0, 1.0, 1.0],
]


@pytest.mark.parametrize("log_y", [False, True])
@pytest.mark.parametrize("values", HOSTILE, ids=str)
def test_no_measurement_stops_the_painting_and_only_what_can_be_drawn_is_sent(make_run, show, values, log_y):
    run = make_run()
    panel = show(run)
    panel.toolbar.view = panel.toolbar.view._replace(log_y=log_y)
    for name in ("loss", "val_loss", "accuracy"):
        run.history.extend(name, range(len(values)), values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        panel._paint()
    for chart in panel.charts:
        assert chart._scale.min < chart._scale.max
        assert np.isfinite(chart.curves.x).all()
        y = chart.curves.y
        assert np.isfinite(y[:, -1]).all()  # a line that ends in nothing is an error in the browser
        assert not np.isinf(y).any() and (not chart._is_log or (y[np.isfinite(y)] > 0).all())
        assert all(math.isfinite(tick) for axis in chart.figure.axes for tick in axis.tick_values)
    run.history.extend("loss", range(5, 9), [0.5, 0.4, 0.3, 0.2])
    panel._paint()
    bold = curve(run.history, "loss", smoothing=0.6).smooth_y[-1]
    assert panel._error.value == "" and f"training</span> <b>{brief(bold)}</b>" in panel.charts[0]._head.value


def test_after_a_rewind_charts_marks_and_badges_are_those_of_the_way_that_led_here(make_run, show):
    run = make_run()
    panel = show(run)
    run.step(10)
    run.set(lr=0.01)
    run.step(10)
    run.set(lr=0.02)
    run.step(10)
    run.rewind(15)
    eventually(lambda: [tick.x for tick in panel.charts[0].over.ticks] == [10])
    eventually(lambda: "step 10" in panel.controls["lr"].head.value and panel.charts[0].curves.x[-4:].max() <= 15)
    assert panel.controls["lr"].inputs[0].value == 0.01
    assert painted(panel) == ""


EVIL = '<img src=x onerror="alert(1)">&"\''


class Evil(Exception):
    pass


def test_text_of_the_user_s_is_never_taken_for_html(page, make_run, show):
    run = make_run(name=EVIL, metrics={EVIL: lambda output, target: 0.5})
    run.step(30)
    panel = show(run)
    panel._unfold.value = True
    page.do(panel.controls["lr"].inputs[1], value=EVIL)
    run.journal.event(1, EVIL, EVIL, EVIL)
    run.error = Evil(EVIL)
    run.error.add_note(EVIL)
    run.become(run.state.FAILED, EVIL)
    for control in panel.controls.values():
        control._requested = EVIL
        control.head.value = control._say()
        control.head.value += write_head(control.spec, True, Told("", EVIL, EVIL, True), (EVIL, EVIL))
    panel._problem = EVIL
    assert EVIL not in painted(panel) and html.escape(EVIL) in panel._error.value
    pages = [
        panel._error.value,
        *end(run),
        *error(run),
        status.journal_list(run.journal, run.hyperparams.label, True),
    ]
    panel._complain(EVIL)
    for widget in every_widget(panel.widget):
        if type(widget).__name__ == "HTML":
            pages.append(widget.value)
    assert sum(html.escape(EVIL) in text for text in pages) > 5
    assert not any("<img" in text for text in pages)


def test_a_class_name_made_of_a_metric_s_name_is_one_class(make_run, show):
    panel = show(make_run(metrics={"top 5\taccuracy": lambda output, target: 0.5}))
    assert "nbopt-chart-top-5-accuracy" in panel.charts[1].widget._dom_classes
    assert not any(" " in name for w in every_widget(panel.widget) for name in getattr(w, "_dom_classes", ()))


def test_an_exception_in_painting_stands_in_the_panel_and_goes_with_the_next_good_frame(make_run, show, monkeypatch):
    panel = show(make_run())

    def fail(*_arguments):
        raise RuntimeError("out of <ink>")

    with monkeypatch.context() as patch:
        patch.setattr(panel.charts[0], "draw", fail)
        text = painted(panel)
        assert "training is not affected" in text and "out of &lt;ink&gt;" in text
    assert painted(panel) == ""


def test_the_journal_unfolds_and_stays_so_while_it_grows(page, make_run, show):
    run = make_run()
    panel = show(run)
    page.do(panel._unfold, value=True)
    eventually(lambda: "<table>" in panel._journal.value)
    for value in (0.01, 0.02):
        run.set(lr=value)
        eventually(lambda value=value: f"→ {value}<" in panel._journal.value)
    page.do(panel._unfold, value=False)
    eventually(lambda: "<table>" not in panel._journal.value and "2 entries" in panel._journal.value)


def test_two_runs_never_meet(page, make_run, show):
    run, other = make_run(), make_run()
    panel, other_panel = show(run), show(other)
    page.do(panel.controls["lr"].inputs[1], value="0.5")
    run.step(5)
    eventually(lambda: "</i> 5<" in panel._status.value)
    assert painted(other_panel) == ""
    assert other.hyperparams["lr"] == 1e-3 and len(other.journal) == 0 and "</i> 0<" in other_panel._status.value


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (3599, "59:59"), (36_000, "10:00:00")])
def test_a_duration_is_written_as_a_clock(seconds, text):
    assert duration(seconds) == text


def test_the_rate_that_a_schedule_makes_of_the_control_gets_a_chart(make_run, show):
    run = make_run(epochs=30)
    panel = show(run)
    run.step(10)
    assert [chart.name for chart in panel.charts] == ["loss", "accuracy"]
    run.set(schedule="cosine")
    run.step(10)
    eventually(lambda: [chart.name for chart in panel.charts] == ["loss", "accuracy", "lr"])
    rates = panel.charts[2]
    eventually(lambda: rates.curves.y[-2].max() > rates.curves.y[-2].min() > 0)
    drawn = [chart.curves.model_id for chart in panel.charts]
    eventually(lambda: [chart["lines"] for chart in panel.bridge.companion.charts] == drawn)
    assert rates.widget in panel.gallery.widget.children and "in each step" in rates._head.value


class Halving(nbopt.Technique):
    """Measure how far the run is, in halves."""

    halving = nbopt.Flag(True, label="Halving", group="Own group")
    measures = ("halves_done",)

    def after_step(self, loss):
        self.context.measure("halves_done", 2 * self.context.progress)


def test_a_technique_of_ones_own_has_its_controls_and_the_chart_of_what_it_measures(make_run, show):
    run = make_run(epochs=30, techniques=[Halving], halving=True)
    panel = show(run)
    assert [chart.name for chart in panel.charts] == ["loss", "accuracy"]
    run.step(5)
    eventually(lambda: [chart.name for chart in panel.charts] == ["loss", "accuracy", "halves_done"])
    eventually(lambda: "Halves done" in panel.charts[-1]._head.value)
    assert panel.controls["halving"].widget is not None


def test_of_three_charts_all_but_the_first_bear_fewer_numbers_and_no_texts(make_run, show):
    run = make_run(epochs=30)
    panel = show(run)
    run.step(25)
    run.set(lr=0.01)
    run.step(25)
    loss, accuracy = panel.charts
    eventually(lambda: all(chart.over.tells and chart.over.ticks for chart in (loss, accuracy)))
    run.set(schedule="cosine")
    run.step(5)
    eventually(lambda: len(panel.charts) == 3)
    painted(panel)
    for chart in panel.charts:
        numbers = [len(chart._x_axis.tick_values), len(chart._y_axes[0].tick_values)]
        assert len(chart.over.ticks) == 2  # the lines are everywhere
        assert chart.over.tells is (chart is loss)
        assert max(numbers) <= (8 if chart is loss else 4)
    assert len(loss._x_axis.tick_values) > len(accuracy._x_axis.tick_values)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.digit, self.angle = nn.Linear(4, 3), nn.Linear(4, 1)

    def forward(self, x):
        return {"digit": self.digit(x), "angle": self.angle(x)}


def test_each_loss_and_metric_of_several_outputs_has_a_chart_and_each_weight_a_control(show):
    x = torch.randn(24, 4)
    given = x, {"digit": torch.arange(24) % 3, "angle": x[:, 0]}
    run = nbopt.Run(
        *(TwoHeads(), given, given, {"digit": "cross_entropy", "angle": (0.3, "mse")}),
        metrics={"digit": ["accuracy", "roc_auc"], "angle": ["mae"]},
        batch_size=8,
        store=None,
    )
    panel = show(run)
    run.step(9)
    assert painted(panel) == ""
    names = ["loss", "digit_loss", "angle_loss", "digit_accuracy", "digit_roc_auc", "angle_mae"]
    assert [chart.name for chart in panel.charts] == names
    heads = [chart._head.value for chart in panel.charts]
    titles = ["Loss", "Digit loss", "Angle loss", "Digit accuracy", "Digit ROC AUC", "Angle MAE"]
    assert all(f'title="{title}"' in head for title, head in zip(titles, heads, strict=True))
    assert all("training" in head and "validation" in head for head in heads)
    assert panel.controls["angle_weight"].widget is not None
