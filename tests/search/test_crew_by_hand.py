"""Changes, pauses and stops by hand, of trials that workers elsewhere train."""

import pytest

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.search.executors import workplace
from tests.search import victim
from tests.search.nearby import Nearby


@pytest.fixture(autouse=True)
def _saves_often(monkeypatch):
    monkeypatch.setattr(workplace, "_SAVE_SECONDS", 0.0)
    monkeypatch.setattr(workplace, "_SAVE_SHARE", float("inf"))
    monkeypatch.setattr(workplace, "_TELL_SECONDS", 0.0)


def reported(study):
    return study.asked and study.trials[0].reports


def test_a_change_by_hand_acts_elsewhere_and_outlives_the_worker(make):
    crew, did = Nearby(1), []
    study = make(trials=1, epochs=40, executor=crew)

    def act(worker, kind, number, content):
        step = content[0] if kind == "measured" and content[1] else 0
        if step == 3:
            study.set_trial(0, weight_decay=0.125, source="panel")
        if step > 6 and not did:
            did.append(step)
            worker.lose()

    crew.listener = act
    study.fit()
    run = study.best.run(store=None)
    changes = [entry for entry in run.journal.changes() if entry.name == "weight_decay"]
    assert run.hyperparams["weight_decay"] == 0.125 and changes[0].new == 0.125
    assert [(entry.name, entry.new, entry.source) for entry in study.journal][1] == (
        "set_trial",
        {"trial": 0, "weight_decay": 0.125},
        "panel",
    )


@pytest.mark.parametrize("executor", ["inline", "threads", "population", "elsewhere"])
def test_a_change_made_before_it_begins_or_in_one_fold_acts_in_all(make, executor):
    def decay(run):
        return run.hyperparams["weight_decay"]

    given = {"trials": 1, "epochs": 2, "cv": 2, "objective": decay}
    study = make(**given, executor=Nearby(1) if executor == "elsewhere" else executor)
    study.watchers.append(lambda: study.asked and len(study.journal) < 2 and study.set_trial(0, weight_decay=0.25))
    study.fit()
    assert study.trials[0].parts == [(0.25,), (0.25,)]


@pytest.mark.parametrize("executor", ["inline", "threads", "population"])
def test_a_change_by_hand_acts_here(make, executor):
    study = make(trials=1, epochs=4, executor=executor)

    def act():
        if reported(study) and not any(entry.name == "set_trial" for entry in study.journal):
            study.set_trial(0, weight_decay=0.125)

    study.watchers.append(act)
    study.fit()
    run = study.best.run(store=None)
    changes = [entry for entry in run.journal.changes() if entry.name == "weight_decay"]
    assert [entry.new for entry in changes] == [0.125] and 0 < changes[0].step
    assert not [entry for entry in run.journal if entry.name == "pause"]
    study._sessions.clear()
    with pytest.raises(ValueError, match="weight_decay was changed by hand"):
        study.best.run(store=None)


def test_what_cannot_be_changed_is_refused_at_once(make):
    study = make(trials=2, executor=Nearby(1))
    with pytest.raises(InvalidHyperparam, match="trial 0 is not running"):
        study.set_trial(0, lr=0.1)
    with pytest.raises(InvalidHyperparam, match="weight_decay"):
        study.set_trial(0, weight_decay=-1.0)
    with pytest.raises(InvalidHyperparam, match="before the first step"):
        study.set_trial(0, initialization="xavier")
    with pytest.raises(InvalidHyperparam, match="does not train these trials"):
        nbopt.Study(objective=lambda trial: 0.0, store=None).set_trial(0, lr=0.1)


def test_pause_holds_workers_and_stop_gives_them_up(make):
    crew = Nearby(2)
    study = make(trials=4, epochs=10, executor=crew)
    study.watchers.append(
        lambda: study.asked and study.trials[0].reports and not study.journal[2:] and study.pause(wait=False)
    )
    study.fit()
    assert study.state is nbopt.RunState.PAUSED and any(trial.state == "running" for trial in study.trials)
    study.watchers[:] = [lambda: study.asked and study.trials[0].is_done and study.stop(wait=False)]
    study.fit()
    assert study.state is nbopt.RunState.STOPPED and all(worker.lost for worker in crew.hired)
    assert all(trial.is_done for trial in study.trials)
    study.watchers.clear()
    study.fit()
    assert victim.found(study) == victim.found(make(trials=4, epochs=10, executor=Nearby(2)).fit())
    assert all(worker.lost for worker in crew.hired)  # none outlives the study


def test_one_trial_rests_elsewhere_while_others_go_on(make):
    crew = Nearby(2)
    given = {"trials": 3, "epochs": 8, "sampler": "random"}
    study, ended = make(**given, executor=crew), []

    def act():
        if reported(study) and not any(entry.name == "pause_trial" for entry in study.journal):
            study.pause_trial(0)
        ended.extend(trial.number for trial in study.trials if trial.is_done and trial.number not in ended)
        if ended == [1] and study.trials[0].is_resting:
            study.resume_trial(0)

    study.watchers.append(act)
    study.fit()
    assert ended[:2] == [1, 0] and victim.found(study) == victim.found(make(**given).fit())


def test_a_trial_is_stopped_elsewhere(make):
    study = make(trials=2, epochs=20, executor=Nearby(1))
    study.watchers.append(
        lambda: study.asked and study.trials[0].reports and not study.trials[0].note and study.stop_trial(0)
    )
    study.fit()
    assert [trial.state for trial in study.trials] == ["pruned", "complete"]
    assert study.trials[0].steps < study.trials[1].steps
