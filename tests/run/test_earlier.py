"""Runs that an earlier version stored: they go on exactly as they did, or what to give is said in words."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, TensorDataset

import nbopt
from nbopt import Run
from nbopt.data.sources import as_source
from nbopt.run.stored import earlier
from nbopt.store import schema
from nbopt.store.reading import read

# Five runs as version 1 stored them before loaders, types and parameter groups were used as they are given. Not to be
# changed: users have such files.
STORED = Path(__file__).parents[1] / "store" / "earlier"
X = torch.arange(60.0)[:, None] / 64
Y = X**2

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore:.*not bit for bit"),  # on another machine
]


@pytest.fixture
def folder(tmp_path):
    with closing(sqlite3.connect(tmp_path / schema.FILE)) as connection:
        connection.executescript((STORED / "store.sql").read_text())
    shutil.copytree(STORED / "snapshots", tmp_path / "snapshots")
    return tmp_path


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 3), nn.Dropout(0.1), nn.ReLU(), nn.Linear(3, 1))


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(1, 1)

    def forward(self, x, known):
        return self.inner(x * known.float())


def forward(model, batch):
    return model(batch[0], batch[1]), batch[2]


def by_groups(model):
    groups = [{"params": model[3].parameters()}, {"params": model[0].parameters(), "lr": 1e-3}]
    return torch.optim.Adam(groups, lr=1e-2)


def open_run(folder, name):
    model = net() if name in ("steered", "groups") else nn.Linear(1, 1)
    run = next(line.id for line in nbopt.runs(folder) if line.name == name)
    if name == "groups":
        return nbopt.open(run, model, (X, Y), optimizer=by_groups(model), store=folder)
    if name == "booleans":
        data = TensorDataset(X, (X > 0.5).long(), Y)
        return nbopt.open(run, Masked(), data, forward=forward, store=folder)
    if name == "drop_last":
        return nbopt.open(run, model, DataLoader(TensorDataset(X, Y), batch_size=25, shuffle=True), store=folder)
    return nbopt.open(run, model, (X, Y), (X, Y) if name == "steered" else None, store=folder)


def test_all_of_them_are_listed_and_read(folder):
    found = {line.name: (line.state, line.step, line.problem) for line in nbopt.runs(folder)}
    paused = dict.fromkeys(("groups", "booleans", "drop_last"), ("paused", 8, ""))
    assert found == {"steered": ("paused", 13, ""), "finished": ("finished", 6, ""), **paused}
    for line in nbopt.runs(folder):
        assert len(read(line.id, folder).history["loss"][1]) == line.step


@pytest.mark.parametrize("name", ["steered", "groups", "booleans", "drop_last", "finished"])
def test_they_go_on_where_they_were(folder, weights, name):
    before = read(next(line.id for line in nbopt.runs(folder) if line.name == name), folder)
    run = open_run(folder, name)
    assert run.step_count == before.step
    assert run.history["loss"][1].tolist() == pytest.approx(before.history["loss"][1].tolist(), rel=1e-4)
    again = run.replay()
    again.wait(60)
    assert torch.equal(weights(again), weights(run))
    run.set(epochs=200)
    run.step(20)
    record = read(run.id, folder)
    assert list(record.journal) == list(run.journal)
    assert len(record.history["loss"][1]) == before.step + 20


def test_the_retreats_of_its_guard_are_kept(folder):
    run = open_run(folder, "steered")
    assert [entry.name for entry in run.journal if entry.source == "guard"] == ["diverged", "rewind", "lr"]
    assert run.hyperparams["lr"] == 0.005


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("booleans", (X, X > 0.5, Y), "had float32, int64, float32 there: give columns of these types, in a Tensor"),
        (
            "drop_last",
            DataLoader(TensorDataset(X, Y), batch_size=25, shuffle=True, drop_last=True),
            "trained on the last, smaller batch too: give the loader with drop_last=False",
        ),
        (
            "drop_last",
            DataLoader(TensorDataset(X, Y), batch_sampler=BatchSampler(range(60), 25, False)),
            "in batches of its own: give DataLoader",
        ),
    ],
    ids=["types", "drop_last", "batch_sampler"],
)
def test_what_it_used_otherwise_is_refused_with_what_to_give(folder, name, data, told):
    own = {"forward": forward} if name == "booleans" else {}
    model = Masked() if name == "booleans" else nn.Linear(1, 1)
    run = next(line.id for line in nbopt.runs(folder) if line.name == name)
    before = list(read(run, folder).journal)
    with pytest.raises(ValueError, match=f"an earlier nbopt, which made the run, .*{told}"):
        nbopt.open(run, model, data, store=folder, **own)
    assert list(read(run, folder).journal) == before


class Labelled(Dataset):
    targets = torch.arange(60) % 3

    def __len__(self):
        return 60

    def __getitem__(self, index):
        return X[index], self.targets[index]


@pytest.mark.parametrize(
    ("data", "is_told"),
    [
        ((X, torch.arange(60) % 3), False),
        ((X, (torch.arange(60) % 3).float()), True),
        ((X, nn.functional.one_hot(torch.arange(60) % 3).float()), True),
        ((X, Y[:, 0]), False),
        (Labelled(), True),
    ],
    ids=["integers", "floats", "one-hot", "values", "dataset"],
)
def test_a_share_of_labels_that_were_not_stratified_is_to_be_cut_by_hand(data, is_told):
    run = Run(nn.Linear(1, 3), data, 0.25, store=None)
    settings = {"seed": 0, "data": {"train": {}}}
    told = earlier.explain_data(run, settings, as_source(data, "train"))
    assert ("train_test_split(range(n), test_size=0.25, random_state=3718041919)" in told) is is_told
    assert earlier.explain_data(run, settings | {"frozen": []}, as_source(data, "train")) == ""


class Known(IterableDataset):
    def __len__(self):
        return 6

    def __iter__(self):
        return iter([(X[k : k + 10], Y[k : k + 10]) for k in range(0, 60, 10)])


@pytest.mark.parametrize(
    ("initial", "changed", "told"),
    [
        ({"schedule": "constant", "warmup": 0.0}, {"lr"}, ""),
        ({"schedule": "cosine", "warmup": 0.0}, set(), "end of each epoch of a stream"),
        ({"schedule": "constant", "warmup": 0.0}, {"schedule"}, "end of each epoch of a stream"),
    ],
)
def test_a_schedule_over_a_stream_is_told_to_go_on_otherwise(initial, changed, told):
    loader = DataLoader(Known(), batch_size=None)
    run = Run(nn.Linear(1, 1), loader, loss="mse", store=None)
    source = as_source(loader, "train")
    said = earlier.explain_steps(run, {"initial": initial}, source, changed)
    assert (told in said) if told else said == ""


def test_parameter_groups_that_an_earlier_swap_left_out_are_told_of():
    model = net()
    run = Run(model, (X, Y), loss="mse", optimizer=by_groups(model), store=None)
    settings = {"initial": {"schedule": "constant", "warmup": 0.0}}
    source = as_source((X, Y), "train")
    assert earlier.explain_steps(run, settings, source, {"lr"}) == ""
    assert "had no parameter groups any more" in earlier.explain_steps(run, settings, source, {"optimizer"})


def test_moments_of_other_weights_than_train_now_are_refused(folder):
    model = net()
    model[0].weight.requires_grad_(False)
    run = next(line.id for line in nbopt.runs(folder) if line.name == "steered")
    with pytest.raises(ValueError, match="freeze those that were frozen then"):
        nbopt.open(run, model, (X, Y), (X, Y), store=folder)


def test_hyperparameters_that_had_other_names_are_read_by_today_s(tmp_path, weights):
    """What a run was made with, its journal and its snapshots."""

    def make(store):
        torch.manual_seed(0)
        return Run(net(), (X, Y), schedule="step", step_size=0.5, step_gamma=0.5, lr=0.1, batch_size=8, store=store)

    with pytest.warns(FutureWarning, match="step_epochs is now called step_size"):
        old = Run(net(), (X, Y), schedule="step", step_epochs=0.5, step_factor=0.5, batch_size=8, store=None)
    assert (old.hyperparams["step_size"], "step_size" in old.given) == (0.5, True)
    with pytest.warns(FutureWarning):
        old.set(step_factor=0.25)
    assert old.hyperparams["step_gamma"] == 0.25

    run = make(tmp_path / "store")
    run.step(5)
    run.set(step_gamma=0.9)
    run.step(5)
    run.recorder.release("test")
    with closing(sqlite3.connect(tmp_path / "store" / schema.FILE)) as connection, connection:
        for old_name, name in {"step_epochs": "step_size", "step_factor": "step_gamma"}.items():
            connection.execute("UPDATE runs SET settings = replace(settings, ?, ?)", (f'"{name}"', f'"{old_name}"'))
            connection.execute("UPDATE journal SET name = ? WHERE name = ?", (old_name, name))
    assert [entry.name for entry in read(run.id, tmp_path / "store").journal.changes()] == ["step_factor"]
    assert [entry.name for entry in nbopt.open(run.id, store=tmp_path / "store").journal.changes()] == ["step_gamma"]
    again = nbopt.open(run.id, net(), (X, Y), store=tmp_path / "store")
    again.step(5)
    whole = make(None)
    whole.step(5)
    whole.set(step_gamma=0.9)
    whole.step(10)
    assert torch.equal(weights(again), weights(whole))
    known = earlier.known_only({"frozen": []}, {"step_factor": 0.9}, whole.hyperparams)
    assert known == {"step_gamma": 0.9}
