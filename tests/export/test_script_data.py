"""Scripts of runs on data that are not in memory."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    RandomSampler,
    Sampler,
    Subset,
    TensorDataset,
)

from tests.export import scripts
from tests.export.loaders import LOADERS, Samples, left_out, of_list, of_mapping, pairs
from tests.export.scripts import is_tidy

make, follow, check = scripts.make, scripts.follow, scripts.check


@pytest.mark.parametrize("name", LOADERS)
def test_datasets_and_loaders_are_arguments(name, mlp, blobs):
    train, val = LOADERS[name](*blobs), LOADERS[name](*blobs)
    given_settings = {"forward": of_mapping} if name == "collated" else {}
    given_settings |= {"metrics": "accuracy", "lr": 0.01, "epochs": 3, "schedule": "cosine"}
    run, initial = make(mlp(dropout=0.1), train, val, **given_settings)
    schedule = {2: {"lr": 0.02}, 5: {"optimizer": "sgd"}}
    if run.hyperparams["batch_size"] == 7 and name not in ("stream", "batch_sampler"):
        schedule[3] = {"batch_size": 11}
    text, largest = check(follow(run, schedule), initial, LOADERS[name](*blobs), LOADERS[name](*blobs))
    assert largest == 0.0
    assert is_tidy(text)


@pytest.mark.parametrize("kinds", [("shuffled", "stream"), ("stream", "tensors"), ("tensors", "dataset")])
def test_training_and_validation_data_of_different_kinds(kinds, mlp, blobs):
    train, val = (LOADERS[kind](*blobs) for kind in kinds)
    run, initial = make(mlp(dropout=0.1), train, val, epochs=3, lr=0.01)
    text, largest = check(follow(run, {}), initial, train, val)
    assert largest == 0.0
    assert is_tidy(text)


@pytest.mark.parametrize("settings_", [{"val": 0.25}, {"optimizer": "lbfgs"}, {"micro_batch": 3}, {}])
def test_a_dataset_that_is_cut_or_taken_in_parts_or_as_a_whole(settings_, mlp, blobs):
    loader = LOADERS["shuffled"](*blobs)
    run, initial = make(mlp(dropout=0.1), loader, epochs=3, lr=0.1, **settings_)
    schedule = {2: {"optimizer": "lbfgs"}, 3: {"optimizer": "sgd"}} if not settings_ else {}
    assert check(follow(run, schedule), initial, loader)[1] == 0.0


def test_a_script_of_a_dataset_that_was_cut_takes_one_for_validation_too(mlp, blobs):
    loader = LOADERS["shuffled"](*blobs)
    run, initial = make(mlp(), loader, 0.25, epochs=2, lr=0.1)
    measured = scripts.execute(follow(run, {}).to_python(), initial, loader, Samples(*blobs))
    assert len(measured["val_loss"]) == 2


@pytest.mark.parametrize("settings_", [{"optimizer": "lbfgs"}, {"micro_batch": 3}, {}])
def test_samples_of_a_sampler_are_drawn_as_in_the_run(settings_, mlp, blobs):
    loader = LOADERS["sampler"](*blobs)
    run, initial = make(mlp(dropout=0.1), loader, epochs=3, lr=0.1, schedule="cosine", **settings_)
    schedule = {2: {"optimizer": "lbfgs"}, 3: {"optimizer": "sgd"}, 5: {"batch_size": 17}} if not settings_ else {}
    assert check(follow(run, schedule), initial, loader)[1] == 0.0


def test_a_sampler_of_ten_billion_draws_is_not_drawn_beforehand(mlp, blobs):
    data = Samples(*blobs)
    loader = DataLoader(data, batch_size=8, sampler=RandomSampler(data, replacement=True, num_samples=10**10))
    run, initial = make(mlp(dropout=0.1), loader, lr=0.1)
    run.step(9)
    scripts.execute(run.to_python(), initial, loader)
    for ours, theirs in zip(run.model.parameters(), initial.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def summed(output, target):
    return functional.cross_entropy(output, target, reduction="sum")


def averaged(output, target):
    return functional.cross_entropy(output, target)


def with_edges(samples):
    return {"edges": torch.zeros(2, 7), **pairs(samples)}


PARTS_OF = {
    "labels left out": (left_out, {"loss": "cross_entropy"}),
    "labels left out by a function": (left_out, {"loss": averaged}),
    "focal": (left_out, {"loss": "focal"}),
    "a sum": (lambda x, y: (x, y), {"loss": nn.CrossEntropyLoss(reduction="sum")}),
    "a sum by a function": (lambda x, y: (x, y), {"loss": summed}),
    "a mean by a function": (lambda x, y: (x, y), {"loss": averaged}),
    "a mapping": (lambda x, y: (x, y), {"forward": of_mapping}),
}


@pytest.mark.parametrize("in_memory", [False, True], ids=["loader", "arrays"])
@pytest.mark.parametrize("name", PARTS_OF)
def test_parts_of_a_batch_count_as_in_the_run(name, in_memory, mlp, blobs):
    change, settings_ = PARTS_OF[name]
    x, y = change(*blobs)
    collate = with_edges if name == "a mapping" else None
    loader = DataLoader(Samples(x, y), batch_size=20, shuffle=True, collate_fn=collate)
    train = (x, y) if in_memory and collate is None else loader
    run, initial = make(mlp(), train, lr=0.01, epochs=3, optimizer="sgd", micro_batch=6, batch_size=20, **settings_)
    text, largest = check(follow(run, {}), initial, train)
    assert largest < 1e-6
    assert is_tidy(text)


def test_parts_that_count_nobody_knows_how_are_exported_after_the_first_step(mlp, blobs):
    run, _initial = make(mlp(), blobs, loss=averaged, micro_batch=6)
    with pytest.raises(ValueError, match="found out in the first step: export the run after it"):
        run.to_python()
    run.step(1)
    assert "parts_of" in run.to_python()


class Drawing(Samples):
    """Samples that draw from numpy's generator."""

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x + float(np.random.normal()), y


