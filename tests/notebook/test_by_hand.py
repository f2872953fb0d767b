"""What hands do to controls: reset, undo, take what is usual; and what controls say of themselves."""

from __future__ import annotations

import html
import re

import pytest

import nbopt
from nbopt.hyperparams import Flag, Float, Hyperparams, Tunable
from nbopt.notebook.panel.controls import GONE, IDLE
from nbopt.notebook.panel.head import reason_not_to_act
from tests.notebook.frontend import eventually


def tell(page, panel, **content):
    page.tell(panel.bridge.companion, content)


def type_in(page, panel, name, text):
    page.do(panel.controls[name].inputs[1], value=text)


def changes(run):
    return [tuple(entry[1:5]) for entry in run.journal.changes()]


def text_of(control):
    """What a head says, without its help."""
    return html.unescape(re.sub(r"<[^>]*>", " ", control.head.value.partition('<div class="nbopt-about">')[0]))


def test_the_last_changes_by_hand_are_undone_one_after_the_other_and_journaled(page, make_run, show):
    run = make_run()
    panel = show(run)
    type_in(page, panel, "lr", "0.01")
    type_in(page, panel, "lr", "0.01")  # changes nothing: nothing to undo
    type_in(page, panel, "weight_decay", "0.5")
    eventually(lambda: panel.bridge.companion.undo == "Weight decay back to 0")
    tell(page, panel, undo=True)
    eventually(lambda: panel.bridge.companion.undo == "Learning rate back to 0.001")
    tell(page, panel, undo=True)
    assert changes(run)[2:] == [("weight_decay", 0.5, 0.0, "undo"), ("lr", 0.01, 1e-3, "undo")]
    eventually(lambda: panel.bridge.companion.undo == "")
    tell(page, panel, undo=True)
    eventually(lambda: "Nothing to undo" in panel._error.value)
    assert len(changes(run)) == 4


def test_what_others_changed_since_or_a_rewind_took_back_is_not_undone(page, make_run, show):
    run = make_run()
    panel = show(run)
    run.step(3)
    type_in(page, panel, "weight_decay", "0.5")
    run.step(3)
    type_in(page, panel, "lr", "0.01")
    run.set(lr=0.02)
    tell(page, panel, undo=True)
    assert run.hyperparams["lr"] == 0.02 and run.hyperparams["weight_decay"] == 0.0
    type_in(page, panel, "lr", "0.03")
    run.rewind(3)
    assert panel.by_hand.undoable == ""
    with pytest.raises(ValueError, match="Nothing to undo"):
        panel.by_hand.undo()


def test_an_undone_change_is_replayed(page, make_run, show):
    run = make_run()
    panel = show(run)
    run.step(2)
    type_in(page, panel, "lr", "0.5")
    run.step(2)
    tell(page, panel, undo=True)
    run.step(2)
    again = run.replay()
    again.start()
    again.wait()
    assert list(again.history["loss"][1]) == list(run.history["loss"][1])


def test_what_differs_from_its_default_is_marked_and_reset_by_hand(page, make_run, show):
    run = make_run(lr=0.02)  # with dropout of 0.2, which the model brings: that is its default here
    panel = show(run)
    lr, dropout = panel.controls["lr"], panel.controls["dropout"]
    assert "differs from the default, 0.001" in lr.head.value and "Reset to 0.001" in lr.head.value
    assert "differs" not in dropout.head.value and "Reset to 0.2" in dropout.head.value
    tell(page, panel, reset="lr")
    assert changes(run) == [("lr", 0.02, 1e-3, "panel")]
    eventually(lambda: "differs" not in lr.head.value)
    tell(page, panel, undo=True)
    eventually(lambda: "differs" in lr.head.value)
    tell(page, panel, reset="optimiser")
    eventually(lambda: "does not understand" in panel._error.value)


def test_a_value_refused_is_given_up_for_the_live_one(page, make_run, show):
    panel = show(make_run())
    control = panel.controls["lr"]
    type_in(page, panel, "lr", "fast")
    eventually(lambda: "nbopt-problem" in control.head.value)
    tell(page, panel, restore="lr")
    eventually(lambda: "nbopt-problem" not in control.head.value and page.state(control.inputs[1])["value"] == "0.001")


