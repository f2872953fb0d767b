"""The arrow beside a control's name: which way the validation loss would fall."""

import pytest

from tests.notebook.frontend import eventually


@pytest.mark.parametrize(("lr", "way"), [(1e-4, "right"), (0.5, "left")])
def test_an_arrow_tells_which_way_the_loss_would_fall_once_somebody_asked(page, make_run, show, lr, way):
    run = make_run(optimizer="sgd" if way == "right" else "adam", lr=lr, store=None)
    run.step(3)
    panel = show(run)
    control, other = panel.controls["lr"], panel.controls["batch_size"]
    eventually(lambda: "nbopt-which" in control.head.value)
    assert "nbopt-slope" not in control.head.value and "nbopt-which" not in other.head.value
    journal, measured = len(run.journal), run.history.measured
    page.tell(panel.bridge.companion, {"which": "lr"})
    eventually(lambda: f"would fall to the {way}" in control.head.value)
    assert (">▸<" if way == "right" else ">◂<") in control.head.value
    assert (len(run.journal), run.history.measured) == (journal, measured)
    slope = run.hypergradient("weight_decay", steps=2)["weight_decay"]
    eventually(lambda: "2 steps on from step 3" in panel.controls["weight_decay"].head.value)
    assert ("left" if slope > 0 else "right") in panel.controls["weight_decay"].head.value
    assert f"would fall to the {way}" in control.head.value  # what was found before stays


def test_what_has_no_slope_is_said_in_the_panel(page, make_run, show):
    run = make_run(optimizer="rmsprop", store=None)
    panel = show(run)
    page.tell(panel.bridge.companion, {"which": "lr"})
    eventually(lambda: "cannot be differentiated: no formula for this optimizer" in panel._error.value)


def test_a_descent_shows_where_it_went(make_run, show):
    run = make_run(optimizer="sgd", hyperdescent="lr", hyperdescent_every=5, store=None)
    panel = show(run)
    control = panel.controls["lr"]
    run.step(12)
    eventually(lambda: "20 steps on from step 10" in control.head.value)
