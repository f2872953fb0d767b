"""How fast a run goes and how long it is, in its panel."""

import math

import pytest
import torch

from nbopt.notebook.playground import Playground
from tests.notebook.frontend import eventually
from tests.run.plain_loop import Attached


def names(menu):
    return [text for text, _speed in menu.options]


def test_a_choice_is_the_runs_speed_at_once_and_code_moves_the_menu(page, make_run, show):
    run = make_run()
    panel = show(run)
    menu = panel.transport.speed.widget
    assert names(menu) == ["1 step/s", "10 steps/s", "100 steps/s", "full speed"] and page.state(menu)["index"] == 3
    page.do(menu, index=1)
    assert run.speed == 10
    run.speed = 2.5
    eventually(lambda: menu.value == 2.5)
    assert names(menu)[1] == "2.5 steps/s" and page.state(menu)["index"] == 1
    page.do(menu, index=4)
    assert run.speed is None and not run.journal
    run.speed = 10
    eventually(lambda: page.state(menu)["index"] == 2)
    run.speed = None
    eventually(lambda: page.state(menu)["index"] == 4)


def test_a_loop_without_speeds_has_no_menu(show):
    assert show(Attached(torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=0.1))).transport.speed is None


def test_a_playground_goes_at_sixty_steps_a_second_and_keeps_what_was_chosen(page, one_torch_thread):
    playground = Playground()
    try:
        assert playground.run.speed == 60
        playground.run.speed = None
        playground.change(data="spiral")
        assert playground.run.speed is None
    finally:
        playground.close()


@pytest.mark.parametrize(
    ("given", "told", "longer"), [({"epochs": 3}, "+ 3 epochs", "epochs"), ({"steps": 7}, "+ 7 steps", "steps")]
)
def test_at_the_end_the_first_button_trains_as_much_again_and_a_replay_does_so_too(
    page, make_run, show, given, told, longer
):
    run = make_run(store=None, **given)
    panel = show(run)
    button = panel.transport.buttons["start"]
    assert button.description == "Start"
    (first,) = given.values()
    for times in (1, 2, 3):
        page.click(button)
        eventually(lambda times=times: run.state.name == "FINISHED" and run.hyperparams[longer] == times * first)
        eventually(lambda: button.description == told)
    assert [entry[1:5] for entry in run.journal.changes()] == [
        (longer, first, 2 * first, "panel"),
        (longer, 2 * first, 3 * first, "panel"),
    ]
    twin = run.replay()
    twin.wait()
    assert twin.exact and twin.step_count == run.step_count


def test_after_early_stopping_the_first_button_goes_on(page, make_run, show):
    run = make_run(epochs=None, patience=1, lr=1.0, store=None)
    panel = show(run)
    run.fit()
    eventually(lambda: panel.transport.buttons["start"].description == "Resume")


@pytest.mark.parametrize(("given", "top"), [(600, 6000), (20, 200), (3, 200), (None, math.inf)])
def test_the_slider_of_epochs_reaches_ten_times_what_was_given(make_run, show, given, top):
    run = make_run(epochs=given)
    slider = show(run).controls["epochs"].inputs[0]
    offered = [value for _text, value in slider.options]
    assert offered[-1] == top and offered[0] == 1
    assert all(value % 50 == 0 for value in offered[1:-1]) or top <= 200 or given is None
    run.set(epochs=4)
    assert run.hyperparams["epochs"] == 4
