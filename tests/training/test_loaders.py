"""Loaders as people write them: a run gives the model what a plain loop over the loader would."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from nbopt import RunState

X = torch.randn(65, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(65) % 3


class Rows(Dataset):
    def __init__(self, x=X, y=Y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]


class Counted(IterableDataset):
    """Tells how many samples it yields."""

    def __len__(self):
        return 320

    def __iter__(self):
        generator = torch.Generator().manual_seed(1)
        for _sample in range(320):
            x = torch.randn(4, generator=generator)
            yield x, x.sum().reshape(1)


def watched(take, seen):
    """Return a forward function that notes what ``take`` finds in each training batch."""

    def forward(model, batch):
        if model.training:
            seen.append(take(batch))
        return model(batch[0]), batch[1]

    return forward


def rows_of(batch):
    return batch[0].tolist()


def test_a_warm_up_rises_within_the_epoch_of_a_stream_whose_length_is_known(make_run):
    settings = {"loss": "mse", "optimizer": "sgd", "lr": 0.1, "warmup": 0.5, "epochs": 1}
    run = make_run(nn.Linear(4, 1), train=DataLoader(Counted(), batch_size=16), **settings).fit()
    right = [0.1 * (0.01 + 0.99 * min(1.0, step / 10)) for step in range(20)]
    assert run.history["lr"][1].tolist() == pytest.approx(right)


class Pairs(BatchSampler):
    """One's own way of putting samples together: by halves."""

    def __iter__(self):
        for k in range(0, 64, 8):
            yield [*range(k // 2, k // 2 + 4), *range(60 - k // 2, 64 - k // 2)]


IN_ORDER = {
    "drop_last": lambda data: DataLoader(data, batch_size=16, drop_last=True),
    "all": lambda data: DataLoader(data, batch_size=16),
    "batch sampler": lambda data: DataLoader(data, batch_sampler=BatchSampler(SequentialSampler(data), 16, True)),
    "own batch sampler": lambda data: DataLoader(data, batch_sampler=Pairs(SequentialSampler(data), 8, False)),
    "list of batches": lambda data: DataLoader(data, batch_sampler=[[0, 1, 5], [9], [2, 3]]),
    "own sampler": lambda data: DataLoader(data, batch_size=16, sampler=[5, 3, 3, 8, 60, *range(14)]),
    "own sampler, drop_last": lambda data: DataLoader(data, 16, sampler=[*range(40)], drop_last=True),
}


@pytest.mark.parametrize("loader", IN_ORDER)
@pytest.mark.parametrize("dataset", [TensorDataset(X, Y), Rows()], ids=["tensors", "dataset"])
def test_a_run_sees_the_batches_of_a_plain_loop(make_run, loader, dataset):
    loader, seen = IN_ORDER[loader](dataset), []
    make_run(train=loader, forward=watched(rows_of, seen), epochs=2).fit()
    assert seen == [rows_of(batch) for _epoch in range(2) for batch in loader]


def test_a_batch_sampler_that_draws_samples_is_followed(make_run):
    weights = (Y == 1).double()
    sampler = BatchSampler(WeightedRandomSampler(weights, 48), 16, False)
    seen = []
    run = make_run(
        train=DataLoader(TensorDataset(X, Y), batch_sampler=sampler),
        forward=watched(lambda batch: batch[1].tolist(), seen),
        epochs=2,
    ).fit()
    assert seen == [[1] * 16] * 6
    assert "batch_size" in run.inert


@pytest.mark.parametrize("dataset", [TensorDataset(X, Y), Rows()], ids=["tensors", "dataset"])
def test_drop_last_keeps_single_samples_from_batch_normalization_also_live(make_run, dataset):
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    seen = []
    loader = DataLoader(dataset, batch_size=16, shuffle=True, drop_last=True)
    run = make_run(model, train=loader, val=loader, forward=watched(lambda batch: len(batch[1]), seen), epochs=3)
    run.step(5)
    run.set(batch_size=32)
    run.fit()
    assert seen == [16] * 4 + [16, 32] + [32] * 2  # of the second epoch, 17 are left after 16 + 32
    assert run.epoch == 3


def test_a_batch_size_set_live_completes_an_epoch_of_which_it_drops_the_rest(make_run):
    loader = DataLoader(TensorDataset(X, Y), batch_size=16, drop_last=True)
    run = make_run(train=loader, val=loader, epochs=2)
    run.step(3)
    run.set(batch_size=32)
    assert run.epoch == 1  # 17 samples are left, no batch of 32
    run.fit()
    assert (run.epoch, run.step_count) == (2, 5)
    assert run.history["val_loss"][0].tolist() == [3, 5]
    replay = run.replay()
    replay.wait(30)
    assert replay.history["val_loss"][1].tolist() == run.history["val_loss"][1].tolist()
    assert replay.history["val_loss"][0].tolist() == [3, 5]


@pytest.mark.parametrize("role", ["train", "val"])
def test_a_loader_that_drops_all_is_told_before_the_first_step(make_run, blobs, role):
    data = {"train": blobs, role: DataLoader(TensorDataset(X, Y), batch_size=66, drop_last=True)}
    run = make_run(**data)
    with pytest.raises(ValueError, match=f"{role} is empty: of 65 samples, drop_last=True leaves no batch of 66"):
        run.step()


def normalized():
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))


def test_a_change_of_batch_size_leaves_no_single_sample_to_batch_normalization(make_run):
    x, y = torch.randn(124, 4), torch.arange(124) % 3
    sizes = []
    run = make_run(
        normalized(), train=(x, y), batch_size=43, epochs=2, forward=watched(lambda batch: len(batch[1]), sizes)
    )
    run.step(1)
    run.set(batch_size=16)
    run.fit()
    assert sizes[:7] == [43, 16, 16, 16, 16, 15, 2] and run.epoch == 2
    replay = run.replay()
    replay.wait(30)
    assert replay.history["loss"][1].tolist() == run.history["loss"][1].tolist()


def test_a_single_sample_that_a_plain_loop_would_fail_on_is_no_dead_end(make_run, weights):
    model = normalized()
    initial = copy.deepcopy(model)
    run = make_run(model, train=(X, Y), val=(X, Y), batch_size=16, epochs=2)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        run.fit()
    assert (run.state, run.step_count) == (RunState.FAILED, 4)
    with pytest.raises(ValueError, match="more than 1 value"):
        run.fit()  # the same size would leave it again
    run.set(batch_size=13)
    run.fit()
    assert run.state is RunState.FINISHED and run.epoch == 2
    assert [entry.step for entry in run.journal if entry.name == "leave_out"] == [4]
    assert run.history["val_loss"][0].tolist() == [4, 9]
    replay = run.replay()
    replay.wait(30)
    assert torch.equal(weights(replay), weights(run))
    assert replay.history["val_loss"][1].tolist() == run.history["val_loss"][1].tolist()
    namespace = {}
    exec(run.to_python(), namespace)
    history = namespace["train"](initial, (X, Y), (X, Y))
    assert history["val_loss"] == pytest.approx(run.history["val_loss"][1].tolist(), abs=1e-6)
