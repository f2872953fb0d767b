"""Trials as members of populations, against the same trials one after the other."""

import pytest
import torch

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.search.executors.batched import Batched
from nbopt.search.executors.executor import Inline


def build(width):
    return torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.ReLU(), torch.nn.Linear(width, 2))


WIDTH = {"width": nbopt.Int(8, low=4, high=8, powers=True)}


SPACES = {"numbers": ["lr", "weight_decay"], "shapes": ["lr", WIDTH], "shared": ["lr", "batch_size"]}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_trials_do_what_they_do_by_themselves(make, space):
    given = {"space": space, "sampler": "random", "trials": 6, "pruner": "median"}
    several = space[1] is WIDTH
    alone = make(build if several else None, executor="inline", **given).fit()
    together = make(build if several else None, executor="population", slots=3, **given).fit()
    for one, other in zip(alone.trials, together.trials, strict=True):
        assert one.values == other.values
        common = one.reports.keys() & other.reports.keys()
        assert [one.reports[k] for k in common] == pytest.approx([other.reports[k] for k in common], rel=1e-4)
    best = together.best
    run = best.run(store=None)
    assert run.history.last("val_loss") == best.objective and run.hyperparams["lr"] == best.values["lr"]


def test_what_is_built_alike_trains_as_one(make, monkeypatch):
    from nbopt.search.executors.company import Company

    sizes, join = [], Company.join
    monkeypatch.setattr(Company, "join", lambda self, rows: sizes.append(len(rows)) or join(self, rows))
    study = make(build, space=["lr", WIDTH], sampler="grid", trials=6, executor="population", slots=6).fit()
    assert sorted(sizes) == [3, 3] and study.state is nbopt.RunState.FINISHED


def test_the_sampler_is_asked_for_a_batch_and_told_of_it_whole(make):
    study = make(trials=8, executor="population", slots=4)
    asked, ask = [], study._asktell.ask
    study._asktell.ask = lambda *given: asked.append(len(study._asktell._told)) or ask(*given)
    study.fit()
    assert asked == [0, 0, 0, 0, 4, 4, 4, 4]


def test_a_sampler_that_learns_is_told_the_more_often_the_fewer_trials_there_are(make, tmp_path, blobs, monkeypatch):
    study = make(trials=60, executor="auto", store=tmp_path)
    known = [0, 10, 10, 16, 58]  # what it draws at random comes first, at once
    assert [study.executor.known(number) for number in (9, 10, 15, 16, 59)] == known
    study.record.release()
    again = nbopt.open(study.id, torch.nn.Linear(4, 2), blobs, store=tmp_path)
    assert [again.executor.known(number) for number in (9, 10, 15, 16, 59)] == known
    refilled = make(trials=60, executor="auto", pruner="hyperband").executor
    assert [refilled.known(number) for number in (9, 10, 16, 22, 59)] == [0, 10, 10, 16, 52]
    together = make(trials=30, executor="population").executor
    assert [together.known(number) for number in (9, 10, 12, 13, 29)] == [0, 10, 10, 13, 28]
    run = nbopt.Run(torch.nn.Linear(4, 2), blobs, 0.25, epochs=2, store=None)
    near = nbopt.Study.around(run, ["lr"], trials=16).executor
    assert [near.known(number) for number in (9, 10, 12, 15)] == [0, 10, 12, 14]
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert make(trials=30, executor="threads").executor.slots == 7
    assert make(trials=30, executor="threads", sampler="random").executor.slots == 64


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"trials": 59}, Inline),
        ({"trials": 60}, Batched),
        ({"trials": 10}, Batched),  # of which TPE draws all at random
        ({"trials": 30, "cv": 3}, Batched),  # nine trainings
        ({"trials": 30, "slots": 3}, Batched),
        ({"trials": 30, "sampler": "random"}, Batched),
    ],
)
def test_a_sampler_knows_of_all_trials_where_a_few_at_once_would_be_no_faster(make, given, kind):
    assert type(make(executor="auto", **given).executor) is kind


def test_values_that_do_not_go_together_fail_their_trial_alone(make):
    space = {"weight_bits": [0, 4], "codebook": [0, 16]}
    study = make(space=space, sampler="random", trials=3, executor="population", slots=2, epochs=1)
    for values in ((0, 0), (4, 16), (4, 16)):  # beside another one, and alone
        study.add(**dict(zip(space, values, strict=True)))
    assert [trial.state for trial in study.fit().trials] == ["complete", "failed", "failed"]


def test_a_pruned_member_ends_early(make):
    study = make(trials=8, epochs=6, pruner="successive_halving", executor="population", slots=8).fit()
    steps = {trial.state: trial.steps for trial in study.trials}
    assert steps["pruned"] < steps["complete"] == 6 * 5


