"""What a panel withstands: messages, numbers, texts and exceptions of any kind."""

from __future__ import annotations

import html
import math
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from nbopt.formatting import brief
from nbopt.notebook.charts.view import View
from nbopt.notebook.panel import status
from nbopt.notebook.panel.head import Told, write_head
from nbopt.notebook.panel.messages import end, error
from nbopt.viz.curves import curve
from tests.notebook.frontend import every_widget
from tests.notebook.painted import painted, span_of
from tests.tries import tries

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


@tries(30, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    panel.attempts.problem = EVIL
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
