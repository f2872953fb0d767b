"""The panel of a study, as the kernel sees it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.notebook.frontend import bridge
from nbopt.notebook.static_view import MOST_BYTES
from nbopt.notebook.study.board import StudyBoard
from nbopt.notebook.study.panel import StudyPanel
from nbopt.notebook.study.still import draw_still
from nbopt.notebook.study.view import StudyView
from tests.notebook.frontend import eventually


@pytest.fixture
def make(one_torch_thread):
    made = []

    def make(build=None, **settings):
        torch.manual_seed(0)
        x = torch.randn(96, 4)
        data = {"val": 0.25, "epochs": 3, "trials": 6, "space": ["lr"], "executor": "inline", "store": None} | settings
        made.append(nbopt.Study(build or nn.Linear(4, 2), (x, (x[:, 0] > 0).long()), device="cpu", **data))
        return made[-1]

    yield make
    for study in made:
        study.stop()


@pytest.fixture
def show(page, monkeypatch):
    monkeypatch.setattr(bridge, "FRAME_SECONDS", 0.0)
    monkeypatch.setattr("nbopt.notebook.study.panel._SHARE", 0)
    panels = []

    def show(study):
        panels.append(StudyPanel(study))
        return panels[-1]

    yield show
    for panel in panels:
        panel.close()


def numbers(panel, name, kind):
    return np.frombuffer(getattr(panel.board, name), kind)


def test_curves_points_and_rows_are_what_trials_measured(make, show, page):
    study = make(space=["lr", "batch_size"])
    panel = show(study)
    assert panel.board.size == 0 and panel.board.champion["trial"] == -1
    study.fit()
    panel.bridge.wake()
    eventually(lambda: page.state(panel.board)["champion"]["trial"] == study.best.number)
    values = numbers(panel, "values", np.float64).reshape(2, 6)
    assert values[0].tolist() == [trial.values["lr"] for trial in study.trials]
    assert values[1].tolist() == [trial.values["batch_size"] for trial in study.trials]
    found = numbers(panel, "found", np.float64).reshape(3, 6)
    assert found[0].tolist() == [*range(6)] and found[2].tolist() == [trial.objective for trial in study.trials]
    heights = numbers(panel, "curves", np.uint16).reshape(6, -1)
    low, high = panel.board.up
    for row, number in zip(heights, numbers(panel, "drawn", np.int32), strict=True):
        measured = [*study.trials[number].reports.values()]
        assert low * (high / low) ** (row / 65534) == pytest.approx(np.clip(measured, low, high), rel=1e-3)
    x, y = numbers(panel, "line", np.float32).reshape(2, -1)
    assert (np.diff(x) >= 0).all() and (np.diff(y) <= 0).all()  # the best so far
    assert y[-1] == pytest.approx(panel.view.column("val_loss").places[study.best.number], abs=1e-6)


def test_a_choice_sends_and_draws_no_other_curve_anew(make, show, page, monkeypatch):
    monkeypatch.setattr("nbopt.notebook.population.curves.DRAWN", 3)
    study = make().fit()
    panel = show(study)
    drawn = numbers(panel, "drawn", np.int32)
    assert len(drawn) == 3 and numbers(panel, "beside", np.int32).tolist() in ([], [study.best.number])
    other = next(number for number in range(6) if number not in {*drawn, study.best.number})
    since = len(page.messages)
    page.answer(panel)
    page.tell(panel.board, {"choose": [other]})
    eventually(lambda: other in numbers(panel, "beside", np.int32))
    eventually(lambda: page.state(panel.board)["chosen"] == [other])
    changed = {path[0] for data in page.sent(panel.board, since) for path in data.get("buffer_paths", ())}
    assert changed & {"drawn", "curves", "beside"} == {"beside"}
    at = numbers(panel, "beside", np.int32).tolist().index(other)
    heights = numbers(panel, "beside_curves", np.uint16).reshape(-1, 3)[at]
    low, high = panel.board.up
    measured = np.clip([*study.trials[other].reports.values()], low, high)
    assert low * (high / low) ** (heights / 65534) == pytest.approx(measured, rel=1e-3)


def test_start_pause_and_as_many_trials_again(make, show, page):
    study = make(trials=2)
    panel = show(study)
    page.click(panel.verbs.buttons["start"])
    eventually(lambda: study.state is nbopt.RunState.FINISHED)
    eventually(lambda: panel.verbs.buttons["start"].description == "+ 2 trials")
    page.click(panel.verbs.buttons["start"])
    eventually(lambda: study.state is nbopt.RunState.FINISHED and len(study.trials) == 4)
    assert [(e.name, e.new, e.source) for e in study.journal if e.kind == "change"] == [("trials", 4, "panel")]
    study.set(trials=10_000)
    page.click(panel.verbs.buttons["start"])
    eventually(lambda: study.state is nbopt.RunState.RUNNING)
    page.click(panel.verbs.buttons["pause"])
    eventually(lambda: study.state is nbopt.RunState.PAUSED)
    eventually(lambda: not panel.verbs.buttons["stop"].disabled)
    page.click(panel.verbs.buttons["stop"])
    eventually(lambda: study.state is nbopt.RunState.STOPPED)


@pytest.mark.parametrize(
    ("message", "act", "what"),
    [
        ({"narrow": {"lr": [0.5, 1.0]}}, "narrow", {"lr": [0.001, 1.0]}),
        ({"pin": {"lr": "0,01"}}, "pin", {"lr": 0.01}),
        ({"add": {"lr": "0.3", "width": ""}}, "add", {"lr": 0.3}),
        ({"narrow": {"width": [0.5, 1.0]}}, "narrow", {"width": [6, 8]}),
        ({"narrow": {"kind": {"kinds": [1]}}}, "narrow", {"kind": ["b"]}),
        ({"widen": "width"}, "narrow", {"width": [4, 8]}),
    ],
    ids=["narrow", "pin", "add", "whole numbers", "options", "widen"],
)
def test_every_act_is_in_the_journal_and_acts_at_the_next_ask(make, show, page, message, act, what):
    def build(width, kind):
        return nn.Sequential(nn.Linear(4, width), nn.Linear(width, 2))

    width, kind = nbopt.Int(4, low=4, high=8), nbopt.Choice("a", options=("a", "b", "c"))
    space = {"lr": (1e-6, 1.0), "width": width, "kind": kind}
    study = make(build, space=space, epochs=1, trials=2)
    study.narrow(width=(5, 6))
    panel = show(study)
    page.tell(panel.board, message)
    eventually(lambda: study.journal[-1].name == act)
    entry = study.journal[-1]
    assert entry.source == "panel" and entry.new.keys() == what.keys()
    for name, value in what.items():
        assert entry.new[name] == (pytest.approx(value) if name == "lr" else value)
    study.fit()
    first = study.trials[0].values
    if act == "narrow":
        assert all(study.space[name].contains(first[name]) for name in what)
    else:
        assert {name: first[name] for name in what} == what


def test_what_cannot_be_done_is_said_in_the_panel(make, show, page):
    panel = show(make())
    for message, text in [
        ({"pin": {"lr": "much"}}, "lr must be"),
        ({"pin": {"lt": "1"}}, "Did you mean"),
        ({"narrow": {"lr": [0.9, "x"]}}, "cannot be set"),
        ({"trials": "-1"}, "trials must be"),
        ({"dance": 1}, "does not understand"),
        ({"clone": {}}, "Choose one trial"),
    ]:
        page.tell(panel.board, message)
        eventually(lambda text=text: text in panel._error.value)
    assert len(panel.study.journal) == 0


def test_what_is_not_known_of_a_trial_yet_is_no_number(make, page):
    study = make(trials=2, executor="population", epochs=100_000)
    board = StudyBoard()
    view = StudyView(study, board)
    study.start()
    eventually(lambda: study.asked == 2)
    eventually(lambda: all(trial.reports for trial in study.trials))
    view.paint(study.trials)
    assert np.isfinite(np.frombuffer(board.hues, np.float32)).all()
    assert np.isnan(np.frombuffer(board.done, np.float32)).all()  # steps are counted at the end
    study.stop()


def test_a_trial_is_stopped_and_one_is_cloned_and_trained_on(make, show, page):
    study = make(trials=3, executor="threads", slots=1, epochs=10_000)
    panel = show(study)
    study.start()
    eventually(lambda: study.trials and study.trials[0].reports)
    page.tell(panel.board, {"choose": [0]})
    page.tell(panel.board, {"end": True})
    eventually(lambda: study.trials[0].state == "pruned" and len(study.trials) > 1)
    study.pause()
    eventually(lambda: panel.board.acts["end"] == "It has ended.")
    page.tell(panel.board, {"clone": {"lr": "0.25"}})
    eventually(lambda: len(panel.family.children) == 2)
    (run,) = panel.below
    assert run.hyperparams["lr"] == 0.25 and run.step_count == study.trials[0].steps
    run.step()
    assert run.step_count == study.trials[0].steps + 1
    acts = [(entry.name, entry.source) for entry in study.journal if entry.source == "panel"]
    assert acts == [("stop_trial", "panel"), ("clone", "panel")]


def test_one_trial_rests_while_others_go_on(make, show, page):
    study = make(trials=20, executor="threads", slots=2, epochs=10_000)
    panel = show(study)
    study.start()
    eventually(lambda: study.asked == 2 and all(trial.reports for trial in study.trials))
    first, second = study.trials
    page.tell(panel.board, {"choose": [0]})
    page.tell(panel.board, {"rest": True})
    before = len(second.reports)
    eventually(lambda: first.is_resting and len(second.reports) > before + 5)
    held, before = len(first.reports), len(second.reports)
    eventually(lambda: len(second.reports) > before + 5)
    assert len(first.reports) == held
    page.tell(panel.board, {"rest": False})
    eventually(lambda: len(first.reports) > held)
    page.tell(panel.board, {"rest": True})
    page.tell(panel.board, {"end": True})
    eventually(lambda: first.state == "pruned")
    acts = [entry.name for entry in study.journal if entry.source == "panel"]
    assert acts == ["pause_trial", "resume_trial", "pause_trial", "stop_trial"]
    with pytest.raises(InvalidHyperparam, match="can only pause together"):
        make(trials=2).pause_trial(0)


def test_the_picture_in_a_saved_notebook_stays_small(make, show, page):
    study = nbopt.Study(objective=lambda trial: trial.suggest_float("x", 0, 1), trials=1, store=None).fit()
    study._trials += [replace(study.trials[0], number=k, objectives=(1 / k,)) for k in range(2, 3_000)]
    text = draw_still(study)
    assert len(text) < MOST_BYTES and "<svg" in text and "3.334e-4" in text and "2987 more" in text


def test_nothing_is_sent_while_nobody_looks(make, show, page):
    study = make(trials=10_000, epochs=1)
    panel = show(study)
    page.answer(panel)
    study.start()
    eventually(lambda: panel.bridge.companion.frame > 1 and not panel.bridge.is_seen)
    since, asked = len(page.messages), study.asked
    eventually(lambda: study.asked > asked + 3)
    assert page.sent(panel.board, since) == []


def test_of_two_objectives_the_front_is_drawn(make, show, page):
    def size(run):
        return sum(weight.numel() for weight in run.model.parameters())

    def build(width):
        return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))

    study = make(build, space={"width": nbopt.Int(4, low=1, high=16)}, objective=["val_loss", size], trials=8).fit()
    panel = show(study)
    assert (panel.board.x, panel.board.y) == ("val_loss", "size")
    x, y = numbers(panel, "line", np.float32).reshape(2, -1)
    assert len(x) == len({trial.objectives for trial in study.front})
    assert (np.diff(x) > 0).all() and (np.diff(y) < 0).all()


def test_what_is_taken_away(make, show, page):
    study = make(trials=3).fit()
    panel = show(study)
    page.do(panel.drawers.toggles["takeaway"], value=True)
    eventually(lambda: "takeaway" in panel.drawers.made)
    menu = panel.drawers.made["takeaway"]
    assert menu.take("csv").text.splitlines()[0] == "trial,lr,val_loss,state,steps,seconds,source"
    scope = {}
    exec(menu.take("csv", "cell").cell, scope)
    assert scope["trials"]["val_loss"].tolist() == [trial.objective for trial in study.trials]
    exec(menu.take("values").text, scope)
    assert scope["values"] == study.best.values
    for what in ("code", "script"):
        assert repr(study.best.values["lr"]) in menu.take(what).text
    page.tell(menu.widget, {"take": "csv", "how": "download"})
    eventually(lambda: any(data.get("content", {}).get("what") == "csv" for data in page.sent(menu.widget)))


@pytest.mark.parametrize("evaluator", ["ped_anova", "fanova"])
def test_importance_is_found_out_once_it_is_shown(show, page, evaluator):
    def valley(trial):
        return abs(trial.suggest_float("far", -1, 1)) + 0.01 * trial.suggest_float("near", -1, 1)

    study = nbopt.Study(objective=valley, sampler="random", trials=40, store=None).fit()
    panel = show(study)
    assert panel.drawers.made == {}
    page.do(panel.drawers.toggles["importance"], value=True)
    eventually(lambda: "importance" in panel.drawers.made)
    bars = panel.drawers.made["importance"]
    page.do(bars.evaluator, index=["ped_anova", "fanova"].index(evaluator))
    eventually(lambda: bars._known[:1] == (evaluator,) and bars._thread is None and bars._shares)
    assert [*bars._shares] == ["far", "near"] and sum(bars._shares.values()) == pytest.approx(1)
    eventually(lambda: 0 < bars._bars.value.find(">far<") < bars._bars.value.find(">near<"))
