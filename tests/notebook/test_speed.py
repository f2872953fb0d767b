"""The menu of speeds: it asks the run, and shows what that says."""

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
    assert names(menu) == ["1 step/s", "10 steps/s", "100 steps/s", "full speed"] and menu.value is None
    page.do(menu, index=1)
    assert run.speed == 10
    run.speed = 2.5
    eventually(lambda: menu.value == 2.5)
    assert names(menu)[1] == "2.5 steps/s" and page.state(menu)["index"] == 1
    page.do(menu, index=4)
    assert run.speed is None and not run.journal


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
