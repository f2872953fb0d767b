"""The playground: what its inputs and lessons do, and what is left of a run that another one took the place of."""

from __future__ import annotations

import gc
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from ipywidgets.widgets.widget import _instances

from nbopt.errors import InvalidHyperparam
from nbopt.notebook.charts.colours import RACERS
from nbopt.notebook.frontend import bridge
from nbopt.notebook.panel.panel import panel_of, retire
from nbopt.notebook.playground import Playground
from nbopt.notebook.playground.data import KINDS, REACH, VALIDATION, make_points
from nbopt.notebook.playground.lessons import BASE, LESSONS
from nbopt.run.session.registry import live_runs
from nbopt.training.state import RunState
from tests.notebook.frontend import eventually


@pytest.fixture
def playground(page, one_torch_thread, monkeypatch):
    monkeypatch.setattr(bridge, "FRAME_SECONDS", 0.0)
    made = Playground()
    yield made
    made.close()


@pytest.mark.parametrize("kind", KINDS)
def test_points_are_of_both_classes_in_equal_parts_and_in_the_plane(kind):
    points = make_points(kind, samples=80, noise=0.5, seed=2)
    assert points.x.shape == (80, 2) and points.x_val.shape == (VALIDATION, 2)
    assert np.bincount(points.y).tolist() == [40, 40]
    assert max(np.abs(points.x).max(), np.abs(points.x_val).max()) <= REACH
    again = make_points(kind, samples=80, noise=0.5, seed=2)
    assert all(np.array_equal(one, other) for one, other in zip(points, again, strict=True))
    assert not np.array_equal(points.x, make_points(kind, 80, 0.5, seed=3).x)


@pytest.mark.parametrize("kind", KINDS)
def test_without_noise_the_classes_lie_apart(kind):
    points = make_points(kind, samples=200, noise=0.0, seed=0)
    distances = np.linalg.norm(points.x_val[:, None] - points.x[None], axis=2)
    assert (points.y[distances.argmin(1)] == points.y_val).mean() > 0.95  # the nearest neighbour knows


def test_other_data_make_a_new_run_with_the_same_settings(page, playground):
    before = playground.run
    before.set(lr=0.05, dropout=0.3)
    before.step(20)
    menu = playground._inputs["data"]
    page.do(menu, index=list(KINDS).index("spiral"))
    run = playground.run
    assert run is not before and before.state is RunState.STOPPED and run.state is RunState.CREATED
    assert playground.setup.data == "spiral" and run.step_count == 0
    assert dict(run.hyperparams) == dict(before.hyperparams)
    assert np.frombuffer(playground.board.points, np.float32).reshape(-1, 4).shape == (
        200 + VALIDATION,
        4,
    )


def test_a_run_in_training_is_followed_by_one_in_training(playground):
    playground.run.start()
    playground.change(noise=0.4)
    assert playground.run.state is RunState.RUNNING and len(playground.run.journal) == 1


def test_depth_0_is_a_logistic_regression_and_has_no_dropout(playground, recwarn):
    playground.run.set(dropout=0.5)
    playground.change(depth=0)
    playground.run.step(2)
    assert playground._boundary.sketch().weights[0].shape == (1, 2)
    playground.change(depth=4)
    assert [str(warning.message) for warning in recwarn if issubclass(warning.category, UserWarning)] == []
    assert playground.run.given == {*BASE} - {"optimizer"}  # so that groups stand folded as before


@pytest.mark.parametrize("name", [name for name, lesson in LESSONS.items() if lesson.setup is not None])
def test_a_lesson_sets_data_network_and_controls(page, playground, name):
    lesson = LESSONS[name]
    page.click(playground._lessons[name])
    assert playground.setup == lesson.setup and playground.run.state is RunState.CREATED
    assert {key: playground.run.hyperparams[key] for key in lesson.hyperparams} == dict(lesson.hyperparams)
    assert f'<div role="status"><b>{lesson.title}.</b>' in playground._text.value
    assert playground._text.value.count('aria-hidden="true"') == len(LESSONS)  # in the same place, unseen
    assert {key: item.value for key, item in playground._inputs.items()}.items() <= lesson.setup._asdict().items()


