"""Population-based training."""

import math

import numpy as np
import pytest
import torch

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.search.executors.evolving import choose_moves
from nbopt.search.record import place_of
from nbopt.search.spaces.given import make_space
from tests.search import victim

SPACE = {"lr": (1e-5, 1e-1)}


def evolve(make, **given):
    return make(space=SPACE, sampler="pbt", trials=8, epochs=6, executor="auto", **given).fit()


def test_the_worst_go_on_from_the_best_and_the_journal_tells(make):
    study = evolve(make)
    moves = [entry.new for entry in study.journal if entry.name == "exploit"]
    assert len(moves) == 2 * 5  # a quarter of eight, after each validation but the last
    last = {move["trial"]: move["lr"] for move in moves}
    for number, rate in last.items():
        assert study.trials[number].values["lr"] == rate
    for move in moves:
        assert 1e-5 <= move["lr"] <= 1e-1


def test_trials_that_were_written_in_part_evolve_among_all_of_them_again(make, blobs, tmp_path):
    """As a kill leaves it that falls into the writing."""
    unbroken = evolve(make)
    study = evolve(make, store=tmp_path)
    study.record.release()
    lines = place_of(tmp_path, study.id).read_text().splitlines(keepends=True)
    ends = [number for number, line in enumerate(lines) if '"trial_id"' not in line and "nbopt:number" in line]
    place_of(tmp_path, study.id).write_text("".join(lines[: ends[3]]))
    again = nbopt.open(study.id, torch.nn.Linear(4, 2), blobs, store=tmp_path)
    before = victim.found(again)
    assert before == victim.found(unbroken)[:3]
    for stops in (True, False):
        if stops:
            again.watchers.append(lambda: again._begun and again.stop(wait=False))
        again.fit()
        again.watchers.clear()
        assert victim.found(again) == (before if stops else victim.found(unbroken))
    assert victim.found(nbopt.open(study.id, store=tmp_path)) == victim.found(unbroken)


def test_a_trials_run_has_its_whole_past(make):
    """With the rates that its weights were trained with, whoever had them."""
    study = evolve(make)
    run = study.best.run(store=None)
    assert run.history.last("val_loss") == study.best.objective and run.step_count == study.best.steps
    assert run.hyperparams["lr"] == study.best.values["lr"]
    again = run.replay()
    again.wait()
    assert again.history.last("val_loss") == pytest.approx(study.best.objective, rel=1e-4)


def test_it_follows_from_its_seed(make):
    first, again = (evolve(make, seed=4) for _time in range(2))
    assert [trial.values for trial in first.trials] == [trial.values for trial in again.trials]
    assert [trial.objective for trial in first.trials] == [trial.objective for trial in again.trials]


def test_it_is_better_than_chance_at_equal_budget(make):
    def typical(sampler):
        found = [
            make(space=SPACE, sampler=sampler, trials=8, epochs=6, executor="population", slots=8, seed=seed).fit()
            for seed in range(2)
        ]
        return np.median([trial.objective for study in found for trial in study.trials])

    assert typical("pbt") < typical("random")


def test_the_best_quarter_stays_and_values_stay_in_the_space():
    space = make_space({"lr": nbopt.Float(0.1, low=0.05, high=0.1), "on": nbopt.Flag(False)})
    losses = {number: float(number) for number in range(8)}
    values = {number: {"lr": 0.1, "on": True} for number in range(8)}
    moves = choose_moves(losses, values, space, np.random.default_rng(0))
    assert [move.trial for move in moves] == [6, 7] and {move.of for move in moves} <= {0, 1}
    assert all(0.05 <= move.values["lr"] <= 0.1 and isinstance(move.values["on"], bool) for move in moves)
    assert choose_moves({0: math.inf}, values, space, np.random.default_rng(0)) == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"space": ["lr", "batch_size"]}, "batch_size: population-based"),
        ({"executor": "threads"}, "train together"),
        ({"pruner": "median"}, "no pruner"),
        ({"cv": 3}, "no pruner"),
        ({"objective": "loss"}, "validation data"),
    ],
)
def test_what_cannot_change_on_the_way_is_refused(make, given, told):
    with pytest.raises(InvalidHyperparam, match=told):
        make(**{"sampler": "pbt", "space": ["lr"], "executor": "auto", **given})


def test_a_function_of_the_users_is_refused():
    rate = nbopt.Float(0.1, low=0.0, high=1.0)
    with pytest.raises(InvalidHyperparam, match="needs a model"):
        nbopt.Study(objective=lambda trial: 1.0, space={"lr": rate}, sampler="pbt", store=None)
