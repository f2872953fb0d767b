"""A study outlives its process: no trial is lost, none counted twice."""

import os
import signal

import optuna
import pytest
import torch

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.search.record import place_of
from nbopt.store.schema import StoreError
from tests.search import victim


def live(store, until, executor):
    """Carry the victim's study out, killed after ``until`` trials; return its id, and the trials that were told."""
    child, told = victim.start(store, executor=executor)
    with told:
        number = told.readline().strip()
        trials = [int(told.readline()) for _trial in range(until)]
        os.kill(child, signal.SIGKILL)
        trials += [int(line) for line in told if line.endswith("\n")]
    os.waitpid(child, 0)
    return number, trials


@pytest.mark.parametrize("executor", ["inline", "population"])
def test_a_killed_study_goes_on_as_if_nothing_had_been(tmp_path, executor):
    number, told = live(tmp_path, 11, executor)
    read = nbopt.open(number, store=tmp_path)
    assert len(read.trials) >= len(told) >= 11
    assert [trial.number for trial in read.trials] == list(range(len(read.trials)))
    assert read.state is nbopt.RunState.PAUSED
    study = nbopt.open(number[:5], victim.make_model, victim.make_data(), store=tmp_path)
    study.fit()
    unbroken = victim.begin(None, executor).fit()
    assert victim.found(study) == victim.found(unbroken)
    read = nbopt.open(number, store=tmp_path)
    assert victim.found(read) == victim.found(unbroken) and read.state is nbopt.RunState.FINISHED


SAMPLERS = {name: lambda name=name: name for name in ("cmaes", "nsga2", "genetic")}
SAMPLERS |= {"a random one": lambda: optuna.samplers.RandomSampler(seed=0)}


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_samplers_find_their_notes_again(tmp_path, sampler):
    """Those that remember something write it down; of one that was given, what it draws from is noted."""
    rate = {name: nbopt.Float(0.1, low=0.0, high=1.0) for name in "abc"}
    given = {"space": rate, "trials": 40}

    def bowl(trial):
        return sum((value - 0.3) ** 2 for value in trial.values.values())

    unbroken = nbopt.Study(objective=bowl, sampler=sampler(), store=None, **given).fit()
    study = nbopt.Study(objective=bowl, sampler=sampler(), store=tmp_path, **given)
    study.watchers.append(lambda: study._written == 19 and study.stop(wait=False))
    study.fit()
    study.record.release()
    again = nbopt.open(study.id, objective=bowl, sampler=sampler(), store=tmp_path)
    assert len(again.trials) == 19
    again.fit()
    assert [trial.values for trial in again.trials] == [trial.values for trial in unbroken.trials]


def test_what_a_hand_did_is_there_again(tmp_path):
    def first(trial):
        return trial.values["a"]

    rate = {name: nbopt.Float(0.1, low=0.0, high=1.0) for name in "ab"}
    study = nbopt.Study(objective=first, space=rate, trials=3, store=tmp_path)
    study.add(a=0.75)
    study.fit()
    study.narrow(a=(0.2, 0.3))
    study.pin(b=0.5)
    study.add(a=0.9)
    study.set(trials=6)
    study.record.release()
    again = nbopt.open(study.id, objective=first, store=tmp_path)
    assert [entry[:5] for entry in again.journal] == [entry[:5] for entry in study.journal]
    again.fit()
    assert [trial.values["b"] for trial in again.trials[3:]] == [0.5] * 3
    assert again.trials[3].values["a"] == 0.9
    assert all(0.2 <= trial.values["a"] <= 0.3 for trial in again.trials[4:])


def test_a_line_that_was_torn_off_is_taken_away(tmp_path):
    study = nbopt.Study(objective=lambda trial: 1.0, trials=3, store=tmp_path).fit()
    path = place_of(tmp_path, study.id)
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines(keepends=True)[-1][:20])
    assert len(nbopt.open(study.id, store=tmp_path).trials) == 3
    again = nbopt.open(study.id, objective=lambda trial: 1.0, store=tmp_path)  # who only reads cuts nothing off
    again.set(trials=4)
    assert path.read_bytes().startswith(whole) and len(again.fit().trials) == 4
    assert len(nbopt.open(study.id, store=tmp_path).trials) == 4


