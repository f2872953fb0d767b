"""The panel as a whole: what it shows, what it takes, and what it withstands."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nbopt
from nbopt.formatting import duration
from nbopt.notebook.panel.panel import panel_of
from nbopt.notebook.viewer import mimebundle
from tests.notebook.frontend import eventually, every_widget
from tests.notebook.painted import painted, span_of


def y_span_of(panel, chart=0):
    scale = panel.charts[chart]._scale
    return scale.min, scale.max


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


def test_the_journal_unfolds_and_stays_so_while_it_grows(page, make_run, show):
    run = make_run()
    panel = show(run)
    page.do(panel._unfold, value=True)
    eventually(lambda: "<table>" in panel._journal.value)
    for value in (0.01, 0.02):
        run.set(lr=value)
        eventually(lambda value=value: f"→ {value}<" in panel._journal.value)
        assert ("1 entry<" if value == 0.01 else "2 entries<") in panel._journal.value
    assert "<td>Learning rate 0.01 → 0.02</td><td>code</td>" in panel._journal.value  # as at its control
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
