"""Going back and branching off in the panel, and what is drawn beside a run."""

from __future__ import annotations

import html

import numpy as np
import pytest
import torch

from nbopt.notebook.charts.colours import OTHERS, PAST
from nbopt.notebook.panel.panel import panel_of
from nbopt.viz.curves import smoothed, to_axis
from tests.notebook.frontend import eventually


@pytest.fixture
def trained(make_run, show):
    run = make_run()
    run.step(30)
    run.set(lr=0.5)
    run.step(30)
    return run, show(run)


def at_rest(run, step):
    return lambda: run.state.name == "PAUSED" and run.step_count == step


def pick(page, panel, x):
    page.tell(panel.bridge.companion, {"pick": x})


def test_a_pick_is_the_step_to_go_back_to(page, trained):
    run, panel = trained
    pick(page, panel, 12.4)
    assert panel.transport.target.value == "12"
    eventually(lambda: panel.charts[0].over.pin == 12)
    page.click(panel.transport.buttons["rewind"])
    eventually(at_rest(run, 12))
    eventually(lambda: run.journal[-1][:5] == (60, "rewind", 60, 12, "panel"))
    eventually(lambda: panel.transport.target.value == "" and panel.charts[0].over.pin is None)
    assert run.hyperparams["lr"] == 1e-3


@pytest.mark.parametrize(("axis", "x", "step"), [("epoch", 2.0, 4), ("step", 1e9, 60), ("step", -5, 0)])
def test_a_pick_is_a_step_of_the_run_whatever_the_axis(page, trained, axis, x, step):
    _run, panel = trained
    panel.toolbar.view = panel.toolbar.view._replace(axis=axis)
    pick(page, panel, x)
    assert panel.transport.target.value == str(step)
    pick(page, panel, None)
    assert panel.transport.target.value == ""


def test_without_a_pick_it_is_the_best_and_what_is_no_step_is_refused(page, trained):
    run, panel = trained
    best = run.snapshots.best.step
    page.click(panel.transport.buttons["branch"])
    eventually(lambda: run.branches and run.branches[0].step_count == best)
    eventually(lambda: not panel.transport.aside.is_busy)
    page.do(panel.transport.target, value="soon")
    page.click(panel.transport.buttons["rewind"])
    eventually(lambda: "'soon'" in html.unescape(panel._error.value))
    assert "a step from 0 to 60" in panel._error.value
    assert run.step_count == 60
    page.do(panel.transport.target, value="61")
    page.click(panel.transport.buttons["branch"])
    eventually(lambda: "61" in panel._error.value)
    assert len(run.branches) == 1


def test_going_back_while_it_trains_ends_at_rest_there(page, make_run, show):
    run = make_run()
    panel = show(run)
    run.start()
    eventually(lambda: run.step_count > 50)
    pick(page, panel, 20)
    page.click(panel.transport.buttons["rewind"])
    eventually(at_rest(run, 20))
    eventually(lambda: not panel.transport.buttons["start"].disabled)


def test_a_branch_has_a_panel_below_and_each_is_drawn_beside_the_other(page, trained):
    run, panel = trained
    page.answer(panel)
    pick(page, panel, 40)
    page.click(panel.transport.buttons["branch"])
    eventually(lambda: len(panel.family.children) == 2)
    (branch,) = panel.transport.branches
    # Small, so that both are in sight, and brought there.
    small = panel_of(branch)
    assert "nbopt-compact" in small.widget._dom_classes and "nbopt-compact" not in panel.widget._dom_classes
    told = {"method": "custom", "content": {"reveal": branch.id}}
    eventually(lambda: told in page.sent(panel.bridge.companion))
    page.do(small.compact.whole, value=True)
    eventually(lambda: "nbopt-compact" not in small.widget._dom_classes)
    assert run.branches == [branch] and branch.step_count == 40 and branch.parent == run.id
    branch.step(50)
    eventually(lambda: panel.charts[0]._x.max == 90)
    curves = panel.charts[0].curves
    assert curves.colors[:2] == [OTHERS[0]] * 2
    assert curves.x[:2].max() == 90 and curves.x[2:].max() == 60
    assert "branch at 40" in panel.charts[0]._head.value
    assert panel.charts[0].keys == ["", "branch at 40", "", "", "training", "validation"]
    assert not torch.equal(run.model[0].weight, branch.model[0].weight)
    assert run.step_count == 60
    branch.stop()


@pytest.mark.parametrize("axis", ["step", "epoch", "time"])
def test_what_a_rewind_gave_up_stays_as_a_ghost(trained, axis):
    run, panel = trained
    panel.bridge.close()
    panel.toolbar.view = panel.toolbar.view._replace(axis=axis)
    panel._paint()
    before, end = panel.charts[0].curves.y[-1].copy(), panel.charts[0]._x.max
    run.rewind(10)
    panel._paint()
    curves, begin = panel.charts[0].curves, np.float32(to_axis(run.history, np.array([10.0]), axis)[0])
    assert curves.colors[:2] == [PAST, PAST]
    assert panel.charts[0]._x.max == end  # nothing jumps
    assert curves.x[:2].min() >= begin and curves.x[2:].max() <= begin
    assert np.isin(curves.y[1], before).all()


def test_what_was_given_up_is_drawn_whatever_had_been_drawn_before(make_run, show):
    run = make_run()
    panel = show(run)
    panel.bridge.close()  # from here on it paints only when told to, not at once: as for a page that draws slowly
    for end in range(30, 50):
        run.step(end - run.step_count)
        values = run.history["loss"][1].copy()
        if end % 3 == 0:
            panel._paint()
        run.rewind(20)
        if end % 2 == 0:
            run.step(2)
        panel._paint()
        chart = panel.charts[0]
        assert chart.curves.colors[:2] == [PAST, PAST]
        assert chart.curves.x[0].max() == end - 1 and chart.keys[0] == "before the rewind, training"
        assert "before the rewind" in chart._head.value
        smooth = smoothed(values, 0.6, np.ones(len(values)))
        np.testing.assert_allclose(chart.curves.y[0][: end - 20], smooth[20:], rtol=1e-5)