def test_the_race_takes_the_stage_and_leaves_it(page, playground):
    page.click(playground._lessons["race"])
    assert playground._stage.children == (playground.race.widget,)
    page.click(playground._lessons["overfitting"])
    assert playground.race is None and playground._main in playground._stage.children


def test_an_unknown_lesson_is_refused_with_the_names_there_are(playground):
    with pytest.raises(InvalidHyperparam, match="Did you mean 'overfitting'"):
        playground.choose("overfiting")


@pytest.mark.parametrize("message", [{"index": 77}, {"index": "moons"}, {"value": 3}, {"options": []}])
def test_what_no_person_can_choose_is_refused_with_the_reason(page, playground, message):
    before = playground.run
    page.do(playground._inputs["noise"], **message)
    assert playground.run is before
    eventually(lambda: 'role="alert"' in playground._note.value)


def test_the_board_follows_the_training_as_long_as_the_page_answers(page, playground):
    board = playground.board
    playground.run.start()
    fields = set()
    for _frame in range(5):
        frame = board.frame
        fields.add(board.field)
        page.tell(board, {"frame": frame})
        eventually(lambda frame=frame: board.frame > frame)
    assert len(fields) > 1
    page.tell(board, {"zoom": 3})
    playground.run.pause()
    eventually(lambda: 'role="alert"' in playground._note.value)


def test_at_rest_the_picture_is_told_in_words(page, playground):
    playground.run.step(50)
    eventually(lambda: "Validation accuracy" in playground.board.texts["field"])
    assert "2 hidden layers of 6 units" in playground.board.texts["network"]


def test_changing_data_again_and_again_leaves_neither_runs_nor_widgets_behind(playground):
    for seed in range(4):
        playground.change(seed=seed)
    widget_count, run_count = len(_instances), len(live_runs())
    for seed in range(4, 8):
        playground.change(seed=seed)
    gc.collect()
    assert len(_instances) == widget_count and len(live_runs()) <= run_count
    assert panel_of(playground.run).family in playground._place.children


SVG = "{http://www.w3.org/2000/svg}"


def drawn(html):
    return ET.fromstring(f"<div>{html}</div>")  # well-formed


def test_its_still_picture_shows_field_points_network_and_curves(playground):
    playground.run.step(40)
    root = drawn(playground._still.draw())
    plane, network, loss, _accuracy = root.iter(f"{SVG}svg")
    assert plane.find(f"{SVG}image").get("href").startswith("data:image/png;base64,")
    dots = [path.get("d").count("h0") for path in plane.iter(f"{SVG}path") if path.get("stroke-width") == "6"]
    assert sum(dots) == 200 + VALIDATION and dots[:2] == [100, 100]
    assert len(list(network.iter(f"{SVG}path"))) == 2 * 6 + 6 * 6 + 6 + 1  # weights, and the boxes of all units
    assert loss.get("aria-label") == "Loss"
    assert len(playground._still.draw()) < 100 * 1024
    before = plane.find(f"{SVG}image").get("href")
    playground.run.step(200)
    assert next(drawn(playground._still.draw()).iter(f"{SVG}image")).get("href") != before

    retire(playground.run)  # and makes no panel where it was taken away
    widgets = len(_instances)
    assert drawn(playground._still.draw()) is not None and len(_instances) == widgets


def test_the_still_picture_of_a_race_shows_the_ways_and_how_high_each_is(playground):
    playground.choose("race")
    playground.race.step(30)
    root = drawn(playground._still.draw())
    ways = [path for path in root.iter(f"{SVG}path") if path.get("stroke") in RACERS]
    assert [way.get("stroke") for way in ways] == list(RACERS)
    assert {way.get("d").count("L") for way in ways} == {30}
    assert "RMSprop" in "".join(root.itertext())
