"""Why a step done again differs is told, as far as it can be known."""

from __future__ import annotations

import itertools
import os
import secrets
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from nbopt import RunState
from nbopt.run.stored import fingerprint
from tests.run.exactness.telling import tells

DRAWS = (number for number in itertools.count())


def drawing(model, batch):
    return model(batch[0]) * (1 + next(DRAWS) % 1000 / 1000), batch[1]


def unseen(model, batch):
    return model(batch[0]) * (1 + sys.getallocatedblocks() / 1e6), batch[1]


def counting(model, batch):
    global COUNT
    COUNT += 1
    return model(batch[0]) * (1 + COUNT / 100), batch[1]


COUNT = 0


def clock(model, batch):
    return model(batch[0]) * (1 + time.time() % 1), batch[1]


def imported(model, batch):
    from time import perf_counter

    return model(batch[0]) * (1 + perf_counter() % 1), batch[1]


def deeper(model, batch):
    return clock(model, batch)


def entropy(model, batch):
    return model(batch[0]) * (1 + int.from_bytes(os.urandom(2)) / 2**16), batch[1]


def unseeded(model, batch):
    return model(batch[0]) * (1 + np.random.default_rng().random()), batch[1]


def closure():
    now = time.perf_counter

    def forward(model, batch):
        return model(batch[0]) * (1 + now() % 1), batch[1]

    return forward


class Shaken(Dataset):
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data[0])

    def __getitem__(self, index):
        return self.data[0][index] + secrets.randbelow(1000) / 1000, self.data[1][index]


@pytest.mark.parametrize(
    ("forward", "why"),
    [
        (clock, "clock reads the clock (time)"),
        (imported, "imported reads the clock"),
        (deeper, "clock reads the clock (time)"),
        (entropy, "entropy reads random numbers that no seed repeats (os.urandom)"),
        (unseeded, "unseeded reads random numbers that no seed repeats (np.default_rng)"),
        (closure(), "forward reads the clock (now)"),
        (unseen, "The cause is not known"),
        (drawing, "no snapshot holds DRAWS, which forward reads"),
        (counting, "no snapshot holds COUNT, which forward sets"),
    ],
    ids=["clock", "imported", "deeper", "entropy", "unseeded", "closure", "unseen", "drawing", "counting"],
)
def test_why_is_told_as_far_as_it_can_be_known(make_run, no_snapshots, forward, why):
    run = make_run(forward=forward, batch_size=20)
    run.step(4)
    run.rewind(3)
    assert why in run.exactness


def test_a_dataset_that_draws_where_no_seed_reaches_is_named(make_run, blobs, no_snapshots):
    run = make_run(train=Shaken(blobs), batch_size=20)
    run.step(4)
    run.rewind(3)
    assert "Shaken.__getitem__ reads random numbers that no seed repeats (secrets)" in run.exactness


def test_data_and_threads_that_changed_are_named(make_run, blobs, no_snapshots):
    data = tuple(part.clone() for part in blobs)
    run = make_run(train=data, batch_size=20)
    run.step(4)
    data[0].mul_(1.5)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        run.rewind(3)
    finally:
        torch.set_num_threads(threads)
    assert "data train: values (checksum) was" in run.exactness
    assert f"threads was {threads}, now it is {threads + 1}" in run.exactness


def test_another_processor_is_named(make_run, blobs, no_snapshots, monkeypatch):
    """As where a run is opened on another machine: the steps done here differ for another reason."""
    data = tuple(part.clone() for part in blobs)
    run = make_run(train=data, batch_size=20)
    run.step(4)
    data[0].mul_(1.5)
    here = fingerprint._name_processor()
    monkeypatch.setattr(fingerprint, "_name_processor", lambda: "a Z80, DEFAULT")
    run.rewind(3)
    assert f"processor was {here}, now it is a Z80, DEFAULT" in run.exactness
    assert "processor" in run.describe().settings


def test_code_that_changed_is_named(make_run, mlp, no_snapshots):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = mlp()

        def forward(self, x):
            return self.inner(x)

    run = make_run(Net(), batch_size=20)
    run.step(4)
    Net.forward = lambda self, x: 2 * self.inner(x)  # a cell run again
    run.rewind(3)
    assert "the code of Net.forward was changed" in run.exactness


def test_weights_changed_by_hand_are_noticed(make_run, no_snapshots):
    run = make_run(batch_size=20)
    run.step(4)
    with torch.no_grad():
        run.model[0].weight.mul_(2)
    run.step(4)
    run.training.snapshots.clear(run.snapshots[0])
    run.rewind(7)
    assert tells(run)[0].new["step"] == 4
    assert "Why: by hand at step 4, " in run.exactness


def test_early_stopping_that_comes_earlier_the_second_time_does_not_keep_a_run_from_its_step(make_run, no_snapshots):
    measured = []

    def loss(output, target):
        if torch.is_grad_enabled():
            return nn.functional.cross_entropy(output, target)
        measured.append(1)
        return output.sum() * 0 + (1 / len(measured) if len(measured) < 12 else len(measured))

    run = make_run(val=0.2, loss=loss, batch_size=24, patience=3, epochs=50)
    run.step(20)
    run.training.snapshots.clear(run.snapshots[0])  # as where memory is short
    run.rewind(19)
    assert (run.step_count, run.exact) == (19, False)
    assert [entry.step for entry in run.journal if entry.name == "reopen"] == [8, 14]


def test_a_stream_that_cannot_be_begun_anew_is_said_and_the_run_rests_at_a_snapshot(make_run, blobs, no_snapshots):
    class Once(IterableDataset):
        def __init__(self, samples):
            self.samples = samples

        def __iter__(self):
            return self.samples

    samples = iter([(blobs[0][k % 60], blobs[1][k % 60]) for k in range(400)])
    run = make_run(train=DataLoader(Once(samples), batch_size=20))
    run.step(6)
    with suppress(ValueError):
        run.rewind(4)
    assert "samples of Once is an iterator, which cannot be restarted" in run.exactness
    run.step(2)  # of what it still yields
    for _k in range(20):
        with suppress(ValueError):
            run.step(1)
    end = run.step_count
    with pytest.raises(ValueError, match="yielded no batch") as caught:
        run.rewind(end - 1)
    assert "could not be done again, and the run rests there" in caught.value.__notes__[-1]
    assert run.state is RunState.PAUSED
    assert run.step_count == run.journal[-1].new
    assert run.training.bound is None
