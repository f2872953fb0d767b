"""The user's own loaders: validation, scripts, and the batch size of a stream."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    SequentialSampler,
    TensorDataset,
)

from tests.training.test_loaders import Counted, Rows, X, Y, rows_of, watched

# -- validation


@pytest.mark.parametrize(
    "loader",
    [
        lambda data: DataLoader(data, batch_size=16),
        lambda data: DataLoader(data, batch_size=16, drop_last=True),
        lambda data: DataLoader(data, batch_sampler=[[0, 1, 2], [7, 9], [30]]),
    ],
    ids=["batch_size", "drop_last", "batch_sampler"],
)
@pytest.mark.parametrize("dataset", [TensorDataset(X, Y), Rows()], ids=["tensors", "dataset"])
def test_a_validation_goes_in_the_batches_of_its_loader(make_run, loader, dataset):
    seen = []

    def forward(model, batch):
        if not model.training:
            seen.append(rows_of(batch))
        return model(batch[0]), batch[1]

    loader = loader(dataset)
    make_run(train=(X, Y), val=loader, forward=forward, epochs=1).fit()
    assert seen == [rows_of(batch) for batch in loader]


@pytest.mark.parametrize("dataset", [TensorDataset(X, Y), Rows()], ids=["tensors", "dataset"])
def test_a_validation_that_shuffles_does_so_in_the_same_way_each_time(make_run, dataset):
    seen = []

    def forward(model, batch):
        if not model.training:
            seen.append(rows_of(batch))
        return model(batch[0]), batch[1]

    make_run(train=(X, Y), val=DataLoader(dataset, batch_size=40, shuffle=True), forward=forward, epochs=2).fit()
    assert seen[:2] == seen[2:]
    assert sorted(seen[0] + seen[1]) == sorted(X.tolist()) and seen[0] + seen[1] != X.tolist()


# -- scripts


VAL = {
    "drop_last": {"batch_size": 16, "drop_last": True},
    "shuffled": {"batch_size": 40, "shuffle": True},
    "both": {"batch_size": 16, "drop_last": True, "shuffle": True},
}


@pytest.mark.parametrize("val", VAL)
@pytest.mark.parametrize("sizes", [{}, {2: 32}, {3: 8}, {1: 60, 2: 7}], ids=str)
@pytest.mark.parametrize("dataset", [TensorDataset(X, Y), Rows()], ids=["tensors", "dataset"])
def test_a_script_deals_out_the_batches_of_such_loaders(make_run, mlp, dataset, sizes, val):
    train = DataLoader(dataset, batch_size=16, drop_last=True, shuffle=True)
    val = DataLoader(dataset, **VAL[val])
    run = make_run(mlp(), train=train, val=val, epochs=3)
    for step, size in sizes.items():
        run.step(step - run.step_count)
        run.set(batch_size=size)
    run.fit()
    namespace = {}
    exec(run.to_python(), namespace)
    history = namespace["train"](mlp(), train, val)
    assert history["val_loss"] == pytest.approx(run.history["val_loss"][1].tolist(), rel=1e-6)


# -- the batch size of a stream


def sizes_of(run):
    seen = []
    run.spec = dataclasses.replace(run.spec, forward=watched(lambda batch: len(batch[0]), seen))
    run.fit()
    return seen


@pytest.mark.parametrize("size", [None, 16, 100])
def test_a_stream_without_a_loader_comes_in_batches_of_the_size_asked_for(make_run, recwarn, size):
    settings = {} if size is None else {"batch_size": size}
    run = make_run(nn.Linear(4, 1), train=Counted(), val=Counted(), loss="mse", epochs=1, **settings)
    sizes = sizes_of(run)
    assert sizes == [len(x) for x, _y in DataLoader(Counted(), batch_size=size or 64)]
    assert run.hyperparams["batch_size"] == (size or 64)
    assert "batch_size" in run.inert
    assert not [warning for warning in recwarn if "batch" in str(warning.message)]
    branch = run.branch(at=2)
    assert not [warning for warning in recwarn if "batch" in str(warning.message)]
    assert branch.hyperparams["batch_size"] == (size or 64)


@pytest.mark.parametrize(
    "loader",
    [
        lambda: DataLoader(Counted(), batch_size=16),
        lambda: DataLoader(TensorDataset(X, Y), batch_sampler=[[0, 1], [2]]),
        lambda: type("Own", (), {"__iter__": lambda _: iter([(X, Y)])})(),
    ],
    ids=["stream", "batch sampler", "own loader"],
)
def test_a_batch_size_given_to_a_loader_that_makes_its_own_batches_is_warned_of(make_run, loader):
    with pytest.warns(UserWarning, match="batch_size: the DataLoader makes the batches"):
        run = make_run(train=loader(), batch_size=5)
    assert "batch_size" in run.inert


def test_a_value_set_that_cannot_act_is_warned_of(make_run, recwarn):
    run = make_run(nn.Linear(4, 1), train=DataLoader(Counted(), batch_size=16), loss="mse")
    for ready in (False, True):
        if ready:
            run.step(1)
        with pytest.warns(UserWarning, match="batch_size: the DataLoader makes the batches"):
            run.set(batch_size=5, lr=0.2)
    run.set(lr=0.1)
    assert not list(recwarn)


def test_the_batch_size_of_a_stream_given_without_a_loader_is_warned_of_once_it_began(make_run):
    run = make_run(nn.Linear(4, 1), train=Counted(), batch_size=5, loss="mse")
    run.step(1)
    with pytest.warns(UserWarning, match="batch_size: a stream keeps the batch size it started with"):
        run.set(batch_size=10)


def test_a_batch_size_given_to_a_loader_that_is_understood_is_live(make_run, recwarn):
    run = make_run(train=DataLoader(TensorDataset(X, Y), batch_size=16), batch_size=20, epochs=1)
    assert sizes_of(run) == [20, 20, 20, 5]
    assert "batch_size" not in run.inert and not list(recwarn)


@pytest.mark.parametrize(
    ("loader", "size"),
    [
        (lambda: DataLoader(Counted(), batch_size=16), 16),
        (lambda: DataLoader(Rows(), batch_sampler=BatchSampler(SequentialSampler(Rows()), 12, False)), 12),
        (lambda: DataLoader(Rows(), batch_sampler=[[0], [1]]), 64),
    ],
    ids=["stream", "batch sampler", "list"],
)
def test_the_batch_size_shown_is_the_loader_s_where_it_is_known(make_run, loader, size):
    assert make_run(train=loader()).hyperparams["batch_size"] == size


@pytest.mark.parametrize("drop_last", [True, False])
def test_compiled_steps_take_the_batches_that_eager_steps_take(compiled, make_tiered, mlp, weights, drop_last):
    def make(tier):
        loader = DataLoader(TensorDataset(X, Y), batch_size=4, shuffle=True, drop_last=drop_last)
        return make_tiered(mlp(), train=loader, val=loader, epochs=4, tier=tier)

    run, sizes = make("compiled"), iter([7, 4, 9, 4])
    for index, _event in enumerate(run.events()):
        if index % 11 == 10:
            run.set(batch_size=next(sizes, 4))
    eager = make("eager")
    eager.changes.plan(operation for operation in run.journal.schedule() if operation.name == "batch_size")
    for _event in eager.events():
        pass
    assert compiled and run.epoch == eager.epoch == 4
    assert run.step_count == eager.step_count
    assert torch.allclose(weights(run), weights(eager), atol=1e-5)