def test_without_what_it_was_made_with_it_can_be_read_only(tmp_path):
    study = nbopt.Study(objective=lambda trial: trial.suggest_float("x", 0, 1), trials=2, store=tmp_path, name="mine")
    study.fit()
    read = nbopt.open(study.id, store=tmp_path)
    assert read.name == "mine" and read.best.values == study.best.values
    for act in (lambda: read.set(trials=4), read.fit):
        with pytest.raises(RuntimeError, match="read only"):
            act()
    assert len(read.journal) == len(study.journal)
    evolving = victim.begin(tmp_path, kind="pbt", trials=4)
    assert nbopt.open(evolving.id, store=tmp_path).sampler == "pbt"


def test_what_was_the_users_own_has_to_be_given_again(tmp_path, blobs):
    def build():
        return torch.nn.Linear(4, 2)

    given = {"loss": torch.nn.functional.cross_entropy, "store": tmp_path}
    study = nbopt.Study(build, blobs, 0.25, space=["lr"], epochs=1, trials=2, **given).fit()
    study.record.release()
    with pytest.raises(ValueError, match="made with loss of your own"):
        nbopt.open(study.id, build, blobs, store=tmp_path)
    again = nbopt.open(study.id, build, blobs, trials=None, **given)
    again.set(trials=3)
    assert len(again.fit().trials) == 3


def test_a_study_that_is_spoilt_says_so(tmp_path):
    study = nbopt.Study(objective=lambda trial: 1.0, trials=2, store=tmp_path).fit()
    path = place_of(tmp_path, study.id)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:1], "nonsense\n", *lines[1:]]))
    with pytest.raises(StoreError, match=f"study {study.id} is spoilt"):
        nbopt.open(study.id, store=tmp_path)
    path.write_text(lines[0])
    with pytest.raises(StoreError, match="does not tell what it was made with"):
        nbopt.open(study.id, store=tmp_path)


def test_a_beginning_that_a_run_and_a_study_share_is_none_of_them(tmp_path, monkeypatch):
    study = nbopt.Study(objective=lambda trial: 1.0, trials=1, store=tmp_path).fit()
    monkeypatch.setattr("secrets.token_hex", lambda size: study.id[:3] + "0" * (2 * size - 3))
    run = nbopt.Run(torch.nn.Linear(4, 2), (torch.randn(8, 4), torch.zeros(8).long()), epochs=1, store=tmp_path).fit()
    with pytest.raises(InvalidHyperparam, match="several runs or studies"):
        nbopt.open(study.id[:3], store=tmp_path)
    assert nbopt.open(study.id, store=tmp_path).id == study.id and nbopt.open(run.id, store=tmp_path).id == run.id


def test_a_study_is_written_by_one_process_alone(tmp_path, monkeypatch):
    study = nbopt.Study(objective=lambda trial: 1.0, trials=1, store=tmp_path).fit()
    monkeypatch.setattr("nbopt.store.lease._held", {})  # as another process sees it
    monkeypatch.setattr("nbopt.store.lease._lock", raise_held)
    with pytest.raises(RuntimeError, match="open in another process"):
        nbopt.open(study.id, objective=lambda trial: 1.0, store=tmp_path)
    assert nbopt.open(study.id, store=tmp_path).best.objective == 1.0  # to read


def raise_held(descriptor):
    raise OSError


def test_ids_that_are_none_are_told(tmp_path):
    with pytest.raises(InvalidHyperparam):
        nbopt.open("abcdef12", store=tmp_path)


def make_net(act=torch.nn.ReLU, sizes=(4,)):
    return torch.nn.Sequential(torch.nn.Linear(4, sizes[0]), act(), torch.nn.Linear(sizes[0], 2))


