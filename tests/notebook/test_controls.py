"""The controls of a panel: what a person does at the page, what the run does, and that the two agree in the end."""

from __future__ import annotations

import threading

from torch import nn

from nbopt.formatting import number
from nbopt.notebook.panel.controls import GONE, make_control
from tests.notebook.frontend import eventually
from tests.notebook.inputs import changes, page_shows, settled, shows

MOVED = [
    ("lr", 2e-3),
    ("batch_size", 128),
    ("weight_decay", 0.0012),
    ("dropout", 0.5),
    ("patience", 7),
    ("validate_every", 64),
]


def test_a_slider_moved_at_the_page_asks_for_the_stop_under_its_thumb(page, make_run, show):
    run = make_run()
    panel = show(run)
    for known, (name, chosen) in enumerate(MOVED):
        slider, _box = panel.controls[name].inputs
        old = run.hyperparams[name]
        page.do(slider, index=[value for _label, value in slider.options].index(chosen))
        assert changes(run)[known:] == [(name, old, chosen, "panel")]
        eventually(lambda: settled(page, panel))


TYPED = [
    ("lr", "0.0123", 0.0123),
    ("lr", " 3e-5 ", 3e-5),
    ("lr", "25", 25.0),  # beyond what is offered
    ("lr", "0", 0.0),
    ("weight_decay", "1e-9", 1e-9),
    ("batch_size", "100", 100),
    ("batch_size", "1e3", 1000),
    ("batch_size", "1,024", 1024),  # as the panel writes what is counted
    ("lr", "0,002", 2e-3),
    ("lr", "1e-2", 1e-2),
    ("lr", "2,5e-4", 2.5e-4),
    ("patience", "9007199254740993", 9007199254740993),  # no float on the way
]


def test_a_value_typed_at_the_page_is_asked_for_to_the_last_digit(page, make_run, show):
    run = make_run()
    panel = show(run)
    for count, (name, text, value) in enumerate(TYPED, 1):
        _slider, box = panel.controls[name].inputs
        page.do(box, value=text)
        assert run.hyperparams[name] == value and type(run.hyperparams[name]) is type(value), text
        assert len(changes(run)) == count
        eventually(lambda: settled(page, panel))


def test_a_drop_down_and_a_check_box_ask_too(page, make_run, show):
    run = make_run()
    panel = show(run)
    menu, flag = panel.controls["optimizer"].inputs[0], panel.controls["nesterov"].inputs[0]
    page.do(menu, index=list(menu.options).index("sgd"))
    page.do(flag, value=True)
    assert changes(run) == [("optimizer", "adam", "sgd", "panel"), ("nesterov", False, True, "panel")]
    eventually(lambda: GONE in panel.controls["beta1"].widget._dom_classes)
    assert GONE not in panel.controls["momentum"].widget._dom_classes
    eventually(lambda: settled(page, panel))


def test_initial_weights_are_chosen_before_the_first_step(page, make_run, show):
    run = make_run()
    panel = show(run)
    control = panel.controls["initialization"]
    (menu,) = control.inputs
    page.do(menu, index=list(menu.options).index("xavier"))
    assert changes(run) == [("initialization", "as given", "xavier", "panel")]
    run.step()
    page.do(menu, index=list(menu.options).index("kaiming"))
    assert len(changes(run)) == 1
    eventually(lambda: "it acts only before the first step" in control.head.value and menu.value == "xavier")


REFUSED = [
    ("lr", "-1", "lr must be a finite number at least 0; got -1"),
    ("lr", "nan", "got nan"),
    ("lr", "1e999", "got inf"),
    ("lr", "<b>fast</b>", "got &#x27;&lt;b&gt;fast&lt;/b&gt;&#x27;"),
    ("lr", "", "got &#x27;&#x27;"),
    ("dropout", "1", "below 1"),
    ("batch_size", "2.5", "a whole number"),
    ("batch_size", "2,5", "got 2.5"),
    ("lr", "1,000,000", "got &#x27;1,000,000&#x27;"),
    ("patience", "0", "at least 1"),
    ("patience", "9" * 5000, "whole number"),
]