class ByPython(Sampler):
    """Puts samples in order by Python's generator, one by one or all at once."""

    def __init__(self, size, at_once):
        self.size, self.at_once = size, at_once

    def __len__(self):
        return self.size

    def __iter__(self):
        if self.at_once:
            order = list(range(self.size))
            random.shuffle(order)
            yield from order
            return
        for _draw in range(self.size):
            yield random.randrange(self.size)


def mixed_up(model, batch):
    x, y = batch
    if random.random() < 0.5:
        x = x * np.random.beta(2.0, 2.0)
    return model(x), y


DRAWN = {
    "samples": lambda x, y: DataLoader(Drawing(x, y), batch_size=7, shuffle=True),
    "sampler": lambda x, y: DataLoader(Samples(x, y), batch_size=7, sampler=ByPython(40, at_once=False)),
    "sampler, at once": lambda x, y: DataLoader(Drawing(x, y), batch_size=7, sampler=ByPython(40, at_once=True)),
    "stream": lambda x, y: DataLoader(
        Drawing(x, y), batch_sampler=BatchSampler(ByPython(40, at_once=True), 7, drop_last=True)
    ),
    "tensors": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=7, shuffle=True),
}


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("forward", [None, mixed_up], ids=["plain", "mixed up"])
def test_what_python_and_numpy_draw_is_drawn_as_in_the_run(name, forward, mlp, blobs):
    settings_ = {} if forward is None else {"forward": forward}
    run, initial = make(mlp(dropout=0.1), DRAWN[name](*blobs), DRAWN[name](*blobs), epochs=3, lr=0.01, **settings_)
    text, largest = check(follow(run, {}), initial, DRAWN[name](*blobs), DRAWN[name](*blobs))
    assert largest == 0.0
    assert is_tidy(text)
    assert ("random.seed" in text) is (name != "tensors" or forward is not None)


class Labelled(Samples):
    """Samples whose labels are in memory."""

    @property
    def targets(self):
        return self.y.tolist()


class OfSparse(nn.Linear):
    def forward(self, x):
        return torch.sparse.mm(x, self.weight.t()) + self.bias


OTHERS = {
    "a list, cut by class": lambda x, y: (list(zip(x, y.tolist(), strict=True)), 0.25),
    "a list of tensors, cut by class": lambda x, y: (list(zip(x, y, strict=True)), 0.25),
    "targets, cut by class": lambda x, y: (DataLoader(Labelled(x, y), batch_size=8, shuffle=True), 0.25),
    "sparse": lambda x, y: ((x.to_sparse(), y), (x.to_sparse(), y)),
    "batches in a list": lambda x, y: (DataLoader([(x[:9], y[:9]), (x[9:], y[9:])], batch_size=None), None),
    "batches of indices": lambda x, y: (DataLoader(Samples(x, y), batch_sampler=[[1, 2], [0, 3, 4]]), None),
    "dropped": lambda x, y: (
        DataLoader(ConcatDataset([Samples(x, y)] * 2), batch_size=9, shuffle=True, drop_last=True),
        DataLoader(Subset(Samples(x, y), range(20)), batch_size=7, drop_last=True, shuffle=True),
    ),
    "a dataset and arrays": lambda x, y: (Samples(x, y), (x, y)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_data(name, mlp, blobs):
    train, val = OTHERS[name](*blobs)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = OfSparse(4, 3) if name == "sparse" else mlp(dropout=0.1)
    run, initial = make(model, train, val, lr=0.01, epochs=2, l1=0.01)
    follow(run, {})
    assert check(run, initial, train, None if isinstance(val, float) else val)[1] == 0.0


def test_a_script_of_a_dataset_needs_no_nbopt(mlp, blobs, tmp_path):
    loader = DataLoader(TensorDataset(*blobs), batch_size=7, shuffle=True, collate_fn=list)
    run, initial = make(mlp(), loader, forward=of_list, epochs=2)
    follow(run, {})
    ((measured, model),) = scripts.execute_elsewhere([(run.to_python(), initial, loader, None)], tmp_path)
    assert scripts.compare(run, measured, model) == 0.0
