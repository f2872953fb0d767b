"""Each sampler and pruner under one contract."""

import functools
import math

import numpy as np
import pytest

import nbopt
from nbopt.errors import UnknownName
from nbopt.search.samplers.pruners import PRUNERS
from nbopt.search.samplers.samplers import SAMPLERS

SPACE = {
    "lr": nbopt.Float(1e-3, low=1e-6, high=1.0, log=True),
    "rate": nbopt.Float(0.0, low=0.0, high=1.0),
    "width": nbopt.Int(64, low=8, high=1024, powers=True),
}
TRIALS = 40
ALL = [
    name for name in SAMPLERS if name not in ("pbt", "hypergradient")
]  # which need models that train: see their own tests


def bowl(trial):
    """Lowest at lr=1e-3, rate=0.3, width=64; there it is 0."""
    values = trial.values
    far = (math.log10(values["lr"]) + 3) / 3, (values["rate"] - 0.3) / 0.7, (math.log2(values["width"]) - 6) / 4
    return sum(each**2 for each in far)


def search(sampler, seed=0, trials=TRIALS, **given):
    study = nbopt.Study(objective=bowl, space=SPACE, sampler=sampler, trials=trials, seed=seed, store=None, **given)
    return study.fit()


def values_of(study):
    return [trial.values for trial in study.trials]


@pytest.mark.parametrize("sampler", ALL)
def test_values_follow_from_the_seed(sampler):
    trials = 12 if sampler == "gp" else 16  # the first ten of which it draws at random
    first, again = (values_of(search(sampler, 0, trials)) for _time in range(2))
    assert first == again
    assert first[:5] != values_of(search(sampler, 1, 5)) or sampler == "grid"  # which has nothing to draw


@pytest.mark.parametrize("sampler", ALL)
def test_values_stay_inside_the_space_and_a_narrower_one(sampler):

    def narrowing(trial):
        if trial.number == 11:
            study.narrow(lr=(1e-4, 1e-2), width=(16, 128))
        return bowl(trial)

    study = nbopt.Study(objective=narrowing, space=SPACE, sampler=sampler, trials=14, store=None)
    study.narrow(rate=(0.25, 0.75))
    for trial in study.fit().trials:
        assert 0.25 <= trial.values["rate"] <= 0.75
        low, high = (1e-6, 1.0) if trial.number <= 11 else (1e-4, 1e-2)
        assert low <= trial.values["lr"] <= high
        assert trial.values["width"] in ([2**k for k in range(3, 11)] if trial.number <= 11 else [16, 32, 64, 128])


NOT_BETTER = {
    "random": "it is what the others are compared with",
    "grid": "three dimensions leave it three values of each",
    "qmc": "it covers the space evenly and does not look at what it finds",
    "nsga2": "of one objective it is a genetic algorithm that begins with a whole generation at random",
    "reinforce": "it learns which eighth of a range is good, and draws within; of operations it learns more, see below",
}


@pytest.mark.parametrize("sampler", [name for name in ALL if name not in NOT_BETTER])
def test_a_sampler_finds_an_optimum_better_than_chance(sampler):
    """At equal budget, by the median over seeds; of gp, which takes long, over fewer and shorter ones."""
    seeds, trials = (range(1), 16) if sampler == "gp" else (range(3), TRIALS)
    found = np.median([search(sampler, seed, trials).best.objective for seed in seeds])
    assert found < chance(trials)


@functools.cache
def chance(trials):
    return np.median([search("random", seed, trials).best.objective for seed in range(5)])


FAR = {
    "depth": nbopt.Int(2, low=1, high=5),
    "lr": nbopt.Float(1e-3, low=1e-5, high=1.0, log=True),
    **{
        f"op_{k}": nbopt.Choice("a", options=tuple("abcdef"), when={"depth": range(k, 6)} if k > 1 else {})
        for k in range(1, 6)
    },
}


