"""Scripts where there is no nbopt, and of any schedule."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nbopt import RunState
from nbopt.techniques.optimizers.standard import OPTIMIZERS
from tests.export import scripts
from tests.export.test_script import CASES
from tests.tries import tries

make, follow, check = scripts.make, scripts.follow, scripts.check


# -- without nbopt, in another process


CASES_ELSEWHERE = (*OPTIMIZERS, "many", "balanced_terms", "float16")  # all others do the same here, see test_script


@pytest.fixture(scope="module")
def elsewhere(one_torch_thread, mlp_maker, blobs, tmp_path_factory):
    """Return for each case its run and script, and what the script measured and trained where there is no nbopt."""
    runs, jobs = [], []
    for name in CASES_ELSEWHERE:
        given_settings, schedule = CASES[name]
        run, initial = make(mlp_maker(), blobs, 0.2, **{"epochs": 4, "batch_size": 20, **given_settings})
        text = follow(run, schedule).to_python()
        runs.append((run, text))
        jobs.append((text, initial, blobs, None))
    done = scripts.execute_elsewhere(jobs, tmp_path_factory.mktemp("elsewhere"))
    return {name: (*run, *result) for name, run, result in zip(CASES_ELSEWHERE, runs, done, strict=True)}


@pytest.mark.parametrize("name", CASES_ELSEWHERE)
def test_a_script_needs_no_nbopt(name, elsewhere):
    run, text, measured, model = elsewhere[name]
    assert "nbopt" not in text
    assert scripts.compare(run, measured, model) == 0.0


# -- any schedule

CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "lr": st.sampled_from([0.0, 1e-3, 0.05]),
        "batch_size": st.integers(1, 40),
        "weight_decay": st.sampled_from([0.0, 0.1]),
        "l1": st.sampled_from([0.0, 0.01]),
        "dropout": st.sampled_from([0.0, 0.3]),
        "momentum": st.sampled_from([0.0, 0.9]),
        "nesterov": st.booleans(),
        "micro_batch": st.integers(0, 9),
        "precision": st.sampled_from(["float32", "bfloat16", "float16"]),
        "optimizer": st.sampled_from(["sgd", "adam", "adamw", "rmsprop"]),
        "epochs": st.integers(1, 4),
        "early_stopping": st.booleans(),
        "patience": st.integers(1, 2),
    },
)


@tries(15)
@given(
    start=CHANGES,
    schedule=st.dictionaries(st.integers(0, 12), CHANGES, max_size=4),
    seed=st.integers(0, 2**40),
    stop=st.none() | st.integers(1, 12),
)
def test_any_schedule(mlp_maker, blobs, start, schedule, seed, stop):
    start = {"epochs": 3, "batch_size": 20, "early_stopping": False, **start}
    run, initial = make(mlp_maker(), blobs, blobs, seed=seed, **start)
    run.changes.plan(scripts.operations(schedule, "test"))
    if stop is None:
        run.start()
        assert run.wait(60) is RunState.FINISHED
    else:
        run.step(stop)
    assert check(run, initial, blobs, blobs)[1] == 0.0


@pytest.fixture(scope="module")
def mlp_maker():
    def maker():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))

    return maker
