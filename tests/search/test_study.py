import math
import threading

import optuna
import pytest
import torch

import nbopt
from nbopt.errors import InvalidHyperparam


def test_trials_are_runs_that_can_be_taken_out(make):
    study = make(trials=4).fit()
    best = study.best
    assert study.state is nbopt.RunState.FINISHED and [trial.state for trial in study.trials] == ["complete"] * 4
    assert best.objective == min(trial.objective for trial in study.trials)
    run = best.run(store=None)
    assert run.hyperparams["lr"] == best.values["lr"] and run.step_count == best.steps
    assert run.history.last("val_loss") == best.objective
    assert run.branch().step_count == run.stopping.best_step  # at the best, unless told otherwise
    run.set(epochs=3)
    assert run.fit().epoch == 3


def test_a_trial_does_what_a_run_with_its_values_does(make, blobs):
    study = make(trials=2, space=["lr", "weight_decay"]).fit()
    for trial in study.trials:
        torch.manual_seed(0)
        alone = nbopt.Run(torch.nn.Linear(4, 2), blobs, 0.25, epochs=2, batch_size=32, store=None, **trial.values).fit()
        assert alone.history.last("val_loss") == trial.objective


def test_a_trial_that_is_no_longer_held_is_trained_again_to_the_same(make):
    study = make(trials=8, sampler="random").fit()
    worst = study.ranked()[-1]
    assert worst.number not in study._sessions
    assert worst.run(store=None).history.last("val_loss") == worst.objective


@pytest.mark.parametrize("executor", ["inline", "threads", "population"])
def test_a_study_follows_from_its_seed(make, executor):
    def found(seed):
        study = make(trials=5, seed=seed, executor=executor, slots=2).fit()
        return [(trial.values, trial.objective) for trial in study.trials]

    assert found(1) == found(1) != found(2)


def test_threads_carry_out_several_trials_at_once():
    meeting = threading.Barrier(2)

    def meet(trial):
        meeting.wait(30)
        return trial.values["lr"]

    rate = nbopt.Float(0.1, low=0.0, high=1.0)
    study = nbopt.Study(objective=meet, space={"lr": rate}, trials=4, executor="threads", slots=2, store=None)
    assert [trial.state for trial in study.fit().trials] == ["complete"] * 4


@pytest.mark.parametrize("executor", ["inline", "threads", "population"])
def test_it_pauses_goes_on_and_stops(make, executor):
    study = make(trials=400, epochs=4, executor=executor, slots=2)
    begun = threading.Event()
    study.watchers.append(begun.set)
    study.start()
    assert begun.wait(30)
    study.pause()
    done = len([trial for trial in study.trials if trial.is_done])
    assert study.state is nbopt.RunState.PAUSED and done < 400
    assert len([trial for trial in study.trials if trial.is_done]) == done
    study.resume()
    with study.moved:
        assert study.moved.wait_for(lambda: study._written > done, 60)
    study.stop()
    assert study.state is nbopt.RunState.STOPPED
    assert all(trial.is_done for trial in study.trials)  # those under way are given up
    study.set(trials=len(study.trials) + 2)
    study.fit()
    assert [trial.number for trial in study.trials] == list(range(len(study.trials)))
    assert {"start", "pause", "resume", "stopped", "trials", "finished"} <= {entry.name for entry in study.journal}


def test_pausing_changes_nothing(make):
    unbroken = make(trials=4).fit()
    study = make(trials=4)
    study.watchers.append(lambda: study._written == 2 and study.pause(wait=False))
    study.fit()
    study.watchers.clear()
    assert study.state is nbopt.RunState.PAUSED
    study.fit()
    assert [trial.objective for trial in study.trials] == [trial.objective for trial in unbroken.trials]