def test_what_is_not_legal_is_refused_in_words_and_stays_to_be_put_right(page, make_run, show):
    run = make_run()
    panel = show(run)
    before = dict(run.hyperparams)
    for name, text, words in REFUSED:
        control = panel.controls[name]
        _slider, box = control.inputs
        page.do(box, value=text)
        eventually(lambda head=control.head, words=words: words in head.value)
        assert dict(run.hyperparams) == before and len(run.journal) == 0, text
        assert page.state(box)["value"] == text

        page.do(box, value=number(before[name]))  # the old value typed again
        eventually(lambda head=control.head: "problem" not in head.value)
        assert len(run.journal) == 0
        eventually(lambda: settled(page, panel))


def test_a_change_made_by_code_clears_the_refusal(page, make_run, show):
    run = make_run()
    panel = show(run)
    control = panel.controls["lr"]
    page.do(control.inputs[1], value="fast")
    eventually(lambda: "nbopt-problem" in control.head.value)
    run.set(lr=0.5)
    eventually(lambda: "nbopt-applied" in control.head.value and settled(page, panel))


def test_an_error_that_is_not_about_the_value_is_told_too_and_the_control_goes_back(page, make_run, show):
    run = make_run()
    panel = show(run)

    def refuse(name, value):
        raise RuntimeError("the <optimizer> is out")

    control = make_control(run.hyperparams.spec("optimizer"), "adam", refuse, lambda: None)
    menu = control.inputs[0]
    page.do(menu, index=list(menu.options).index("sgd"))
    control.show("adam", None, False, "", True, "adam", "")
    assert menu.value == "adam" and page_shows(page, control, "adam")
    assert "the &lt;optimizer&gt; is out" in control.head.value
    assert panel.run.hyperparams["optimizer"] == "adam"


def test_a_value_set_by_code_appears_in_slider_and_box_and_is_not_sent_back(page, make_run, show):
    run = make_run()
    panel = show(run)
    for known, value in enumerate((0.001234, 5e-9, 40.0, 0.0, 0.3)):
        old = run.hyperparams["lr"]
        run.set(lr=value)
        eventually(lambda value=value: settled(page, panel) and shows(panel.controls["lr"], value))
        assert changes(run)[known:] == [("lr", old, value, "code")]


def test_beyond_the_offered_range_a_slider_widens_and_stays_so(page, make_run, show):
    run = make_run()
    panel = show(run)
    slider = panel.controls["lr"].inputs[0]
    top = slider.options[-1][1]
    for value in (30.0, 1e-4, 50.0, 40.0):
        run.set(lr=value)
        eventually(lambda: shows(panel.controls["lr"], run.hyperparams["lr"]))
    run.set(lr=1e-4)
    eventually(lambda: settled(page, panel))
    assert [value for _label, value in slider.options][-2:] == [top, 50.0]  # the widest, and only that


def test_new_values_never_move_the_other_stops_so_that_a_position_means_what_it_meant(page, make_run, show):
    run = make_run()
    panel = show(run)
    slider = panel.controls["lr"].inputs[0]
    before = [value for _label, value in slider.options]
    for value in (1.1e-3, 1e-9, 0.0, 99.0, 0.0551):
        run.set(lr=value)
        eventually(lambda: shows(panel.controls["lr"], run.hyperparams["lr"]))
        now = [value for _label, value in slider.options]
        assert sum(a != b for a, b in zip(before, now, strict=False)) <= 1
    run.set(lr=1e-3)
    eventually(lambda: shows(panel.controls["lr"], 1e-3))
    assert [value for _label, value in slider.options][: len(before)] == before


