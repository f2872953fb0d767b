"""Where others stop: a loss that explodes, memory that runs out, code of the user's that raises."""

from __future__ import annotations

import traceback

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import Dataset

from nbopt import RunState

SECONDS = 60

# -- divergence


def deeds(run):
    """Return what the guard did, as the journal tells it."""
    return [(entry.step, entry.name, entry.old, entry.new) for entry in run.journal if entry.source == "guard"]


@pytest.fixture
def digits_run(make_run):
    """Return a maker of the quickstart's run, with its test accuracy."""
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x / 16, y, test_size=0.2, stratify=y, random_state=0)

    def make(**settings):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
        # Not compiled in the midst of it, as it would be on a busy machine: what it comes to is always the same.
        settings = {"val": 0.2, "metrics": ["accuracy"], "epochs": 120, "patience": 40, "tier": "eager", **settings}
        run = make_run(model, (x, y), **settings)

        def test_accuracy():
            with torch.no_grad():
                scores = model.eval()(torch.as_tensor(x_test, dtype=torch.float32))
            return (scores.argmax(1).numpy() == y_test).mean()

        return run, test_accuracy

    return make


@pytest.mark.slow
def test_digits_are_told_apart_though_the_learning_rate_was_a_million_on_the_way(digits_run):
    run, test_accuracy = digits_run()
    run.step(360)
    run.set(lr=1e6)
    run.resume()
    assert run.wait(10 * SECONDS) is RunState.FINISHED
    assert test_accuracy() >= 0.96
    (found, diverged, _, text), (left, rewind, _, to), cut = deeds(run)
    assert (diverged, rewind) == ("diverged", "rewind")
    assert found == left > 361 and text.startswith("loss ") and text.endswith(" in step 361")
    assert to == 360 and cut == (360, "lr", 1e-3, 5e-4)
    assert max(run.history["loss"][1]) < 10


@pytest.mark.parametrize("rate", [1.0, 10.0])
def test_what_the_quickstart_promises_of_learning_rates_does_happen(digits_run, rate):
    run, _accuracy = digits_run()
    run.step(150)
    run.set(lr=rate)
    run.step(300)
    if rate == 1:  # bad, but no divergence
        assert deeds(run) == [] and 2.0 < run.history.last("val_loss") < 3.0
        run.rewind("best")
        assert run.hyperparams["lr"] == 1e-3 and run.history.last("val_loss") < 1.0
    else:
        assert [deed[1] for deed in deeds(run)] == ["diverged", "rewind", "lr"]
        assert run.hyperparams["lr"] == 5e-4 and run.history.last("val_loss") < 0.5


@pytest.mark.slow
def test_without_recovery_digits_are_not_told_apart_after_such_a_learning_rate(digits_run):
    run, test_accuracy = digits_run(recover=False)
    run.step(360)
    run.set(lr=1e6)
    run.resume()
    assert run.wait(10 * SECONDS) is RunState.FINISHED
    assert test_accuracy() < 0.96  # not even with the best weights from before, which early stopping restores
    assert deeds(run) == []


def test_a_learning_rate_that_explodes_is_undone_and_cut(make_run):
    run = make_run(val=0.2, batch_size=10, epochs=30, lr=0.01)
    run.step(20)
    run.set(lr=1e6)
    run.resume()
    run.wait(SECONDS)
    assert run.state is RunState.FINISHED
    assert [name for _step, name, *_values in deeds(run)] == ["diverged", "rewind", "lr"]
    assert run.hyperparams["lr"] == 0.005
    assert run.history.last("val_loss") < 0.3
    assert max(run.history["loss"][1]) < 10


def test_with_recover_off_nothing_goes_back(make_run):
    run = make_run(batch_size=10, epochs=30, lr=0.01, recover=False)
    run.step(20)
    run.set(lr=1e6)
    run.step(20)
    assert deeds(run) == []


def test_a_loss_that_stays_wrong_ends_the_run_in_words(make_run, blobs):
    x, y = blobs
    run = make_run(train=(x * float("nan"), y), epochs=3)
    run.start(wait=False)
    with pytest.raises(FloatingPointError, match="recover=False"):
        run.wait(SECONDS)
    assert run.state is RunState.FAILED


# -- memory


def refuse():
    """Raise what a GPU's allocator raises."""
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def allocate():
    """Ask the CPU's allocator for more than there is."""
    torch.empty(2**50)


class Greedy(nn.Module):
    """Runs out of memory for more samples at once than fit."""

    def __init__(self, inner, fits, run_out=refuse):
        super().__init__()
        self.inner, self.fits, self.run_out = inner, fits, run_out

    def forward(self, x):
        if self.training and len(x) > self.fits:
            self.run_out()
        return self.inner(x)


