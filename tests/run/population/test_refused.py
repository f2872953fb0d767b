"""What a population cannot be made of, or do, is told in words, and nothing of it is done."""

import numpy as np
import pandas as pd
import pytest
import torch

import nbopt
from nbopt.errors import InvalidHyperparam
from tests.run.population.shared import SETTINGS, dense, digits, model_of

__all__ = ["digits"]
pytestmark = pytest.mark.usefixtures("one_torch_thread")


def make(digits, **settings):
    return nbopt.Population(model_of(dense), digits, store=None, **{**SETTINGS, "lr": [0.01, 0.02], **settings})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"lr": np.array([[0.1, 0.2]])}, r"lr: give a sequence of one value .* shape \(1, 2\)"),
        ({"lr": torch.ones(2, 1)}, r"lr: give a sequence of one value .* shape \(2, 1\)"),
        ({"same_batches": "no"}, "same_batches must be True or False; got 'no'"),
        ({"combine": "all"}, "combine must be True or False; got 'all'"),
    ],
)
def test_what_it_is_made_of(digits, settings, told):
    with pytest.raises(InvalidHyperparam, match=told):
        make(digits, **settings)


@pytest.mark.parametrize("samples", [[None, None], "ab", [["a"], ["b"]], [{1, 2}, {3}], [[[1], [2, 3]], [1]]], ids=str)
def test_samples_that_are_none(digits, samples):
    with pytest.raises(ValueError, match="samples of member 0 must be a mask of 200 booleans or an index"):
        make(digits, samples=samples).step()


@pytest.mark.parametrize("members", [2, "first", 1.0, True, np.array([True, False]), None], ids=str)
def test_members_that_are_not_there(digits, members):
    population = make(digits)
    chosen = members if members is not None else population[0]  # a member, in the place of its number
    with pytest.raises(InvalidHyperparam, match=r"members: .* is no number of one; this population has members 0 to 1"):
        population.set(lr=0.5, members=chosen)
    assert [member.hyperparams["lr"] for member in population] == [0.01, 0.02]


@pytest.mark.parametrize(
    "members", [np.array([1]), torch.tensor([1]), [np.int64(1)], np.int64(1), [-1], (1, -1), {1}, range(1, 2)], ids=repr
)
def test_whatever_holds_whole_numbers_chooses_members(digits, members):
    population = make(digits)
    population.set(lr=0.5, members=members)
    assert [member.hyperparams["lr"] for member in population] == [0.01, 0.5]
    assert population.journal[-1].new["members"] == [1] and type(population.journal[-1].new["members"][0]) is int


@pytest.mark.parametrize("rates", [pd.Series([0.1, 0.2]), pd.Index([0.1, 0.2]), np.array([0.1, 0.2])], ids=type)
def test_whatever_holds_numbers_in_a_row_is_a_value_for_each(digits, rates):
    assert [member.hyperparams["lr"] for member in make(digits, lr=rates)] == [0.1, 0.2]


def test_the_best_step_of_a_run_that_was_never_validated(digits):
    run = nbopt.Run(model_of(dense), digits, store=None, **SETTINGS)
    run.step(2)
    for go in (lambda: run.population(lr=[0.1], at="best"), lambda: run.rewind("best"), lambda: run.branch("best")):
        with pytest.raises(InvalidHyperparam, match="there is no best step yet"):
            go()


@pytest.mark.parametrize("values", [[], 0.1, "0.1", ()], ids=str)
def test_values_to_ask_about(digits, values):
    run = nbopt.Run(model_of(dense), digits, 0.2, store=None, **SETTINGS)
    with pytest.raises(InvalidHyperparam, match="values must be a list of at least one value to try; got"):
        run.what_if("lr", values)


@pytest.mark.parametrize("values", [[0.1, [0.2]], [[0.1], [0.2, 0.3]], [(0.1, 0.0), (0.2,)]], ids=str)
def test_lists_of_lists_of_different_lengths(digits, values):
    run = nbopt.Run(model_of(dense), digits, 0.2, store=None, **SETTINGS)
    with pytest.raises(InvalidHyperparam, match="lr must be a finite number"):
        run.what_if("lr", values)
    with pytest.raises(InvalidHyperparam, match=r"is no value for each of lr, weight_decay"):
        run.what_if(["lr", "weight_decay"], values)
    with pytest.raises(InvalidHyperparam, match="lr must be a finite number"):
        make(digits, lr=values)


def test_members_that_were_stopped_one_by_one_do_not_go_on_and_it_says_what_does(digits):
    population = make(digits)
    population.step(2)
    for number in (0, 1):
        population.stop(members=[number])
    with pytest.raises(RuntimeError, match=r"stopped by hand\): population.run\(0\) goes on"):
        population.resume()
    alone = population.run(0, store=None)
    alone.step(1)
    assert alone.step_count == 3


def test_modes_that_its_thread_would_not_have(digits):
    population = make(digits)
    for mode in (torch.autocast("cpu", torch.bfloat16), torch.device("meta")):
        with mode, pytest.raises(RuntimeError, match=r"holds in this thread alone|made on meta by default"):
            population.start()
    assert len(population.journal) == 0
