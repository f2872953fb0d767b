"""Trials that code of the user's asks for and carries out."""

import math

import optuna
import pytest
from torch import nn

import nbopt
from nbopt.errors import InvalidHyperparam, UnknownName
from nbopt.search.samplers.asktell import AskTell
from nbopt.search.trial import Trial

SPACE = {"x": (-1.0, 1.0)}


def asked(trials=20, **given):
    return nbopt.Study(space=SPACE, objective=None, trials=trials, **{"store": None, **given})


def square(trial):
    return (trial.values["x"] - 0.3) ** 2


def test_trials_that_are_asked_for_and_told_are_those_of_a_search():
    study = asked()
    while study.state is not nbopt.RunState.FINISHED:
        trial = study.ask()
        study.tell(trial, square(trial))
    whole = nbopt.Study(objective=square, space=SPACE, trials=20, store=None).fit()
    assert [trial.values for trial in study.trials] == [trial.values for trial in whole.trials]
    assert study.best.objective == whole.best.objective and study.to_optuna().best_value == whole.best.objective
    assert study.to_pandas()["objective"].tolist() == [trial.objective for trial in whole.trials]


def test_one_more_than_the_study_was_to_have_may_be_asked_for():
    study = asked(trials=1)
    for _number in range(2):
        study.tell(study.ask(), 1.0)
    assert repr(study) == "<Study 'study': finished, 2 of 2 trials>"


def test_a_trial_suggests_values_reports_and_is_pruned_as_one_of_optuna_s():
    study = nbopt.Study(objective=None, direction="maximize", pruner="median", trials=20, store=None)
    for number in range(8):
        trial = study.ask()
        found = trial.suggest_float("y", 0, 1)
        trial.report(-number, 0)
        study.tell(trial, found, state="pruned" if trial.should_prune() else None)
    assert [trial.state for trial in study.trials] == ["complete"] * 5 + ["pruned"] * 3
    assert all(0 <= trial.values["y"] <= 1 for trial in study.trials)


def test_results_are_recorded_in_the_order_of_numbers_and_outlive_the_object(tmp_path):
    study = asked(store=tmp_path)
    one, two, three = study.ask(), study.ask(), study.ask()
    study.tell(three.number, 0.5)
    study.tell(one)  # without a result, it failed
    assert study.step_count == 1
    study.tell(two, math.nan)
    assert [trial.state for trial in study.trials] == ["failed", "failed", "complete"]
    again = nbopt.open(study.id, store=tmp_path)
    assert [trial.values for trial in again.trials] == [trial.values for trial in study.trials]
    assert again.ask().number == 3


def test_what_is_out_of_turn_is_refused_in_words():
    study = asked()
    trial = study.ask()
    with pytest.raises(RuntimeError, match="asked for and are not told: 0"):
        study.start()
    with pytest.raises(InvalidHyperparam, match="carried out by code of your own"):
        study.stop_trial(0)
    with pytest.raises(UnknownName, match="unknown state of a trial 'done'"):
        study.tell(trial, 1.0, state="done")
    with pytest.raises(TypeError, match="must return a number"):
        study.tell(trial, "much")
    with pytest.raises(InvalidHyperparam, match="trial 7 is not out; those that are: 0"):
        study.tell(7, 1.0)
    study.stop()
    with pytest.raises(InvalidHyperparam, match="trial 0 is not out; those that are: none"):
        study.tell(trial, 1.0)
    with pytest.raises(RuntimeError, match=r"no objective .*: call study.ask\(\)"):
        study.fit()


def test_a_study_that_trains_its_trials_hands_none_out(blobs):
    study = nbopt.Study(nn.Linear(4, 2), blobs, 0.25, space=["lr"], trials=1, epochs=1, store=None)
    with pytest.raises(RuntimeError, match="carries out its trials by itself"):
        study.ask()


def test_what_an_objective_suggests_does_not_depend_on_who_is_faster():
    """The sampler looks at the trials that it knew when the trial was asked for."""

    def value_of_the_last(is_late):
        asktell = AskTell("tpe", "none", ["minimize"], 0, 1)
        for number in range(11):
            asktell.ask(number, 13)
            x = asktell.handle(number).suggest_float("x", 0, 1)
            asktell.tell(Trial(number, {"x": x}, "complete", (x,)))
        for number in (11, 12):
            asktell.ask(number, 13)
        if not is_late:
            return asktell.handle(12).suggest_float("x", 0, 1)
        x = asktell.handle(11).suggest_float("x", 0, 1)
        asktell.tell(Trial(11, {"x": x}, "complete", (x,)))
        return asktell.handle(12).suggest_float("x", 0, 1)

    assert value_of_the_last(True) == value_of_the_last(False)


def test_a_sampler_of_optunas_that_has_tried_all_ends_the_study():
    sampler = optuna.samplers.GridSampler({"x": [0.0, 1.0, 2.0]})
    study = nbopt.Study(objective=lambda trial: trial.suggest_float("x", 0, 2), sampler=sampler, trials=9, store=None)
    assert sorted(trial.objective for trial in study.fit().trials) == [0.0, 1.0, 2.0]
    assert study.state is nbopt.RunState.FINISHED


@pytest.mark.filterwarnings("ignore:Choices for a categorical")
def test_choices_that_no_file_holds_are_refused_at_once(tmp_path):
    def kinds(trial):
        return float(trial.suggest_categorical("kind", [int, float]) is int)

    assert len(nbopt.Study(objective=kinds, trials=2, store=None).fit().trials) == 2
    with pytest.raises(TypeError, match="kind: no file holds"):
        nbopt.Study(objective=kinds, trials=2, store=tmp_path).fit()