def test_a_new_value_with_new_stops_goes_out_in_one_message(page, make_run, show):
    """In two, the slider would show another value in between."""
    run = make_run()
    panel = show(run)
    slider = panel.controls["lr"].inputs[0]
    eventually(lambda: panel.bridge.companion.frame)
    since = len(page.messages)
    run.set(lr=0.00123)
    eventually(lambda: settled(page, panel))
    updates = [data["state"] for data in page.sent(slider, since)]
    assert [sorted(state) for state in updates] == [["_options_labels", "index"]]


def test_a_choice_that_is_no_more_puts_the_page_right(page, make_run, show):
    run = make_run()
    panel = show(run)
    eventually(lambda: panel.bridge.companion.frame)
    slider = panel.controls["lr"].inputs[0]
    page.do(slider, index=len(slider.options))
    assert len(run.journal) == 0
    assert page_shows(page, panel.controls["lr"], 1e-3)


def test_what_the_browser_sends_beside_the_value_asks_for_nothing(page, make_run, show):
    run = make_run()
    panel = show(run)
    with panel.controls["lr"].lock:  # the bridge has not shown it yet
        run.set(lr=0.5)
        page.do(panel.controls["lr"].inputs[0], _view_count=1)
    assert changes(run) == [("lr", 1e-3, 0.5, "code")]


class Slow(nn.Linear):
    """A model whose steps wait at a gate."""

    def __init__(self, gate):
        super().__init__(4, 2)
        self.gate, self.waits = [gate], threading.Event()

    def forward(self, x):
        self.waits.set()
        self.gate[0].wait(20)
        return super().forward(x)


def test_a_request_is_shown_as_such_until_it_acts_and_the_inputs_stay_where_the_user_put_them(page, make_run, show):
    gate = threading.Event()
    run = make_run(model=Slow(gate))
    panel = show(run)
    control = panel.controls["lr"]
    slider, box = control.inputs
    run.start(wait=False)
    assert run.model.waits.wait(20)  # in a step: before it, a request would act at once
    for text in ("0.01", "0.02", "0.03"):  # while it waits, paint after paint
        page.do(box, value=text)
        eventually(lambda text=text: page.answer(panel) and f"requested {text}" in control.head.value)
        assert run.hyperparams["lr"] == 1e-3 and box.value == text and slider.value == 1e-3
    page.do(box, value="0.001")  # and back: what is shown still, but not what was asked for last
    gate.set()
    run.pause()
    eventually(lambda: settled(page, panel))
    assert run.hyperparams["lr"] == 1e-3
    assert [new for _name, _old, new, _source in changes(run)] == [0.01, 0.02, 0.03, 0.001]


def test_a_request_that_acts_is_not_shown_as_waiting_because_another_one_is(page, make_run, show):
    run = make_run()
    panel = show(run)
    panel.bridge.close()
    page.do(panel.controls["lr"].inputs[1], value="0.5")
    run.changes.ask({"l1": 0.1}, "code")
    panel._paint()
    assert "applied at step 0" in panel.controls["lr"].head.value


def test_a_hyperparameter_that_cannot_act_says_why_and_takes_no_input(page, make_run, show):
    run = make_run(val=None)
    panel = show(run)
    control = panel.controls["patience"]
    eventually(lambda: "without val" in control.head.value.lower())
    assert "nbopt-idle" in control.widget._dom_classes  # the sentence stands in the place of the inputs
    assert all(page.state(item)["disabled"] for item in control.inputs)
    assert not any(page.state(item)["disabled"] for item in panel.controls["lr"].inputs)


def test_a_pattern_typed_at_the_page_is_asked_for_as_it_is(page, make_run, show):
    run = make_run()
    panel = show(run)
    control = panel.controls["bits_layers"]
    layer = control.spec.layers[0]
    page.do(control.inputs[0], value=f"*, {layer}=8")
    eventually(lambda: settled(page, panel))
    assert changes(run) == [("bits_layers", "*", f"*, {layer}=8", "panel")]
    page.do(control.inputs[0], value="nowhere")
    eventually(lambda: "layer with weights" in control.head.value)
    assert run.hyperparams["bits_layers"] == f"*, {layer}=8"
