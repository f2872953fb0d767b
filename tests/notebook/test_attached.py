"""The panel of a loop that is not nbopt's own: it takes what a session can do, and shows nothing of the rest."""

import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from nbopt.notebook.panel.status import facts
from nbopt.notebook.static_view import still
from nbopt.training.state import RunState
from tests.notebook.frontend import eventually, every_widget
from tests.run import plain_loop


@pytest.fixture
def attached(one_torch_thread):
    """A session, the optimizer of the user's, and the thread of the loop; it is stopped at the end."""
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, weight_decay=0.0)
    session = plain_loop.Attached(optimizer)
    data = torch.randn(200, 4), torch.randint(3, (200,))
    thread = threading.Thread(target=plain_loop.train, args=(session, model, optimizer, *data), daemon=True)
    yield session, optimizer, thread
    session.stop()
    if thread.ident is not None:
        thread.join(20)


def test_the_loop_and_what_attaches_it_are_a_hundred_lines():
    assert len(Path(plain_loop.__file__).read_text().splitlines()) <= 100


def test_what_a_session_cannot_do_has_no_control(attached, show):
    session, _optimizer, _thread = attached
    panel = show(session)
    classes = {name for widget in every_widget(panel.widget) for name in getattr(widget, "_dom_classes", ())}
    assert {"nbopt-panel", "nbopt-start", "nbopt-pause", "nbopt-stop", "nbopt-hp-lr"} <= classes
    assert classes.isdisjoint({"nbopt-rewind", "nbopt-branch", "nbopt-step", "nbopt-target"})
    assert set(panel.transport.buttons) == set(session.abilities)
    assert [name for name, _value in facts(session)] == ["step"]  # no epochs, as nothing counts in them
    assert "nbopt.open" not in still(session, {"loss": "Loss"})
    for cannot in (session.step, lambda: session.rewind(0), session.branch):
        with pytest.raises(NotImplementedError, match="it can: pause, start, stop"):
            cannot()


def test_curves_live_and_a_slider_acts_on_the_users_own_optimizer(attached, page, show):
    session, optimizer, thread = attached
    panel = show(session)
    thread.start()
    eventually(lambda: session.state is RunState.RUNNING and session.step_count > 50)
    curves = panel.charts[0].curves
    eventually(lambda: page.answer(panel) and page.state(curves) and len(curves.x[0]) > 1)
    before = session.step_count
    page.do(panel.controls["lr"].inputs[1], value="0.25")
    eventually(lambda: optimizer.param_groups[0]["lr"] == 0.25)
    eventually(lambda: page.answer(panel) and "applied" in panel.controls["lr"].head.value)
    (change,) = session.journal.changes()
    assert (change.name, change.old, change.new, change.source) == ("lr", 0.05, 0.25, "panel")
    assert before <= change.step <= session.step_count
    session.set(weight_decay=0.125)
    eventually(lambda: optimizer.param_groups[0]["weight_decay"] == 0.125)


def test_its_buttons_pause_resume_and_stop_the_users_loop(attached, page, show):
    session, optimizer, thread = attached
    panel = show(session)
    thread.start()
    eventually(lambda: session.step_count > 20)
    page.click(panel.transport.buttons["pause"])
    eventually(lambda: session.state is RunState.PAUSED)
    eventually(lambda: "Paused" in panel._status.value)
    at = session.step_count
    page.do(panel.controls["lr"].inputs[1], value="0.5")  # also while it rests
    eventually(lambda: optimizer.param_groups[0]["lr"] == 0.5)
    assert session.step_count == at == session.journal.changes()[-1].step
    page.click(panel.transport.buttons["start"])
    eventually(lambda: session.step_count > at + 20)
    page.click(panel.transport.buttons["stop"])
    thread.join(20)
    assert not thread.is_alive()
    assert session.state is RunState.STOPPED
    assert [entry.name for entry in session.journal] == ["running", "paused", "lr", "running", "stopped"]
    assert {entry.source for entry in session.journal} == {"code", "panel"}
    eventually(lambda: panel.transport.buttons["stop"].disabled and not panel.transport.buttons["start"].disabled)


def test_every_step_is_in_its_history_once(attached):
    session, _optimizer, thread = attached
    thread.start()
    eventually(lambda: session.step_count > 300)
    session.stop()
    thread.join(20)
    steps, losses = session.history["loss"]
    assert steps.tolist() == list(range(session.step_count))
    assert len(losses) == session.step_count