def far(trial):
    """Lowest, 0, with four operations, c, a, f, b, at lr=1e-2."""
    values, best = trial.values, "cafb"
    wrong = sum(values[f"op_{k}"] != best[k - 1] for k in range(1, min(values["depth"], 4) + 1))
    return 0.25 * wrong + 0.5 * abs(values["depth"] - 4) + 0.3 * abs(math.log10(values["lr"]) + 2)


@functools.cache
@functools.cache
def typical(sampler):
    given = {"objective": far, "space": FAR, "sampler": sampler, "trials": 50, "store": None}
    return np.median([nbopt.Study(seed=seed, **given).fit().best.objective for seed in range(3)])


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "genetic", "annealing", "particle_swarm", "cmaes", "reinforce"])
def test_an_architecture_is_found_better_than_by_chance(sampler):
    """Where what is searched are operations, some of which matter at some depths only. Not gp, which takes long."""
    assert typical(sampler) < typical("random")


def test_a_grid_finds_the_cell_that_is_best():
    study = search("grid", trials=27)
    cells = [bowl(trial) for trial in study.trials]
    assert study.best.objective == min(cells) and len({str(values) for values in values_of(study)}) == 27


def test_qmc_covers_a_range_more_evenly_than_chance():
    def gap(sampler):
        places = sorted(values["rate"] for values in values_of(search(sampler, trials=32)))
        return max(np.diff([0.0, *places, 1.0]))

    assert gap("qmc") < gap("random")


@pytest.mark.parametrize("pruner", [name for name in PRUNERS if name != "none"])
def test_a_pruner_spends_less_and_does_so_again(pruner):
    def climb(trial):
        reached = 0.0
        for step in range(9):
            reached = bowl(trial) + 1 / (step + 1)
            trial.report(reached, step + 1)
            if trial.should_prune():
                raise trial.prune()
        return reached

    def spend():
        study = nbopt.Study(objective=climb, space=SPACE, sampler="random", pruner=pruner, trials=30, store=None).fit()
        return study, [len(trial.reports) for trial in study.trials]

    study, spent = spend()
    assert sum(spent) < 30 * 9 and spend()[1] == spent
    assert {trial.state for trial in study.trials} == {"complete", "pruned"}


@pytest.mark.parametrize("pruner", [name for name in PRUNERS if name != "none"])
def test_a_pruner_finds_a_better_optimum_for_as_many_reports(pruner):
    """What it saves on bad trials is spent on more of them: by the median over seeds, at equal budget."""

    def found(pruner, seed):
        budget, best = 90, math.inf

        def climb(trial):
            nonlocal budget, best
            for step in range(9):
                budget -= 1
                reached = bowl(trial) + 1 / (step + 1)
                trial.report(reached, step + 1)
                if budget > 0 and trial.should_prune():
                    raise trial.prune()
            best = best if budget < 0 else min(best, reached)
            if budget <= 0:
                study.set(trials=max(1, study.asked))
            return reached

        given = {"space": SPACE, "sampler": "random", "pruner": pruner, "trials": 90, "seed": seed, "store": None}
        study = nbopt.Study(objective=climb, **given)
        study.fit()
        return best

    assert np.median([found(pruner, seed) for seed in range(6)]) < np.median([found("none", seed) for seed in range(6)])


def test_optunas_own_sampler_and_pruner_are_taken():
    import optuna

    study = search(optuna.samplers.TPESampler(seed=3), trials=5, pruner=optuna.pruners.MedianPruner())
    assert len(study.trials) == 5


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"sampler": "tpa"}, UnknownName, "Did you mean 'tpe'"),
        ({"sampler": 3}, TypeError, "sampler of Optuna"),
        ({"pruner": "medium"}, UnknownName, "Did you mean 'median'"),
        ({"sampler": "genetic", "direction": ["minimize", "maximize"]}, ValueError, "one objective only"),
        ({"pruner": "median", "direction": ["minimize", "maximize"]}, ValueError, "pruner=None"),
        ({"sampler": "grid", "space": None}, ValueError, "needs a space"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(given, error, told):
    with pytest.raises(error, match=told):
        nbopt.Study(objective=bowl, **{"space": SPACE, "store": None, **given})