def test_options_that_no_file_can_hold_are_given_again(tmp_path, blobs):
    """Classes, functions and tuples are themselves again, in what has ended and in what a hand did."""
    wavy = [lambda: torch.nn.Tanh(), lambda: torch.nn.GELU()]
    space = {"act": [torch.nn.ReLU, *wavy], "sizes": [(4,), (8,)], "nesterov": [False, True]}
    given = {"space": space, "store": tmp_path, "optimizer": "sgd", "momentum": 0.9, "epochs": 1}
    study = nbopt.Study(make_net, blobs, 0.25, trials=3, executor="inline", **given)
    study.add(act=wavy[1], sizes=(8,))
    study.pin(act=wavy[0])
    study.narrow(sizes=[(4,)])
    study.fit()
    read = nbopt.open(study.id, store=tmp_path)
    assert [trial.objectives for trial in read.trials] == [trial.objectives for trial in study.trials]
    with pytest.raises(ValueError, match="made with space of your own"):
        nbopt.open(study.id, make_net, blobs, store=tmp_path)
    with pytest.raises(ValueError, match="space nesterov: options"):
        nbopt.open(study.id, make_net, blobs, **given | {"space": space | {"nesterov": [True]}})
    again = nbopt.open(study.id, make_net, blobs, **given)
    assert [trial.values for trial in again.trials] == [trial.values for trial in study.trials]
    assert again.trials[0].values["act"] is wavy[1] and again.space.pinned == {"act": wavy[0]}
    again.set(trials=4)
    assert again.fit().trials[3].values["sizes"] == (4,)


def test_what_a_study_was_not_made_with_is_refused(tmp_path, blobs):
    x, y = blobs
    study = nbopt.Study(torch.nn.Linear(4, 2), blobs, 0.25, space=["lr"], epochs=1, trials=2, store=tmp_path)
    study.fit()
    others = [{"seed": 1}, {"epochs": 2}, {"loss": "focal"}, {"val": 0.5}, {"direction": "maximize"}]
    others += [{"objective": "loss"}, {"space": ["weight_decay"]}, {"train": (x + 1, y)}, {"train": blobs[0]}]
    for other in [*others, {"model": torch.nn.Linear(4, 3)}]:
        given = {"model": torch.nn.Linear(4, 2), "train": blobs, "store": tmp_path, **other}
        with pytest.raises(ValueError, match=f"not what study {study.id} was made with"):
            nbopt.open(study.id, **given)


def test_more_trials_are_set_once_it_is_open_and_the_same_executor_has_as_many_at_once(tmp_path):
    study = nbopt.Study(objective=lambda trial: 1.0, executor="threads", slots=7, trials=8, store=tmp_path)
    given = {"objective": lambda trial: 1.0, "executor": "threads", "store": tmp_path}
    with pytest.raises(ValueError, match=r"was 8, now it is 20: leave it out, and set it then: study.set\(trials=20\)"):
        nbopt.open(study.id, trials=20, **given)
    assert nbopt.open(study.id, **given).executor.slots == 7


def test_trials_begin_with_the_weights_that_the_first_began_with(tmp_path, blobs):
    model = torch.nn.Linear(4, 2)
    study = nbopt.Study(model, blobs, 0.25, space=["lr"], epochs=1, trials=2, store=tmp_path)
    other = torch.nn.Linear(4, 2)
    nbopt.open(study.id, other, blobs, store=tmp_path)
    assert torch.equal(other.weight, model.weight)


def test_two_studies_of_a_record_never_write_both(tmp_path):
    first = nbopt.Study(objective=lambda trial: 1.0, trials=2, store=tmp_path)
    second = nbopt.open(first.id, objective=lambda trial: 1.0, store=tmp_path)
    for act in (first.fit, lambda: first.set(trials=3)):
        with pytest.raises(RuntimeError, match="opened again by"):
            act()

    def again(trial):
        with pytest.raises(RuntimeError, match="running in this process"):
            nbopt.open(first.id, objective=again, store=tmp_path)
        return 1.0

    third = nbopt.open(first.id, objective=again, store=tmp_path)
    assert len(third.fit().trials) == len(nbopt.open(first.id, store=tmp_path).trials) == 2
    assert second.state is nbopt.RunState.CREATED
