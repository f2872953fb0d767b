"""Runs over a `DataLoader` with workers: nobody can tell but by the clock."""

import multiprocessing
import os
from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from nbopt import RunState
from tests import zygote


class Noisy(Dataset):
    """The samples of `blobs`, each with noise of its own and the process it was fetched in."""

    def __init__(self, blobs):
        self.x, self.y = blobs
        self.fails_at = None

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        if index == self.fails_at:
            raise OSError("disk gone")
        return self.x[index] + torch.randn(4) / 10, self.y[index], os.getpid()


@pytest.fixture
def seen():
    """Return the processes that `noisy_run` was served by, in order of their first batch."""
    return {}


@pytest.fixture
def noisy_run(make_run, mlp, blobs, seen):
    """Return a maker of runs whose training data are fetched by so many workers, validation data by half."""

    def forward(model, batch):
        x, y, pids = batch
        seen.update(dict.fromkeys(pids.tolist()))
        return model(x), y

    def make(workers, dataset=None, **settings):
        dataset = dataset or Noisy(blobs)
        train = DataLoader(dataset, batch_size=12, shuffle=True, num_workers=workers)
        val = DataLoader(Noisy(blobs), batch_size=25, num_workers=workers // 2)
        return make_run(mlp(dropout=0.2), train, val=val, forward=forward, epochs=5, metrics="accuracy", **settings)

    return make


def change_and_go_back(run):
    """Train to the end, with changes of the batch size and a rewind to the middle of an epoch."""
    run.step(3)
    run.set(batch_size=7)
    run.step(6)
    run.set(batch_size=20)
    run.step(4)
    run.rewind(7)
    run.set(batch_size=9)
    run.step(5)
    return list(run.history["loss"][1])


def test_a_run_is_the_same_with_workers_and_they_stay_through_all_of_it(noisy_run, weights, seen):
    run = noisy_run(2)
    run.step(2)
    workers = set(seen)
    losses = change_and_go_back(run)
    assert set(seen) - workers <= {child.pid for child in multiprocessing.active_children()}
    assert len(seen) == 3 and os.getpid() not in seen  # two for training, one for validation
    run.fit()
    assert len(seen) == 3

    plain = noisy_run(0)
    plain.step(2)
    assert losses == change_and_go_back(plain)
    plain.fit()
    assert torch.equal(weights(run), weights(plain))
    for name in ("loss", "val_loss", "val_accuracy"):
        assert run.history[name][1].tolist() == plain.history[name][1].tolist()


def test_a_replay_and_a_branch_have_workers_of_their_own_and_the_same_numbers(noisy_run, weights, seen):
    run = noisy_run(2)
    run.step(3)
    run.set(batch_size=7)
    run.fit()
    first = set(seen)
    seen.clear()
    again = run.replay()
    assert again.wait(60) is RunState.FINISHED
    branch = run.branch(4)
    branch.fit()
    assert first.isdisjoint(seen) and len(seen) == 6
    assert torch.equal(weights(run), weights(again)) and torch.equal(weights(run), weights(branch))


@pytest.mark.parametrize("end", ["finish", "stop", "stop at rest"])
def test_the_workers_end_with_the_run(noisy_run, seen, end):
    run = noisy_run(2)
    run.start()
    if end == "finish":
        run.wait(60)
    elif end == "stop":
        run.stop()
    else:
        run.pause()
        run.stop()
    assert seen.keys().isdisjoint(child.pid for child in multiprocessing.active_children())


def test_a_pause_keeps_the_workers_and_a_run_that_let_them_go_does_the_same_with_others(noisy_run, weights, seen):
    run = noisy_run(2, batch_size=7)
    run.step(11)  # in the middle of an epoch, after a validation
    run.release_workers()
    first = set(seen)
    assert len(first) == 3
    assert first.isdisjoint(child.pid for child in multiprocessing.active_children())
    run.step(2)
    run.pause()
    second = seen.keys() - first
    assert len(second) == 2 and second <= {child.pid for child in multiprocessing.active_children()}
    run.fit()
    run.release_workers()  # there are none any more
    plain = noisy_run(0, batch_size=7).fit()
    assert torch.equal(weights(run), weights(plain))
    for name in ("loss", "val_loss", "val_accuracy"):
        assert run.history[name][1].tolist() == plain.history[name][1].tolist()


def test_workers_stay_while_the_run_trains_whoever_lets_them_go(noisy_run, weights, seen):
    run = noisy_run(2)
    given = run.spec.forward

    def forward(model, batch):
        run.release_workers()
        return given(model, batch)

    run.spec = replace(run.spec, forward=forward)
    run.step(3)  # in a thread of its own
    for _event in run.events():  # in this one
        pass
    assert len(seen) == 3
    assert torch.equal(weights(run), weights(noisy_run(0).fit()))


def test_a_run_whose_dataset_raised_in_a_worker_goes_on_as_if_nothing_had_been(noisy_run, blobs, weights):
    dataset = Noisy(blobs)
    dataset.fails_at = 17
    run = noisy_run(2, dataset)
    run.start(wait=False)
    with pytest.raises(OSError, match="disk gone"):
        run.wait(60)
    assert run.state is RunState.FAILED and run.end_reason == "OSError: disk gone"
    dataset.fails_at = None
    run.resume()
    assert run.wait(60) is RunState.FINISHED
    assert torch.equal(weights(run), weights(noisy_run(0).fit()))


def test_the_learning_rate_finder_leaves_no_workers(noisy_run, seen):
    noisy_run(2).find_lr(steps=10)
    assert seen and seen.keys().isdisjoint(child.pid for child in multiprocessing.active_children())


SCRIPT = """
import torch
from torch.utils.data import DataLoader, Dataset
import multiprocessing
import nbopt

class Rows(Dataset):
    def __len__(self):
        return 10**6

    def __getitem__(self, index):
        return torch.ones(4), index % 3

run = nbopt.Run(torch.nn.Linear(4, 3), DataLoader(Rows(), batch_size=4, num_workers=2), store=None)
run.{way}
print(*(child.pid for child in multiprocessing.active_children()))
"""


@pytest.mark.parametrize("way", ["start()", "step(3)"])
def test_a_process_that_ends_in_the_middle_of_an_epoch_takes_its_workers_along(way):
    done = zygote.run(SCRIPT.format(way=way))
    assert (done.returncode, done.stderr) == (0, "")
    workers = done.stdout.split()
    assert len(workers) == 2
    assert not any(os.path.exists(f"/proc/{pid}") for pid in workers)
