"""Stores as earlier versions of nbopt wrote them: today's opens them, reads them, and goes on as they did.

``old_names`` was written before schedules' hyperparameters had today's names, and before what optimizers remember went
by the names of weights; ``before_techniques`` before guard, early stopping and dropout were techniques. Both hold four
runs, paused in the middle of their lives, and what each measured in its next 12 steps. Not to be changed: users have
such files.
"""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import nn

import nbopt
from nbopt.store import schema
from nbopt.store.reading import read

STORES = Path(__file__).parents[1] / "store"
NAMES = ("old_names", "before_techniques")
X = torch.arange(120.0).reshape(60, 2) / 64 - 0.9
Y = (X[:, 0] + X[:, 1] > 0).long() + (X[:, 0] > 0.5).long()
T = (X[:, :1] * X[:, 1:]) ** 2

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore:.*not bit for bit", "ignore:micro_batch"),  # the first on another machine
]


def net(*layers):
    torch.manual_seed(0)
    return nn.Sequential(*(make() for make in layers))


def regressor():
    return net(lambda: nn.Linear(2, 4), nn.Tanh, lambda: nn.Linear(4, 1))


def classifier():
    first = [lambda: nn.Linear(2, 6), lambda: nn.BatchNorm1d(6), nn.ReLU, lambda: nn.Dropout(0.1)]
    return net(*first, lambda: nn.Linear(6, 3))


RUNS = {
    "classifier": lambda: (classifier(), (X, Y), (X, Y)),
    "rates": lambda: (regressor(), (X, T)),
    "terms": lambda: (regressor(), (X, T), None, [(1.0, "mse"), (0.5, "mae")]),
    "guarded": lambda: (regressor(), (X, T), (X, T)),
}


@pytest.fixture(params=NAMES)
def frozen(request, tmp_path):
    """Return a copy of a store, and what its runs did next."""
    place = STORES / request.param
    with closing(sqlite3.connect(tmp_path / schema.FILE)) as connection:
        connection.executescript((place / "store.sql").read_text())
    shutil.copytree(place / "snapshots", tmp_path / "snapshots")
    return tmp_path, json.loads((place / "went_on.json").read_text())


def id_of(folder, name):
    return next(line.id for line in nbopt.runs(folder) if line.name == name)


def test_all_runs_are_listed_and_read(frozen):
    folder, went_on = frozen
    listed = {line.name: (line.state, line.problem) for line in nbopt.runs(folder)}
    assert listed == dict.fromkeys(went_on, ("paused", ""))
    for name, told in went_on.items():
        record = read(id_of(folder, name), folder)
        assert record.end == told["step"] and record.load_snapshots()["initial"].step == 0


@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on_as_it_did(frozen, name):
    folder, went_on = frozen
    run = nbopt.open(id_of(folder, name), *RUNS[name](), store=folder)
    told = went_on[name]
    assert run.step_count == told["step"]
    run.set(epochs=500)
    run.step(12)
    assert run.history["loss"][1][told["step"] :].tolist() == pytest.approx(told["loss"], rel=1e-4)
    sums = [float(value.double().sum()) for value in run.model.state_dict().values()]
    assert sums == pytest.approx(told["weights"], rel=1e-3, abs=1e-5)
    twin = run.replay()
    twin.wait(60)
    if twin.exact:
        assert all(map(torch.equal, twin.model.state_dict().values(), run.model.state_dict().values()))
    else:  # the steps before were done on another kind of processor, which these versions did not store
        assert twin.history["loss"][1].tolist() == pytest.approx(run.history["loss"][1].tolist(), rel=1e-4)
    run.rewind(3)  # over changes of hyperparameters that had other names, into the first snapshot's future
    run.step(2)
    stored = read(run.id, folder).journal
    assert [entry.step for entry in stored] == [entry.step for entry in run.journal]  # some under their earlier names
    assert stored[-5:] == run.journal[-5:]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        (
            "classifier",
            {
                "exponential_gamma": 0.9,
                "step_gamma": 0.7,
                "step_size": 2,
                "min_delta": 0.0,
                "plateau_patience": 1,
                "dropout": 0.3,
            },
        ),
        ("rates", {"hypergradient_lr": 0.01, "momentum": 0.9, "schedule": "cosine"}),
        ("terms", {"pct_start": 0.3, "balance_rate": 0.05}),
        ("guarded", {"optimizer": "adam", "lr": 0.01, "schedule": "bold_driver"}),
    ],
)
def test_values_are_found_under_the_names_of_today(frozen, name, values):
    folder, _went_on = frozen
    run = nbopt.open(id_of(folder, name), *RUNS[name](), store=folder)
    assert {name: run.hyperparams[name] for name in values} == values


def test_a_diverged_run_remembers_its_retreat(frozen):
    folder, _went_on = frozen
    record = read(id_of(folder, "guarded"), folder)
    assert [entry.name for entry in record.journal if entry.source == "guard"] == ["diverged", "rewind", "lr"]