def test_a_hand_adds_narrows_and_pins(make):
    study = make(trials=3, space=["lr", "weight_decay"])
    study.add(lr=0.5)
    study.pin(weight_decay=0.25)
    study.fit()
    assert study.trials[0].values["lr"] == 0.5 and study.trials[0].source == "code"
    assert [trial.values["weight_decay"] for trial in study.trials] == [0.25] * 3
    study.narrow(lr=(0.01, 0.02))
    study.set(trials=5)
    study.add(lr=0.7)  # legal, outside of what is searched: it is tried, and the sampler is not told
    study.fit()
    assert study.trials[3].values["lr"] == 0.7 and 0.01 <= study.trials[4].values["lr"] <= 0.02
    acts = [(entry.step, entry.name, entry.new) for entry in study.journal if entry.source == "code"]
    assert (0, "add", {"lr": 0.5}) in acts and (3, "narrow", {"lr": [0.01, 0.02]}) in acts


def test_one_more_is_added_where_all_were_asked_for(make):
    study = make(trials=1).fit()
    study.add(lr=0.5)
    assert len(study.fit().trials) == 2


def test_a_trial_is_stopped_by_hand(make):
    study = make(trials=2, epochs=50)
    stop = iter([0])

    def look():
        trial = study.trials[-1] if study.trials else None
        if trial is not None and trial.reports and trial.number == 0 and next(stop, None) == 0:
            study.stop_trial(0)

    study.watchers.append(look)
    study.fit()
    assert [trial.state for trial in study.trials] == ["pruned", "complete"]
    assert study.trials[0].steps < study.trials[1].steps and study.trials[0].note == "stopped by hand"
    with pytest.raises(InvalidHyperparam, match="not running"):
        study.stop_trial(0)


def test_the_best_is_the_one_with_the_weights_that_a_trial_ends_with(make):
    """Early stopping puts the best weights back."""
    study = make(trials=3, epochs=12, patience=2, space={"lr": (0.3, 1.0)}, optimizer="sgd").fit()
    for trial in study.trials:
        run = trial.run(store=None)
        assert trial.objective == pytest.approx(min(run.history["val_loss"][1]))


def test_a_metric_is_maximized_and_a_function_of_the_run_minimized(make):
    def size(run):
        return sum(weight.numel() for weight in run.model.parameters())

    def build(width):
        return torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.ReLU(), torch.nn.Linear(width, 2))

    space = ["lr", {"width": nbopt.Int(8, low=1, high=32, powers=True)}]
    study = make(build, space=space, objective=["val_accuracy", size], metrics=["accuracy"], trials=6).fit()
    assert [(each.name, each.direction) for each in study.objectives] == [
        ("val_accuracy", "maximize"),
        ("size", "minimize"),
    ]
    for trial in study.trials:
        assert trial.objectives[1] == 7 * trial.values["width"] + 2
        assert not any(
            other.objectives[0] >= kept.objectives[0] and other.objectives[1] < kept.objectives[1]
            for other in study.trials
            for kept in study.front
        )
    with pytest.raises(InvalidHyperparam, match=r"study\.front"):
        _ = study.best


@pytest.mark.parametrize(
    "build",
    [
        lambda width: nbopt.models.MLP(4, 2, width=width),
        lambda values: nbopt.models.MLP(4, 2, width=values["width"]),
        __import__("functools").partial(nbopt.models.MLP, 4, 2),
    ],
    ids=["named", "mapping", "family"],
)
def test_a_model_is_built_of_a_trials_values(make, build):
    study = make(build, space=["lr", "width"], trials=3).fit()
    for trial in study.trials:
        run = trial.run(store=None)
        assert run.model.width == trial.values["width"] and run.hyperparams["lr"] == trial.values["lr"]


def test_weights_follow_from_the_seed_and_the_users_draws_stay(make):
    build = lambda: torch.nn.Linear(4, 2)  # noqa: E731
    before = torch.get_rng_state()
    runs = [make(build, trials=1, seed=seed).fit().trials[0].run(store=None) for seed in (0, 0, 1)]
    torch.set_rng_state(before)
    first, again, other = (run.snapshots[0].tensors["model.weight"] for run in runs)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_users_model_is_not_trained(make):
    model = torch.nn.Linear(4, 2)
    before = model.weight.clone()
    make(model, trials=2).fit()
    assert torch.equal(model.weight, before)


