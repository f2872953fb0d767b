"""A search around where a run is: its trials are what branches of the run would be, and the run stays as it is."""

import copy

import pytest
import torch

import nbopt
from nbopt.errors import InvalidHyperparam


@pytest.fixture
def run(blobs):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(8, 2))
    made = nbopt.Run(model, blobs, 0.25, epochs=6, batch_size=32, lr=0.01, weight_decay=1e-3, store=None)
    made.step(7)
    return made


def state_of(run):
    weights = copy.deepcopy(run.model.state_dict())
    return weights, dict(run.hyperparams), [entry[:5] for entry in run.journal], run.step_count


def same(one, other):
    return all(torch.equal(one[0][name], other[0][name]) for name in one[0]) and one[1:] == other[1:]


@pytest.mark.parametrize("at", ["now", 0, 5], ids=["now", "the beginning", "before"])
def test_trials_are_branches_of_the_run_which_stays_as_it_is(run, at):
    before = state_of(run)
    study = nbopt.Study.around(run, ["lr", "weight_decay"], at=at, trials=5, slots=3).fit()
    assert same(before, state_of(run))
    assert study.trials[0].values == {"lr": 0.01, "weight_decay": 1e-3} and study.trials[0].source == "code"
    for trial in (study.trials[0], study.best, study.trials[-1]):
        branch = run.branch(at=run.step_count if at == "now" else at, **trial.values)
        branch.fit()
        assert trial.objective == pytest.approx(branch.history.last("val_loss"), rel=1e-4)
        assert trial.steps == branch.step_count
        taken = trial.run(store=None)
        assert taken.history.last("val_loss") == pytest.approx(trial.objective, rel=1e-4)
    run.set(source="search", **study.best.values)
    assert run.hyperparams["lr"] == study.best.values["lr"] and run.journal[-1].source == "search"
    assert run.search is study


def test_ranges_are_parts_of_the_declared_ones_about_the_present_values(run):
    wide = nbopt.Study.around(run, trials=2)
    assert list(wide.space) == ["lr", "weight_decay", "dropout"]
    near = nbopt.Study.around(run, share=0.1, trials=2)
    for name, dimension in near.space.items():
        value, other = run.hyperparams[name], wide.space[name]
        assert other.low <= dimension.low < value < dimension.high <= other.high, name
    declared = run.hyperparams.spec("lr")
    decades = torch.log10(torch.tensor([near.space["lr"].high / near.space["lr"].low, declared.high / declared.low]))
    assert float(decades[0] / decades[1]) == pytest.approx(0.1, rel=1e-3)
    given = nbopt.Study.around(run, {"lr": (1e-3, 2e-3)}, trials=2)
    assert given.space["lr"].ends == [1e-3, 2e-3]


@pytest.mark.parametrize("value", [1.0, 0.0], ids=["at the end", "a true zero"])
def test_at_the_end_of_a_range_as_much_is_searched(run, value):
    run.set(weight_decay=value)
    dimension = nbopt.Study.around(run, ["weight_decay"], trials=3).space["weight_decay"]
    spec = run.hyperparams.spec("weight_decay")
    share = torch.log(torch.tensor(dimension.high / dimension.low)) / torch.log(torch.tensor(spec.high / spec.low))
    assert float(share) == pytest.approx(0.25, rel=1e-3)
    assert dimension.low == spec.low if not value else dimension.high == spec.high


def test_the_run_may_go_on_meanwhile_and_trials_begin_where_it_was(run):
    study = nbopt.Study.around(run, ["lr"], trials=3)
    steps = run.step_count
    run.step(6)
    study.fit()
    branch = run.branch(at=steps)
    branch.fit()
    assert study.trials[0].objective == pytest.approx(branch.history.last("val_loss"), rel=1e-4)
    assert run.step_count == steps + 6


def test_values_that_are_one_for_all_members_are_searched_too(run):
    study = nbopt.Study.around(run, ["lr", "batch_size"], share=0.5, trials=6, slots=3).fit()
    assert all(trial.state == "complete" for trial in study.trials)
    assert len({trial.values["batch_size"] for trial in study.trials}) > 1


def test_trials_go_on_for_so_many_epochs_and_bad_ones_are_pruned(run):
    steps = run.step_count
    study = nbopt.Study.around(run, ["lr"], epochs=8, share=1.0, trials=12, slots=4, pruner="hyperband").fit()
    done = [trial for trial in study.trials if trial.state == "complete"]
    assert {trial.steps for trial in done} == {(1 + 8) * 5} and steps == 7
    assert any(trial.state == "pruned" for trial in study.trials)


def test_what_cannot_be_searched_is_said(run):
    with pytest.raises(InvalidHyperparam, match="before the first step"):
        nbopt.Study.around(run, ["initialization"])
    nbopt.Study.around(run, ["initialization"], at=0, trials=2)
    with pytest.raises(InvalidHyperparam, match="lr"):
        nbopt.Study.around(run, ["lrr"])
    with pytest.raises(InvalidHyperparam, match="share"):
        nbopt.Study.around(run, share=1.5)
    run.fit()
    with pytest.raises(InvalidHyperparam, match="nothing is left"):
        nbopt.Study.around(run)
    assert nbopt.Study.around(run, epochs=1, trials=1).fit().best.steps == run.step_count + 5
