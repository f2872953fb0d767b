"""The panel of a population, as the kernel sees it."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from torch import nn

import nbopt
from nbopt.notebook.frontend import bridge
from nbopt.notebook.population.panel import PopulationPanel
from nbopt.notebook.population.still import draw_still
from nbopt.notebook.static_view import MOST_BYTES
from tests.notebook.frontend import eventually, every_widget


@pytest.fixture
def make(one_torch_thread):
    made = []

    def make(**settings):
        torch.manual_seed(0)
        x = torch.randn(96, 4)
        data = {"train": (x, (x[:, 0] > 0).long()), "val": 0.25, "epochs": 3, "device": "cpu"}
        made.append(nbopt.Population(nn.Linear(4, 2), **{**data, **settings}))
        return made[-1]

    yield make
    for population in made:
        population.stop()


@pytest.fixture
def show(page, monkeypatch):
    monkeypatch.setattr(bridge, "FRAME_SECONDS", 0.0)
    monkeypatch.setattr("nbopt.notebook.population.panel._SHARE", 0)
    panels = []

    def show(population):
        panels.append(PopulationPanel(population))
        return panels[-1]

    yield show
    for panel in panels:
        panel.close()


def numbers(panel, name, form):
    data = getattr(panel.board, name)
    return [value for (value,) in struct.iter_unpack(form, data)]


def choose(page, panel, *members):
    page.tell(panel.board, {"choose": list(members)})
    eventually(lambda: panel.board.chosen == list(members))


def test_curves_points_and_rows_are_what_members_measured(make, show, page):
    population = make(lr=[1e-3, 1e-2, 1e-1])
    panel = show(population)
    assert panel.board.metric == "val_loss" and panel.board.steps == b"" and panel.board.champion["member"] == -1
    population.fit()
    panel.bridge.wake()
    eventually(lambda: page.state(panel.board)["champion"]["member"] == population.best.number)
    losses = [member.history.last("val_loss") for member in population]
    assert numbers(panel, "now", "f") == pytest.approx(losses)
    assert numbers(panel, "best", "f") == pytest.approx([min(m.history["val_loss"][1]) for m in population])
    assert numbers(panel, "steps", "f") == population[0].history["val_loss"][0].tolist()
    heights = np.array(numbers(panel, "curves", "H")).reshape(3, -1)
    low, high = panel.board.up
    drawn = numbers(panel, "drawn", "i")
    for row, member in zip(heights, drawn, strict=True):
        measured = population[member].history["val_loss"][1]
        assert low * (high / low) ** (row / 65534) == pytest.approx(np.clip(measured, low, high), rel=1e-3)
    assert numbers(panel, "done", "i") == [member.step_count for member in population]
    assert "Learning rate 0.1" in panel.board.champion["text"]


def test_a_frame_is_one_message_and_names_no_member_that_did_not_change(make, show, page):
    population = make(lr=nbopt.spread(1e-4, 1, 40), epochs=1_000_000)
    panel = show(population)
    page.answer(panel)
    population.step(30)
    eventually(lambda: panel.board.steps and population.state is nbopt.RunState.PAUSED)
    since = len(page.messages)
    population.step(3)
    eventually(lambda: set(numbers(panel, "done", "i")) == {33})
    sent = [data["state"] for data in page.sent(panel.board, since) if "state" in data]
    assert sent and all("frame" in state for state in sent)
    assert not any({"values", "places", "kinds", "said"} & state.keys() for state in sent)


def test_a_control_acts_on_those_chosen_and_says_where_they_differ(make, show, page):
    population = make(lr=[1e-3, 1e-2, 1e-1])
    panel = show(population)
    control = panel.controls["lr"]
    eventually(lambda: "0.001 to 0.1" in control.head.value)
    choose(page, panel, 1, 2)
    eventually(lambda: "0.01 to 0.1" in control.head.value)
    page.do(control.inputs[1], value="0.05")
    assert [member.hyperparams["lr"] for member in population] == [1e-3, 0.05, 0.05]
    assert population.journal[-1].name == "set" and population.journal[-1].source == "panel"
    eventually(lambda: panel.board.undo == "Learning rate of 2 members")
    page.tell(panel.board, {"undo": True})
    assert [member.hyperparams["lr"] for member in population] == [1e-3, 1e-2, 1e-1]
    choose(page, panel)
    page.do(control.inputs[1], value="0.2")
    assert [member.hyperparams["lr"] for member in population] == [0.2] * 3


def test_what_is_one_for_all_is_set_for_all_and_not_for_some(make, show, page):
    population = make(lr=[1e-3, 1e-2, 1e-1])
    panel = show(population)
    control = panel.controls["batch_size"]
    choose(page, panel, 1)
    eventually(lambda: "One for all members" in control.head.value and control.inputs[0].disabled)
    choose(page, panel)
    eventually(lambda: not control.inputs[0].disabled)
    page.do(control.inputs[1], value="16")
    assert {member.hyperparams["batch_size"] for member in population} == {16}


def test_members_are_stopped_copied_and_go_on_as_runs(make, show, page):
    population = make(lr=[1e-3, 1e-2, 1e-1])
    population.step(5)
    panel = show(population)
    choose(page, panel, 0)
    eventually(lambda: not panel.actions.buttons["end"].disabled)
    page.click(panel.actions.buttons["end"])
    eventually(lambda: population[0].state is nbopt.RunState.STOPPED)
    eventually(lambda: "Stopped: stopped by hand" in panel.actions._title.value)
    choose(page, panel, 2)
    page.do(panel.actions.target, value="1")
    eventually(lambda: not panel.actions.buttons["clone"].disabled)
    page.click(panel.actions.buttons["clone"])
    eventually(lambda: population[1].hyperparams["lr"] == 0.1)
    eventually(lambda: not panel.actions.buttons["go-on"].disabled)
    page.click(panel.actions.buttons["go-on"])
    eventually(lambda: len(panel.family.children) == 2)
    (run,) = panel.below
    assert run.step_count == 5 and run.hyperparams["lr"] == 0.1
    run.step()
    assert run.step_count == 6 and population[2].step_count == 5


@pytest.mark.parametrize(
    "content",
    [{"choose": [0, 3]}, {"choose": [True]}, {"choose": "all"}, {"by": "nothing"}, {"metric": "nothing"}, {"log": 1}],
)
def test_what_a_page_may_not_say_is_refused_in_words(make, show, page, content):
    panel = show(make(lr=[1e-3, 1e-2, 1e-1]))
    page.tell(panel.board, content)
    eventually(lambda: "does not understand" in panel._error.value)
    assert panel.chosen.numbers == ()


def test_the_colour_goes_by_what_a_menu_chooses(make, show, page):
    population = make(lr=[1e-3, 1e-2, 1e-1], weight_decay=[0.0, 1e-3, 0.0])
    panel = show(population)
    assert panel.board.by == "lr" and [kind["name"] for kind in panel.board.kinds] == ["lr", "weight_decay"]
    page.tell(panel.board, {"by": "weight_decay"})
    eventually(lambda: panel.board.by == "weight_decay")
    page.tell(panel.board, {"metric": "loss"})
    eventually(lambda: panel.board.metric == "loss")


def test_the_still_picture_is_small_and_whole(make, show):
    population = make(lr=nbopt.spread(1e-4, 1, 130), name="<b>", validate_every=1)
    population.step(2)
    panel = show(population)
    text = draw_still(population, panel.fan)
    root = ET.fromstring(text)
    assert len(text.encode()) < MOST_BYTES
    assert "member" in "".join(root.itertext()) and "<b>" in "".join(root.itertext())
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 100


def test_closed_nothing_of_it_is_left(make, page):
    from ipywidgets.widgets.widget import _instances

    before = set(_instances)
    panel = PopulationPanel(make(lr=[1e-3, 1e-2, 1e-1]))
    assert len(list(every_widget(panel.family))) > 20
    panel.close()
    assert set(_instances) <= before
