"""What a study does with workers elsewhere, whatever they are; see `nearby`."""

import pytest
import torch

import nbopt
from nbopt.search.executors import workplace
from nbopt.search.executors.crew import WorkerLost
from tests.search import victim
from tests.search.nearby import Nearby


@pytest.fixture(autouse=True)
def _saves_often(monkeypatch):
    monkeypatch.setattr(workplace, "_SAVE_SECONDS", 0.0)
    monkeypatch.setattr(workplace, "_SAVE_SHARE", float("inf"))
    monkeypatch.setattr(workplace, "_TELL_SECONDS", 0.0)


def kinds(crew, kind):
    return [content for each, _number, content in crew.said if each == kind]


def weights_of(run):
    return list(run.model.state_dict().values())


def test_workers_find_what_one_thread_finds(make):
    given = {"space": ["lr", "weight_decay"], "trials": 6, "sampler": "random", "epochs": 3}
    inline, elsewhere = make(**given).fit(), make(**given, executor=Nearby(2)).fit()
    assert victim.found(elsewhere) == victim.found(inline)
    one, other = elsewhere.best.run(store=None), inline.best.run(store=None)
    assert all(torch.equal(a, b) for a, b in zip(weights_of(one), weights_of(other), strict=True))
    assert one.history["loss"][1].tolist() == other.history["loss"][1].tolist() and len(one.history["loss"][1])
    one.set(epochs=5)
    other.set(epochs=5)
    assert one.fit().history["val_loss"][1].tolist() == other.fit().history["val_loss"][1].tolist()
    assert one.replay().wait() is nbopt.RunState.FINISHED


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_pruner_compares_with_what_it_would_whoever_is_faster(make, pruner):
    """Also with several at once: nothing depends on which of them ends first."""
    given = {"space": ["lr", "weight_decay"], "trials": 10, "sampler": "tpe", "epochs": 6, "pruner": pruner}
    threads = make(**given, executor="threads", slots=3).fit()
    elsewhere = make(**given, executor=Nearby(3)).fit()
    assert victim.found(elsewhere) == victim.found(threads)
    assert "pruned" in {trial.state for trial in threads.trials}


def test_what_a_trial_measures_is_seen_while_it_trains(make):
    crew = Nearby(1)
    study, seen = make(trials=1, executor=crew), []

    def look():
        if (trained := crew.trained(0)) is not None:
            seen.append(len(trained.columns.get("loss", ((), ()))[0]))

    study.watchers.append(look)
    study.fit()
    assert any(0 < count < study.trials[0].steps for count in seen)


@pytest.mark.parametrize("cv", [None, 2])
def test_a_trial_goes_on_elsewhere_from_its_checkpoint(make, cv):
    """The worker is lost in the middle of the training; another one does the rest, and not all of it again."""
    given = {"trials": 2, "epochs": 4, **({"cv": cv} if cv else {})}
    crew = Nearby(1)
    inline, study = make(**given).fit(), make(**given, executor=crew)
    lost_at = []

    def lose(worker, kind, number, content):
        later = kind == "saved" and content.snapshot is not None and content.snapshot.step == 5
        if later and len(content.found) == bool(cv) and not lost_at:
            lost_at.append(content.snapshot.step)
            crew.inbox.put((worker, kind, number, content))  # the last that is heard of it
            worker.lose()

    crew.listener = lose
    study.fit()
    assert lost_at and len(crew.hired) == 2
    assert victim.found(study) == victim.found(inline)
    steps = [content[0] for content in kinds(crew, "measured") if content[1] is not None]
    before, after = steps[: steps.index(5)], steps[steps.index(5) :]
    assert 1 in before and 1 not in after[: after.index(10)]  # the second worker began at step 5


def test_a_trial_that_loses_its_workers_again_and_again_fails(make):
    crew = Nearby(1)

    def lose(worker, kind, number, content):
        if number == 1 and not worker.lost:
            worker.lose()

    crew.listener = lose
    study = make(trials=3, executor=crew).fit()
    assert [trial.state for trial in study.trials] == ["complete", "failed", "complete"]
    assert study.trials[1].note == "WorkerLost: trial 1 lost 3 workers one after the other: it went away."
    crew = Nearby(1)
    crew.listener = lambda worker, *said: worker.lost or worker.lose()
    with pytest.raises(WorkerLost, match="trial 0 lost 3 workers"):
        make(trials=3, executor=crew).fit()


class Pending:
    """A worker for which there is no room: it never comes to be."""

    ended = False

    def send(self, kind, content):
        pass

    def end(self):
        self.ended = True


def test_a_trial_whose_worker_finds_no_room_is_given_to_one_that_is_free(make, monkeypatch):
    monkeypatch.setattr("nbopt.search.executors.crew._START_SECONDS", 0.0)
    crew, pending = Nearby(2), []

    def hire(study):
        if not crew.hired:
            return Nearby.hire(crew, study)
        pending.append(Pending())
        return pending[-1]

    crew.hire = hire
    given = {"trials": 4, "sampler": "random"}
    study = make(**given, executor=crew).fit()
    assert victim.found(study) == victim.found(make(**given).fit())
    assert len(crew.hired) == 1 and pending and all(worker.ended for worker in pending)


class TooHot(Exception):
    def __init__(self, degrees, where):
        super().__init__(f"{degrees} degrees in {where}")


class Cold(Exception):
    pass


def freeze(trial):
    raise Cold("1 degree")


def test_an_objective_of_ones_own_asks_its_study():
    """Suggestions, notes, pruning and errors go to and fro."""

    def objective(trial):
        x = trial.suggest_float("x", -1.0, 1.0) + trial.suggest_int("n", 0, 3)
        kind = trial.suggest_categorical("kind", ["a", "b"])
        trial.set_user_attr("tried", trial.number)
        for step in range(3):
            trial.report(x**2 + step, step)
            if trial.should_prune():
                raise trial.prune()
        if trial.user_attrs["tried"] == 3:
            raise TooHot(99, "here")
        return x**2 + (kind == "b")

    given = {"trials": 8, "pruner": "median", "store": None}
    inline = nbopt.Study(objective=objective, **given).fit()
    elsewhere = nbopt.Study(objective=objective, executor=Nearby(1), **given).fit()
    assert victim.found(elsewhere) == victim.found(inline)
    assert elsewhere.trials[3].state == "failed" and "99 degrees in here" in elsewhere.trials[3].note
    with pytest.raises(Cold, match="1 degree") as caught:
        nbopt.Study(objective=freeze, executor=Nearby(1), store=None).fit()
    assert "in freeze" in caught.value.__notes__[0]  # the lines of the worker
    assert {"complete", "pruned", "failed"} == {trial.state for trial in elsewhere.trials}


def test_another_study_takes_over_what_workers_do(make, tmp_path):
    """A study whose process went away is opened again, and goes on with the trials that its workers are at."""
    given = {"trials": 5, "epochs": 6, "sampler": "random"}
    unbroken = make(**given).fit()
    crew = Nearby(2)
    first = make(**given, store=tmp_path, executor=crew)
    first.watchers.append(lambda: len(first.trials) > 3 and first.trials[3].reports and first.pause(wait=False))
    first.fit()
    assert first._written < 5
    first.record.release()
    later = Nearby(2, crew.hired)
    again = nbopt.open(
        first.id, torch.nn.Linear(4, 2), first._subject.blueprint._spec.train, store=tmp_path, executor=later
    )
    again._subject.blueprint._build = first._subject.blueprint._build
    again.fit()
    assert victim.found(again) == victim.found(unbroken)
    assert "said" in {kind for kind, *_rest in later.said}