@pytest.mark.parametrize("run_out", [refuse, allocate])
def test_out_of_memory_after_a_change_of_batch_size_is_survived_with_the_same_curve(make_run, mlp, blobs, run_out):
    run, free = (
        make_run(Greedy(mlp(), fits, run_out), val=blobs, metrics="accuracy", batch_size=4, epochs=20)
        for fits in (7, 10**6)
    )
    for each in (run, free):
        each.step(5)
        each.set(batch_size=32)
        each.resume()
        assert each.wait(SECONDS) is RunState.FINISHED
    assert (run.hyperparams["micro_batch"], run.hyperparams["batch_size"]) == (4, 32)
    assert [deed[:2] for deed in deeds(run)] == [(5, "out_of_memory"), (5, "micro_batch")] * 3  # 32 -> 16 -> 8 -> 4
    assert [deed[2:] for deed in deeds(run)[1::2]] == [(0, 16), (16, 8), (8, 4)]
    assert all("allocate" in text for _step, _name, _old, text in deeds(run)[::2])
    for name in ("loss", "val_loss", "val_accuracy"):
        assert run.history[name][0].tolist() == free.history[name][0].tolist()
        assert run.history[name][1] == pytest.approx(free.history[name][1], rel=0, abs=1e-4)
    again = run.replay()
    again.wait(SECONDS)
    assert all(torch.equal(a, b) for a, b in zip(run.model.parameters(), again.model.parameters(), strict=True))


def test_out_of_memory_for_a_single_sample_is_an_error(make_run, mlp):
    run = make_run(Greedy(mlp(), 0), batch_size=4)
    run.start(wait=False)
    with pytest.raises(torch.OutOfMemoryError):
        run.wait(SECONDS)
    assert run.state is RunState.FAILED


# -- exceptions of the user's


class Fault:
    """Raises from one call on, until it is put right."""

    def __init__(self, call):
        self.calls_left = call
        self.mended = False

    def __call__(self):
        self.calls_left -= 1
        if self.calls_left <= 0 and not self.mended:
            raise OSError("no more")


class Samples(Dataset):
    """Reads samples one by one."""

    def __init__(self, columns, fault):
        self.columns, self.fault = columns, fault

    def __len__(self):
        return len(self.columns[0])

    def __getitem__(self, index):
        self.fault()
        return tuple(column[index] for column in self.columns)


class Layer(nn.Module):
    def __init__(self, inner, fault):
        super().__init__()
        self.inner, self.fault = inner, fault

    def forward(self, x):
        self.fault()
        return self.inner(x)


def faulty(place, fault, model, data):
    """Return what a run is made with, a fault of the user's in one place."""

    def loss(output, target):
        fault()
        return nn.functional.cross_entropy(output, target)

    def forward(model, batch):
        fault()
        return model(batch[0]), batch[1]

    return {
        "model": {"model": Layer(model, fault), "train": data},
        "loss": {"model": model, "train": data, "loss": loss},
        "data": {"model": model, "train": Samples(data, fault)},
        "forward": {"model": model, "train": data, "forward": forward},
    }[place]


@pytest.mark.parametrize(
    ("place", "call"),
    [
        ("model", 5),
        ("model", 4),
        ("loss", 8),
        ("data", 75),
        ("data", 121),
        ("forward", 7),
    ],
)
def test_what_raises_ends_the_run_with_its_traceback_and_once_put_right_the_run_goes_on(
    make_run, mlp, blobs, weights, place, call
):
    common = {"val": blobs, "batch_size": 20, "epochs": 4}  # three steps and a validation an epoch
    fault = Fault(call)
    run = make_run(**faulty(place, fault, mlp(0.5), blobs), **common)
    for _time in range(2):  # resumed while it is still broken, it ends again
        run.start(wait=False)
        with pytest.raises(OSError, match="no more"):
            run.wait(SECONDS)
        assert run.state is RunState.FAILED
        trace = "".join(traceback.format_exception(run.error))
        assert "in __call__" in trace and __file__ in trace
        assert (run.journal[-1].name, run.journal[-1].new) == ("failed", "OSError: no more")
    at = run.step_count
    fault.mended = True
    run.resume()
    assert run.wait(SECONDS) is RunState.FINISHED
    assert (run.error, run.journal[-1].name) == (None, "finished")
    whole = make_run(**faulty(place, Fault(10**9), mlp(0.5), blobs), **common).fit()
    assert 0 < at < whole.step_count == run.step_count
    assert torch.equal(weights(run), weights(whole))
    assert {name: [part.tolist() for part in run.history[name]] for name in run.history} == {
        name: [part.tolist() for part in whole.history[name]] for name in whole.history
    }
