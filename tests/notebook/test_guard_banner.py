"""The banner of the guard: what it tells, until when, and what its buttons do."""

import html
import math

import pytest
from torch import nn

import nbopt
from nbopt.notebook.panel.guard_banner import Retreat, find_retreat
from tests.notebook.frontend import eventually


def diverge(run, rate=1e12):
    """Train with a rate that makes the guard go back."""
    run.set(lr=rate)
    run.step(30)


@pytest.fixture
def guarded(make_run, show):
    run = make_run(optimizer="sgd", lr=0.25, store=None)
    run.step(20)
    panel = show(run)
    return run, panel


def said(panel):
    return html.unescape(panel._error.value)


def test_it_tells_what_exploded_where_it_went_back_to_and_both_rates_until_it_is_dismissed(page, guarded):
    run, panel = guarded
    assert panel.banner.widget.children == () and panel._error.value == ""
    diverge(run)
    now = run.hyperparams["lr"]
    eventually(lambda: "nbopt-guarded" in panel._error.value)
    text = next(entry.new for entry in reversed(run.journal[:]) if entry.name == "diverged")
    step = next(entry.new for entry in reversed(run.journal[:]) if entry.name == "rewind")
    assert f"Diverged: {text}. The guard went back to step {step}; learning rate 1e12 → {now:g}." in said(panel)
    assert [button.description for button in panel.banner.widget.children] == ["Keep 1e12", "Turn guard off", "Dismiss"]
    run.set(batch_size=8)
    run.step(5)
    eventually(lambda: "step</i> " in panel._status.value and not run.pending)
    assert "nbopt-guarded" in panel._error.value
    page.click(panel.banner.widget.children[2])
    eventually(lambda: panel._error.value == "" and panel.banner.widget.children == ())
    assert run.hyperparams["lr"] == now and run.hyperparams["recover"]
    diverge(run, 1e11)  # the next one is told again
    eventually(lambda: "learning rate 1e11 →" in said(panel))


def test_keep_puts_the_rate_back_that_was_asked_for(page, guarded):
    run, panel = guarded
    diverge(run)
    eventually(lambda: panel.banner.widget.children)
    page.click(panel.banner.widget.children[0])
    eventually(lambda: run.hyperparams["lr"] == 1e12 and panel._error.value == "")
    assert run.journal[-1][1:5] == ("lr", run.journal[-1].old, 1e12, "panel")


def test_turn_off_has_it_train_on_whatever_the_loss_is(page, guarded):
    run, panel = guarded
    diverge(run)
    eventually(lambda: panel.banner.widget.children)
    page.click(panel.banner.widget.children[1])
    eventually(lambda: run.hyperparams["recover"] is False and panel._error.value == "")
    run.set(lr=1e12)
    run.step(60)
    assert not math.isfinite(run.history.last("loss"))


class Watchman(nbopt.Technique):
    """Another one that sends a run back, of the user's own."""

    watch = nbopt.Flag(True, label="Watch", group="Safety")
    off = {"watch": False}  # noqa: RUF012

    def find_trouble(self, losses, sound=False):
        return next((k for k, loss in enumerate(losses) if loss > 100), None) if self.watch else None


def test_turn_off_turns_off_whatever_sends_a_run_back(page, make_run, show):
    run = make_run(optimizer="sgd", lr=0.25, store=None, techniques=[Watchman])
    run.step(20)
    panel = show(run)
    diverge(run)
    eventually(lambda: panel.banner.widget.children)
    page.click(panel.banner.widget.children[1])
    eventually(lambda: not run.hyperparams["recover"] and not run.hyperparams["watch"])
    assert {entry.source for entry in run.journal.changes()[-2:]} == {"panel"}


def test_what_was_told_before_a_run_was_opened_again_is_not_told_again(make_run, show, tmp_path):
    def model():
        return nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))

    run = make_run(model=model(), optimizer="sgd", store=tmp_path)
    run.step(20)
    diverge(run)
    again = nbopt.open(run.id, model(), run.spec.origin, metrics=["accuracy"], store=tmp_path)
    panel = show(again)
    assert any(entry.name == "diverged" for entry in again.journal) and "Diverged" not in panel._error.value
    again.set(lr=0.25)
    diverge(again)
    eventually(lambda: "Diverged" in panel._error.value)


def test_the_rate_is_that_which_somebody_asked_for_not_one_of_the_guard_s_nor_one_that_was_taken_back(make_run):
    run = make_run(optimizer="sgd", lr=0.25, store=None)
    run.step(5)
    run.set(lr=0.5)
    run.step(5)
    run.rewind(3)  # before that
    run.set(lr=1e12)
    run.step(30)
    run.rewind(2)
    run.set(lr=1e11)
    run.step(30)
    found = find_retreat(run.journal[:], 0)
    assert isinstance(found, Retreat) and found.mine == 1e11 and found.now <= 0.125
    assert find_retreat(run.journal[:], len(run.journal)) is None


def test_a_run_that_fails_shows_its_error_instead(page, make_run, show):
    made = []

    class Spoilt(nn.Linear):
        def forward(self, x):
            return super().forward(x) * (math.nan if made and made[0].step_count > 20 else 1)

    made.append(make_run(model=Spoilt(4, 2), optimizer="sgd", store=None))
    panel = show(made[0])
    with pytest.raises(FloatingPointError):
        made[0].fit()
    eventually(lambda: "FloatingPointError" in panel._error.value)
    assert panel.banner.widget.children == () and "nbopt-guarded" not in panel._error.value