def test_a_control_tells_its_unit_range_names_and_help(make_run, show):
    run = make_run()
    panel = show(run)
    size, dropout = panel.controls["batch_size"], panel.controls["dropout"]
    assert "samples" in text_of(size) and "0 to 0.9" in text_of(dropout)
    assert '<div class="nbopt-ends"><span>8</span><span>1024</span></div>' in size.head.value
    for words in ("8 to 1024, in powers of 2", "Legal: a whole number at least 1", "In code: batch_size.", "bs,"):
        assert words in size.head.value
    run.set(dropout=0.5)
    eventually(lambda: "applied at step 0" in text_of(dropout))


def test_a_control_that_belongs_to_what_is_not_chosen_is_found_and_says_when_it_acts(page, make_run, show):
    run = make_run()
    panel = show(run)
    assert "momentum" not in panel.controls.made
    tell(page, panel, find=["momentum", "step_gamma"])
    momentum = panel.controls.made["momentum"]
    assert text_of(momentum).split() == "Momentum 0 Acts where Optimizer is sgd or rmsprop.".split()
    assert {GONE, IDLE} <= set(momentum.widget._dom_classes)
    words = {name: text.split() for name, text in panel.bridge.companion.words.items()}
    assert {"l2", "wd"} <= set(words["weight_decay"]) and {"scheduler", "lr_scheduler"} <= set(words["schedule"])
    assert "Acts where Schedule is step." in text_of(panel.controls.made["step_gamma"])
    run.set(optimizer="sgd")
    eventually(lambda: not {GONE, IDLE} & set(momentum.widget._dom_classes))
    assert "Acts" not in text_of(momentum)
    tell(page, panel, find=["momentun"])
    eventually(lambda: "does not understand" in panel._error.value)


def test_a_control_says_what_must_be_on_for_it_to_act(make_run, show):
    run = make_run()
    panel = show(run)
    patience, gain = panel.controls["patience"], panel.controls["initial_gain"]
    assert "Acts once Stop early is on." in text_of(patience) and not patience.inputs[0].disabled
    assert "Acts once Initial weights is not “as given”." in text_of(gain)
    run.set(early_stopping=True, initialization="xavier", optimizer="sgd")
    eventually(lambda: "Acts" not in text_of(patience) + text_of(gain))
    assert "Acts once Momentum is above 0." in text_of(panel.controls["nesterov"])


def test_a_swapped_optimizer_offers_its_usual_rate_until_a_rate_is_chosen(page, make_run, show):
    run = make_run()
    panel = show(run)
    offer = panel.controls["optimizer"].widget.children[-1]
    is_offered = lambda: "nbopt-hidden" not in offer._dom_classes  # noqa: E731
    assert not is_offered()
    run.set(optimizer="sgd")
    eventually(is_offered)
    assert offer.description == "Set Learning rate 0.01, usual with sgd"
    page.click(offer)
    assert changes(run)[-1] == ("lr", 1e-3, 0.01, "panel")
    eventually(lambda: not is_offered())
    run.set(optimizer="adam")
    eventually(is_offered)
    run.set(lr=0.003)  # at the same step, but later
    eventually(lambda: not is_offered())


def test_controls_know_nothing_of_a_technique_but_what_it_declares(make_run, show):
    """A user's own has a unit, a place among the first, and a condition, by declaring them."""

    class Shake(nbopt.Technique):
        shaking = Flag(False, label="Shake", group="Own")
        force = Float(
            1.0, low=0.0, high=9.0, label="Force", group="Own", unit="newtons", rank=9, needs="shaking", synonyms="push"
        )

        def change_gradients(self, weights):
            pass

    panel = show(make_run(techniques=[Shake]))
    assert panel.column.groups[""].names[-1] == "force"
    assert "newtons" in text_of(panel.controls["force"])
    assert "Acts once Shake is on." in text_of(panel.controls["force"])
    assert panel.bridge.companion.words["force"] == "push"


def test_a_condition_that_nothing_declares_is_none():
    class Lonely(Tunable):
        lonely = Float(1.0, low=0.0, high=1.0, needs="nowhere")

    values = Hyperparams()
    values.declare(Lonely)
    assert reason_not_to_act("lonely", values, {}) == ""
