"""The race: real runs of nbopt's own optimizers, on a loss of two parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nbopt.errors import InvalidHyperparam
from nbopt.notebook.playground import Race
from nbopt.notebook.playground.racer import ENTRANTS, Racer
from nbopt.viz.surfaces import SURFACES
from tests.notebook.frontend import eventually


@pytest.fixture
def race(page, one_torch_thread):
    made = Race()
    yield made
    made.close()


def by_torch(surface, make, steps):
    at = torch.tensor(surface.start, requires_grad=True)
    optimizer = make([at])
    for _step in range(steps):
        optimizer.zero_grad()
        surface.loss(*at).backward()
        optimizer.step()
    return tuple(at.tolist())


OWN = [
    lambda at, lr: torch.optim.SGD(at, lr),
    lambda at, lr: torch.optim.SGD(at, lr, momentum=0.9),
    torch.optim.RMSprop,
    torch.optim.Adam,
]


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("index", range(len(ENTRANTS)))
def test_a_racer_goes_where_torchs_own_optimizer_goes(surface, index, one_torch_thread):
    lr = ENTRANTS[index].lr[surface]
    racer = Racer(ENTRANTS[index], SURFACES[surface], lr)
    for _step in range(70):  # more than one epoch
        racer.step()
    assert racer.at == pytest.approx(by_torch(SURFACES[surface], lambda at: OWN[index](at, lr), 70), abs=1e-3)


def test_on_the_bowl_all_get_to_the_lowest_point(race):
    race.step(200)
    assert max(race.losses) < 0.01
    assert all(racer.arrived for racer in race.racers)


def test_too_high_a_rate_throws_one_out_and_it_rests(page, race):
    page.do(race.inputs["factor"], index=4)  # 2 ...
    page.do(race.inputs["factor"], index=5)  # ... 3 times
    assert race.racers[0].run.hyperparams["lr"] == pytest.approx(0.12)
    race.step(100)
    assert race.racers[0].lost and not race.racers[3].lost
    assert np.isfinite(race.racers[0].way).all()
    eventually(lambda: "lost" in race._legend.value)


def test_buttons_step_start_pause_and_restart(page, race):
    page.click(race.buttons["step"])
    assert [len(racer.way) for racer in race.racers] == [2] * 4
    page.click(race.buttons["start"])
    eventually(lambda: race.racers[0].run.step_count > 3)
    page.click(race.buttons["pause"])
    assert not race.is_running
    page.click(race.buttons["restart"])
    assert [racer.run.step_count for racer in race.racers] == [0] * 4


def test_another_surface_starts_anew_and_is_drawn(page, race):
    page.do(race.inputs["surface"], index=list(SURFACES).index("beale"))
    eventually(lambda: page.state(race.board)["reach"] == list(SURFACES["beale"].reach))
    assert [racer.at for racer in race.racers] == [SURFACES["beale"].start] * 4


def test_a_surface_chosen_in_code_is_the_one_that_the_menu_names(page, race):
    race.choose("rosenbrock")
    assert race.inputs["surface"].value == "rosenbrock"
    eventually(lambda: page.state(race.board)["reach"] == list(SURFACES["rosenbrock"].reach))


def test_a_surface_there_is_not_is_refused(race):
    with pytest.raises(InvalidHyperparam, match="beale"):
        Race("beal")
    with pytest.raises(InvalidHyperparam, match="beale"):
        race.choose("beal")
    assert race.inputs["surface"].value == "bowl"
