"""The panel's words about a run that failed, and about steps done again."""

import re
import secrets
import threading
import warnings

import pytest
from torch import nn

from nbopt.notebook.panel.status import facts, journal_list
from nbopt.notebook.static_view import still
from nbopt.record.journal import Journal
from tests.notebook.frontend import eventually, every_widget


class Moody(nn.Linear):
    def __init__(self):
        super().__init__(4, 2)
        self.is_well = False

    def forward(self, x):
        if not self.is_well and self.training:
            raise ArithmeticError("no <mood>")
        return super().forward(x)


def test_a_fault_stands_in_the_panel_with_traceback_and_advice_until_the_run_goes_on(page, make_run, show):
    model = Moody()
    run = make_run(model=model)
    panel = show(run)
    start = next(item for item in every_widget(panel.widget) if "nbopt-start" in getattr(item, "_dom_classes", ()))
    page.click(start)
    eventually(lambda: "nbopt-error" in panel._error.value)
    text = panel._error.value
    assert "<b>ArithmeticError</b>: no &lt;mood&gt;" in text and "raised in step 0, on a batch of shape (64, 4)" in text
    assert "in forward" in text and "test_status.py" in text  # the user's own line
    assert text.count("press Resume to continue from step 0") == 2  # whole where it is unfolded, too
    model.is_well = True
    page.click(start)
    eventually(lambda: page.answer(panel) and panel._error.value == "" and run.step_count > 5)


def test_the_header_tells_loss_and_best_first_and_names_the_keys(make_run, show):
    run = make_run(store=None)
    panel = show(run)
    run.step(9)
    eventually(lambda: "step</i> 9" in panel._status.value)
    told = re.findall(r'nbopt-fact-(\w+)"><i>', panel._status.value)
    assert told == ["loss", "best", "epoch", "step", "speed", "left"]
    keys = re.findall(r"<dt>(.+?)</dt>", panel._title.value)
    assert keys == ["Space", "s", "b", "+ and -"]


@pytest.mark.parametrize("exact", [True, False])
def test_the_panel_says_whether_steps_done_again_were_exact(page, make_run, show, monkeypatch, exact):
    monkeypatch.setattr("nbopt.training.snapshots.securing.SECONDS", 1e9)

    def forward(model, batch):
        return model(batch[0]) * (1 if exact else 1 + secrets.randbelow(10**6)), batch[1]

    run = make_run(forward=forward)
    panel = show(run)
    run.step(9)
    eventually(lambda: page.answer(panel) and "step</i> 9" in panel._status.value)
    assert "exact" not in panel._device.value + panel._error.value
    assert "exact" not in still(run, {"loss": "Loss"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run.rewind(5)
    eventually(lambda: [page.answer(panel)] and "exact" in panel._device.value + panel._error.value)
    if exact:
        assert " · exact" in panel._device.value
        assert ">exact</div>" in still(run, {"loss": "Loss"})
    else:
        assert "not exact: step " in panel._error.value
        assert "not exact: step " in still(run, {"loss": "Loss"})
        assert "not exact: step " in journal_list(run.journal, str, unfolded=True)
    assert ("not exact" in panel._error.value) is not exact


def test_a_change_of_the_shape_and_what_a_swap_dropped_are_told_in_their_words():
    journal = Journal()
    journal.event(5, "edit", {"edit": "widen", "layer": "<b>", "by": 8, "reason": "<b>: 16 → 24 units"})
    journal.event(6, "carried", "dropped: momentum")
    told = journal_list(journal, str, unfolded=True)
    assert "<td>&lt;b&gt;: 16 → 24 units</td>" in told and "<td>dropped: momentum</td>" in told


class Gated(nn.Linear):
    """Waits for a gate, which copies share, in the thread of a run."""

    gate = threading.Event()

    def forward(self, x):
        if threading.current_thread() is not threading.main_thread():
            self.gate.wait()
        return super().forward(x)


def test_a_replay_tells_how_many_of_its_steps_are_done(make_run):
    Gated.gate.set()
    run = make_run(model=Gated(4, 3), epochs=1000)
    run.step(3)
    Gated.gate.clear()
    twin = run.replay()
    assert (twin.last_step, twin.share, dict(facts(twin))["step"]) == (3, 0.0, "0 / 3")
    Gated.gate.set()
    twin.wait()
    assert twin.exact and twin.last_step is None
    assert (twin.share, dict(facts(twin))["step"]) == (run.share, "3")