def test_a_trial_that_diverges_ends_and_is_the_worst():
    study = nbopt.Study(
        torch.nn.Linear(4, 1),
        (torch.randn(64, 4), torch.randn(64, 1)),
        0.25,
        loss="mse",
        optimizer="sgd",
        space={"lr": (0.01, 0.02)},
        epochs=9,
        trials=2,
        store=None,
    )
    study.add(lr=1e12)
    study.fit()
    assert study.trials[0].state == "pruned" and "no longer a finite number" in study.trials[0].note
    assert study.best is study.trials[1] and study.trials[0].objective == math.inf


def test_the_first_trial_that_fails_ends_the_study_and_a_later_one_does_not(make):
    def fail_at(number):
        def objective(trial):
            if trial.number == number:
                raise ValueError("mine")
            return trial.values["lr"]

        rate = nbopt.Float(0.1, low=0.0, high=1.0)
        return nbopt.Study(objective=objective, space={"lr": rate}, trials=3, store=None)

    with pytest.raises(ValueError, match="mine"):
        fail_at(0).fit()
    study = fail_at(1).fit()
    assert [trial.state for trial in study.trials] == ["complete", "failed", "complete"]
    assert study.trials[1].note == "ValueError: mine"


def test_an_objective_suggests_its_own_values_in_optunas_words():
    def objective(trial):
        x, kind = trial.suggest_float("x", -1.0, 1.0), trial.suggest_categorical("kind", ["a", "b"])
        trial.report(x, 1)
        return x**2 + (kind == "b")

    study = nbopt.Study(objective=objective, trials=12, store=None).fit()
    assert set(study.best.values) == {"x", "kind"} and study.best.values["kind"] == "a"
    assert study.to_optuna().best_value == study.best.objective


def test_optuna_reads_what_was_found(make):
    study = make(trials=4, pruner="median", space=["lr", "batch_size"]).fit()
    found = study.to_optuna()
    assert found.best_value == study.best.objective and found.best_params == study.best.values
    assert [trial.params for trial in found.trials] == [trial.values for trial in study.trials]
    assert found.trials[0].intermediate_values == study.trials[0].reports


def test_optuna_alone_reads_the_file_of_a_study(make, tmp_path):
    """As its dashboard does, which was tried by hand, 0.21."""
    from optuna.storages import JournalStorage, journal

    study = make(trials=3, pruner="median", space=["lr", "batch_size"], store=tmp_path).fit()
    (file,) = tmp_path.rglob(f"{study.id}.log")
    found = optuna.load_study(study_name=study.id, storage=JournalStorage(journal.JournalFileBackend(str(file))))
    assert [trial.params for trial in found.trials] == [trial.values for trial in study.trials]
    assert [trial.value for trial in found.trials] == [trial.objective for trial in study.trials]
    assert found.trials[0].intermediate_values == study.trials[0].reports


def test_a_table_has_a_row_for_each_trial(make):
    frame = make(trials=3).fit().to_pandas()
    assert list(frame.columns) == ["lr", "val_loss", "state", "steps", "seconds", "source"]
    assert frame["steps"].tolist() == [10, 10, 10]


def test_a_page_shows_curve_and_table(make):
    study = make(trials=4)
    assert "no trials yet" in study._repr_html_()
    page = study.fit()._repr_html_()
    assert "polyline" in page and f">{study.best.number}<" in page and "val_loss" in page


def test_an_objective_that_is_nan_fails_its_trial_as_optuna_has_it():
    def objective(trial):
        return math.nan if trial.number in (0, 2) else trial.values["x"]

    place = nbopt.Float(0.5, low=0.0, high=1.0)
    study = nbopt.Study(objective=objective, space={"x": place}, trials=4, store=None).fit()
    assert [trial.state for trial in study.trials] == ["failed", "complete", "failed", "complete"]
    assert study.trials[0].objectives == () and study.trials[0].note == "its objective is no number (NaN)"
    assert {trial.number for trial in study.ranked()} == {1, 3}
