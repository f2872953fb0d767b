"""Data and batches that do not fit are told in the user's own cell, before the first step."""

import sqlite3

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from nbopt import Run, RunState

# -- at the start: data that do not fit each other, the model or the loss

WAYS = {"start": Run.start, "fit": Run.fit, "step": Run.step}


class Empty(IterableDataset):
    def __iter__(self):
        return iter(())


class Labels(Dataset):
    """Labels out of range, found only while training."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return torch.ones(4), index


def wrong_data(case, x, y):
    return {
        "text": {"train": "iris.csv"},
        "lengths differ": {"train": (x, y[:-1])},
        "empty": {"train": (x[:0], y[:0])},
        "empty val": {"val": (x[:0], y[:0])},
        "empty val loader": {"val": DataLoader(TensorDataset(x[:0], y[:0]))},
        "empty val stream": {"val": DataLoader(Empty())},
        "empty train stream": {"train": DataLoader(Empty())},
        "val of another shape": {"val": (x[:, :3], y)},
        "features": {"train": (x[:, :3], y)},
        "label too large": {"train": (x, y + 1)},
        "label too large in val": {"val": (x, y + 1)},
        "label negative": {"train": (x, y - 1)},
        "labels as columns": {"train": (x, y[:, None])},
        "labels as floats": {"train": (x, y.float())},
        "labels as text": {"train": (x, ["a"] * len(x))},
        "no labels": {"train": x},
        "three parts": {"train": (x, y, y)},
        "dataset labels": {"train": Labels()},
        "regression": {"train": (x, y), "loss": "mse"},
        "binary": {"train": (x[:, :4], y), "loss": "binary_cross_entropy", "model": nn.Linear(4, 1)},
        "custom loss": {"loss": lambda output, target: (output[:, 0] - target) ** 2},
        "metrics of records": {
            "forward": lambda m, b: ({"a": m(b[0])}, b[1]),
            "loss": lambda o, t: o["a"].sum(),
            "metrics": "mae",
        },
    }[case]


MESSAGES = {
    "text": "train must be (X, y)",
    "lengths differ": "the parts of train differ in length: 60 / 59 samples",
    "empty": "train is empty",
    "empty val": "val is empty",
    "empty val loader": "val is empty",
    "empty val stream": "val is empty: it yields no batch",
    "empty train stream": "train yielded no batch",
    "val of another shape": "train (60, 4), (60,) and val (60, 3), (60,) hold samples of different shapes",
    "features": "mat1 and mat2 shapes cannot be multiplied",
    "label too large": "labels must be 0 to 2, because the model gives 3 scores; got labels from 1 to 3",
    "label too large in val": "got labels from 1 to 3",
    "label negative": "got labels from -1 to 1",
    "labels as columns": "one class index per sample",
    "labels as floats": "class indices as integers",
    "labels as text": "LabelEncoder",
    "no labels": "a batch holds Tensor, not (x, y): give forward=",
    "three parts": "a batch holds 3 parts, not (x, y): give forward=",
    "dataset labels": "labels must be 0 to 2",
    "regression": "do not match: it compares them number by number",
    "binary": "labels must be 0 to 1",
    "custom loss": "the loss must return one number as a tensor",
    "metrics of records": "metric mae: it needs tensors, and the output is dict",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", MESSAGES)
def test_data_that_do_not_fit_are_told_in_the_user_s_own_cell(make_run, mlp, blobs, way, case):
    run = make_run(**{"model": mlp(), "train": blobs, **wrong_data(case, *blobs)})
    with pytest.raises((ValueError, TypeError, RuntimeError)) as caught:
        WAYS[way](run)
    assert MESSAGES[case] in str(caught.value)
    assert run.state is RunState.FAILED
    assert run.error is caught.value
    assert run.step_count == 0
    assert run.journal[-1].name == "failed" and MESSAGES[case] in run.journal[-1].new
    with pytest.raises(type(run.error)):
        run.wait(0)


class Connected(Dataset):
    """Reads from a database that belongs to the thread it was opened in."""

    def __init__(self):
        self.database = sqlite3.connect(":memory:")

    def __len__(self):
        return 20

    def __getitem__(self, index):
        (x,) = self.database.execute("select ?", (float(index),)).fetchone()
        return torch.full((4,), x), index % 3


def test_what_belongs_to_a_thread_is_told_with_the_way_out(make_run):
    assert make_run(train=Connected(), epochs=1).fit().state is RunState.FINISHED
    with pytest.raises(sqlite3.ProgrammingError) as caught:
        make_run(train=Connected()).start()
    assert "run.fit() trains in the caller's thread" in caught.value.__notes__[-1]


@pytest.mark.parametrize("fraction", [np.float32(0.25), np.float64(0.25)])
def test_a_fraction_of_numpy_is_a_fraction(make_run, blobs, fraction):
    run = make_run(val=fraction)
    run.step()
    assert run.training.val.size == 15


@pytest.mark.parametrize("form", ["list", "loader", "stream"])
def test_batches_of_another_kind_in_val_are_told_before_the_first_step(make_run, blobs, form):
    samples = [{"x": x, "y": y} for x, y in zip(*blobs, strict=True)]

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(samples)

    val = {"list": samples, "loader": DataLoader(samples, batch_size=8), "stream": DataLoader(Stream())}[form]
    run = make_run(val=val)
    with pytest.raises(ValueError, match=r"val: a batch holds dict, not \(x, y\): give forward="):
        run.step()
    assert run.step_count == 0


@pytest.mark.parametrize(
    ("outputs", "loss", "forward"),
    [
        (4, "mse", lambda model, batch: (model(batch[0]), batch[0])),
        (4, nn.MSELoss(), lambda model, batch: (model(batch[0]), batch[0])),
        (2, "cross_entropy", lambda model, batch: (model(batch[0]), (batch[1] > 0).long())),
        (1, "binary_cross_entropy", lambda model, batch: (model(batch[0]), (batch[1] > 0).float())),
        (3, lambda o, t: nn.functional.cross_entropy(o, t[0]), lambda model, batch: (model(batch[0]), (batch[1],))),
    ],
    ids=["autoencoder", "module", "fewer classes", "one class", "tuple"],
)
def test_labels_that_forward_makes_into_targets_are_not_checked_as_targets(make_run, blobs, outputs, loss, forward):
    run = make_run(nn.Linear(4, outputs), val=blobs, loss=loss, forward=forward, epochs=1).fit()
    assert run.state is RunState.FINISHED


def test_a_loss_of_one_s_own_is_not_asked_about_samples_that_are_no_batch(make_run):
    x = torch.randn(64, 4)

    def gap(output, target):
        assert len(output) == len(target) == 16
        return (output.reshape(8, 2, 2)[:, 0] - output.reshape(8, 2, 2)[:, 1]).square().mean()

    run = make_run(nn.Linear(4, 2), train=(x, torch.arange(64) % 3), loss=gap, batch_size=16, epochs=1).fit()
    assert run.step_count == 4


@pytest.mark.parametrize("batch_size", [2, 20])
@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda output, target: output, "Tensor"),
        (lambda output, target: (output, target, 0.1), "3 parts"),
        (lambda output, target: None, "NoneType"),
    ],
    ids=["output", "three", "nothing"],
)
def test_a_forward_that_returns_no_pair_is_told_so(make_run, batch_size, made, told):
    run = make_run(forward=lambda model, batch: made(model(batch[0]), batch[1]), batch_size=batch_size)
    with pytest.raises(TypeError, match=rf"forward must return \(output, target\); it returned {told}"):
        run.start()


@pytest.mark.parametrize("loss", [lambda o, t: torch.ones(()), lambda o, t: nn.functional.cross_entropy(o.detach(), t)])
def test_a_loss_without_a_gradient_is_told_what_that_means(make_run, loss):
    with pytest.raises(RuntimeError, match="does not require grad") as caught:
        make_run(loss=loss).start()
    assert "depends on no weight that is trained" in str(caught.value.__notes__)


def test_inputs_and_labels_given_one_by_one_are_told_so(blobs, make_run):
    with pytest.raises(ValueError, match=r"different shapes. Inputs and labels are given together: .*\(X, y\)"):
        make_run(train=blobs[0], val=blobs[1]).step()


def test_an_iterator_is_told_to_be_gone_through_once(blobs, make_run):
    with pytest.raises(TypeError, match="train is a generator, it can be iterated over only once: pass a Dataset"):
        make_run(train=(pair for pair in zip(*blobs, strict=True))).step()


def test_the_shapes_of_the_batch_stand_below_an_error_of_the_model(make_run, blobs):
    with pytest.raises(RuntimeError) as caught:
        make_run(train=(blobs[0][:, :3], blobs[1])).start()
    assert caught.value.__notes__ == ["nbopt: raised in step 0, on a batch of shape (60, 3) float32, (60,) int64"]


def test_a_single_sample_left_over_for_batch_normalization_is_told_with_a_way_out(make_run, blobs):
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    run = make_run(model, blobs, batch_size=59, epochs=2)
    with pytest.raises(ValueError, match="more than 1 value per channel") as caught:
        run.fit()
    assert "rewind(...) and set another batch_size" in caught.value.__notes__[-1]
    run.rewind(0)
    run.set(batch_size=58)
    assert run.fit().step_count == 4