def test_the_next_trial_takes_the_place_of_a_pruned_one_and_is_stepped_by_the_same(make, monkeypatch):
    """By the same compiled steps, too: nothing is made anew, and every trial is what it is by itself."""
    from nbopt.search.executors.company import Company
    from nbopt.training.many.together import Together

    beside, join, made = [], Company.join, []
    monkeypatch.setattr(Company, "join", lambda self, rows: beside.append(len(self.rows)) or join(self, rows))
    first = Together.__init__
    monkeypatch.setattr(Together, "__init__", lambda self: made.append(self) or first(self))
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.1), torch.nn.Linear(8, 2))
    given = {"space": ["lr", "dropout"], "trials": 16, "epochs": 6, "sampler": "random"}
    study = make(model, executor="population", slots=4, pruner="hyperband", **given).fit()
    assert len(made) == 1 and made[0].tier == "together"
    assert beside[0] == 0 and max(beside) > 0 and len(beside) > 4
    states = [trial.state for trial in study.trials]
    assert states.count("pruned") > 4 and states.count("pruned") + states.count("complete") == 16
    alone = make(model, **given).fit()
    for one, other in zip(alone.trials, study.trials, strict=True):
        assert one.values == other.values
        got = [one.reports[k] for k in other.reports]
        assert got == pytest.approx([*other.reports.values()], rel=1e-4)


def test_a_pruner_compares_with_whoever_is_as_far_whenever_the_study_was_interrupted(make):
    """Not with those of another shape, which train before or after it, or have ended when the study is opened again."""
    given = {"sampler": "random", "trials": 12, "executor": "population", "slots": 4, "pruner": "hyperband"}
    study, again = (make(build, space=["lr", WIDTH], **given) for _time in range(2))
    study._fill()
    widths = [trial.values["width"] for trial in study.trials]
    again.executor.recall(map(study._make_job, study.trials))
    for number in range(4):
        alike = [m for m in range(number) if widths[m] == widths[number]]
        for executor in (study.executor, again.executor):
            assert [m for m in range(12) if m in executor.compared(number)] == alike
    assert len(set(widths)) == 2


def test_batches_one_after_the_other_are_stepped_by_the_same(make, monkeypatch):
    from nbopt.training.many.together import Together

    made, first = [], Together.__init__
    monkeypatch.setattr(Together, "__init__", lambda self: made.append(self) or first(self))
    study = make(trials=9, executor="population", slots=3).fit()
    assert len(made) == 1 and all(trial.state == "complete" for trial in study.trials)


def test_a_trial_is_stopped_among_others_and_while_it_waits(make):
    study = make(build, space=["lr", WIDTH], sampler="grid", trials=6, epochs=4, executor="population", slots=6)
    waits = {}

    def stop():
        if not waits and study.trials and study.trials[0].reports:
            other = next(trial for trial in study.trials if trial.values["width"] != study.trials[0].values["width"])
            waits[0], waits[1] = 0, other.number
            study.stop_trial(0)
            study.stop_trial(other.number)

    study.watchers.append(stop)
    study.fit()
    assert [study.trials[n].state for n in waits.values()] == ["pruned", "pruned"]
    assert study.trials[waits[1]].steps == 0 < study.trials[0].steps < 4 * 5
    assert sum(trial.state == "complete" for trial in study.trials) == 4


@pytest.mark.parametrize("executor", ["inline", "population"])
def test_a_trial_that_has_trained_to_its_end_is_complete(make, executor):
    from optuna.pruners import ThresholdPruner

    ends = ThresholdPruner(upper=0.0, n_warmup_steps=2)  # whatever is validated a second time
    study = make(trials=3, epochs=2, pruner=ends, executor=executor, slots=3).fit()
    assert [trial.state for trial in study.trials] == ["complete"] * 3
    longer = make(trials=3, epochs=3, pruner=ends, executor=executor, slots=3).fit()
    assert [trial.state for trial in longer.trials] == ["pruned"] * 3


def test_small_models_train_together_by_themselves_and_large_ones_one_by_one(make):
    assert isinstance(make(executor="auto").executor, Batched)
    large = torch.nn.Sequential(torch.nn.Linear(4, 600), torch.nn.Linear(600, 600), torch.nn.Linear(600, 2))
    assert isinstance(make(large, executor="auto").executor, Inline)


def test_models_that_are_hardly_ever_alike_train_one_by_one(make):
    few, many = ({"width": nbopt.Int(8, low=4, high=high)} for high in (6, 60))
    for space, trials, kind in ((few, 6, Batched), (many, 6, Inline), (few, 5, Inline), (many, 114, Batched)):
        assert type(make(build, space=space, trials=trials, executor="auto").executor) is kind
    assert type(make(build, space=few, trials=2, cv=3, executor="auto").executor) is Batched  # whose folds are


def test_only_what_nbopt_trains_is_a_member_and_a_sampler_that_does_not_look_has_more_of_them(make):
    assert make(executor="auto", trials=100).executor.batch == 8  # so that TPE learns on the way
    assert make(executor="auto", trials=100, sampler="random").executor.slots == 64
    with pytest.raises(InvalidHyperparam, match="build="):
        nbopt.Study(objective=lambda trial: 1.0, executor="population", store=None)


def told_of(run):
    return " ".join(str(entry.new) for entry in run.journal if entry.kind == "event")


def test_a_run_that_is_trained_again_says_what_it_measures_otherwise(make):
    def worst_of(executor):
        study = make(executor=executor, sampler="random", trials=12, slots=6, space=["lr", "weight_decay"]).fit()
        runs = [(trial, trial.run(store=None)) for trial in study.trials if trial.number not in study._sessions]
        return [(trial.objective, run.history.last("val_loss"), told_of(run)) for trial, run in runs]

    for then, now, told in worst_of("population"):
        assert now == pytest.approx(then, rel=1e-5)
        assert (f"its val_loss is {now!r}; the trial had {then!r}" in told) == (now != then)
    assert all(now == then and "trained again" not in told for then, now, told in worst_of("inline"))
