"""Every error is told where the user is, and leaves a run that can go on."""

import sqlite3
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from nbopt import Run, RunState
from nbopt.errors import InvalidHyperparam, UnknownName

# -- in the constructor: names, values, the model


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"learning_rate": 0.1}, UnknownName, r"unknown hyperparameter 'learning_rate'\. Did you mean 'lr'\?"),
        ({"eps": 1e-4}, InvalidHyperparam, r"optimizer=functools\.partial\(torch\.optim\.Adam, eps=0\.0001\)"),
        ({"optimizer": "sgd", "dampening": 0.1}, InvalidHyperparam, r"partial\(torch\.optim\.SGD, dampening=0\.1\)"),
        ({"optimizer": lambda weights: 3}, InvalidHyperparam, "it returned 3, no torch optimizer"),
        ({"optimizer": partial(torch.optim.Adam, epsilon=1)}, InvalidHyperparam, "it raised TypeError.*epsilon"),
        ({"bach_size": 3}, UnknownName, "Did you mean 'batch_size'"),
        ({"delta": 3}, UnknownName, "unknown hyperparameter 'delta'"),
        ({"lr": -1}, InvalidHyperparam, "lr must be a finite number at least 0; got -1"),
        ({"lr": float("nan")}, InvalidHyperparam, "lr must be a finite number at least 0; got nan"),
        ({"lr": float("inf")}, InvalidHyperparam, "got inf"),
        ({"lr": "0.1"}, InvalidHyperparam, "got '0.1'"),
        ({"dropout": 1.0}, InvalidHyperparam, "dropout must be a finite number at least 0 and below 1"),
        ({"batch_size": 0}, InvalidHyperparam, "batch_size must be a whole number at least 1"),
        ({"batch_size": 2**63}, InvalidHyperparam, "batch_size must be"),
        ({"epochs": 2.5}, InvalidHyperparam, "epochs must be a whole number"),
        ({"early_stopping": 1}, InvalidHyperparam, "early_stopping must be True or False"),
        ({"optimizer": "admw"}, UnknownName, "Did you mean 'adamw'"),
        ({"optimizer": None}, UnknownName, "unknown optimizer None"),
        ({"loss": "crossentropy"}, UnknownName, "Did you mean 'cross_entropy'"),
        ({"metrics": "acc"}, UnknownName, "unknown metric 'acc'"),
        ({"device": "gpu"}, UnknownName, "unknown device 'gpu'"),
        ({"device": "cuda:77"}, ValueError, "is not on this machine"),
        ({"seed": -1}, ValueError, "seed must be a whole number"),
        ({"seed": 1.5}, ValueError, "seed must be a whole number"),
        ({"seed": True}, ValueError, "seed must be a whole number"),
        ({"forward": "mean"}, TypeError, r"forward must be callable\(model, batch\) -> \(output, target\); got str"),
        (
            {"loss": nn.GaussianNLLLoss()},
            InvalidHyperparam,
            r"called with \(output, target\), and GaussianNLLLoss\(.*var",
        ),
        ({"loss": nn.functional.triplet_margin_loss}, InvalidHyperparam, "hands on what else it takes"),
        ({"loss": [(1.0, lambda a, b, c: a)]}, InvalidHyperparam, "each term needs a different name"),
        ({"loss": lambda a, b, c: a}, InvalidHyperparam, r"<lambda>\(a, b, c\) cannot be"),
        ({"val": 0.0}, ValueError, "a fraction of train between 0 and 1; got 0.0"),
        ({"val": 1}, ValueError, "between 0 and 1; got 1"),
        ({"val": True}, ValueError, "between 0 and 1; got True"),
    ],
)
def test_a_wrong_setting_is_told_when_the_run_is_made(mlp, blobs, settings, error, message):
    with pytest.raises(error, match=message):
        Run(mlp(), blobs, **settings)


def lazy():
    return nn.Sequential(nn.LazyLinear(3))


def frozen():
    return nn.Linear(4, 3).requires_grad_(False)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (nn.Linear, TypeError, r"model is the class Linear, not an instance: write Linear\(\)"),
        ("resnet", TypeError, "model must be a torch.nn.Module; got str"),
        (lazy, ValueError, "lazy layers that have not seen data yet"),
        (frozen, ValueError, "no parameter that requires a gradient"),
        (nn.ReLU, TypeError, "model is the class ReLU"),
    ],
)
def test_what_is_no_model_is_told_when_the_run_is_made(blobs, model, error, message):
    with pytest.raises(error, match=message):
        Run(model() if model in (lazy, frozen) else model, blobs)


def test_an_optimizer_over_another_model_is_told_when_the_run_is_made(mlp, blobs):
    with pytest.raises(ValueError, match="holds parameters that are not this model's"):
        Run(mlp(), blobs, optimizer=torch.optim.SGD(mlp().parameters()))


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


# -- while training: the model raises, the user puts it right, the run goes on


class Fragile(nn.Module):
    """Raises in the forward passes told."""

    def __init__(self, model, training_calls=(), validation_calls=()):
        super().__init__()
        self.model = model
        self.failing = {True: set(training_calls), False: set(validation_calls)}
        self.calls = {True: 0, False: 0}

    def forward(self, x):
        self.calls[self.training] += 1
        if self.calls[self.training] in self.failing[self.training]:
            raise ArithmeticError("boom")
        return self.model(x)


@pytest.mark.parametrize("way", ["thread", "fit", "steps"])
@pytest.mark.parametrize(
    "failing", [{"training_calls": {1}}, {"training_calls": {5}}, {"validation_calls": {1}}, {"validation_calls": {2}}]
)
def test_a_run_whose_model_raised_goes_on_as_if_nothing_had_been(make_run, mlp, blobs, weights, way, failing):
    model = Fragile(mlp(dropout=0.5), **failing)
    run = make_run(model, val=blobs, batch_size=25, epochs=3, metrics="accuracy")
    with pytest.raises(ArithmeticError, match="boom"):
        if way == "fit":
            run.fit()
        elif way == "steps":
            for _ in range(9):
                run.step()
        else:
            run.start()
            run.wait(60)
    assert run.state is RunState.FAILED
    assert isinstance(run.error, ArithmeticError)
    assert run.end_reason == "ArithmeticError: boom"
    run.set(lr=0.5)
    run.set(lr=1e-3)
    run.resume()
    assert run.wait(60) is RunState.FINISHED
    assert run.error is None

    flawless = make_run(mlp(dropout=0.5), val=blobs, batch_size=25, epochs=3, metrics="accuracy").fit()
    assert torch.equal(weights(run), weights(flawless))
    for name in flawless.history.names:
        assert run.history[name][0].tolist() == flawless.history[name][0].tolist()
        assert run.history[name][1].tolist() == flawless.history[name][1].tolist()


def test_an_error_after_the_first_step_is_raised_by_wait(make_run, mlp):
    run = make_run(Fragile(mlp(), {3}), epochs=50)
    run.start(wait=False)
    with pytest.raises(ArithmeticError):
        run.wait(60)
    with pytest.raises(ArithmeticError):
        run.wait(60)


def test_losses_measured_before_an_error_are_in_the_history(make_run, mlp):
    run = make_run(Fragile(mlp(), {5}), batch_size=20)
    with pytest.raises(ArithmeticError):
        run.fit()
    assert run.history["loss"][0].tolist() == [0, 1, 2, 3]


def test_changes_asked_for_while_the_model_raises_are_not_lost(make_run, blobs):
    def forward(model, batch):
        run.set(lr=0.5)
        raise ArithmeticError

    run = make_run(forward=forward)
    with pytest.raises(ArithmeticError):
        run.start()
    assert run.hyperparams["lr"] == 0.5
    assert not run.pending


def test_a_metric_that_raises_is_not_a_number_and_said_in_words_once(make_run, blobs):
    def moody(output, target):
        raise ArithmeticError("not today")

    run = make_run(val=blobs, metrics={"moody": moody, "mean": lambda output, target: output.mean()}, epochs=3)
    with pytest.warns(UserWarning, match="metric val_moody is not a number: ArithmeticError: not today .moody, "):
        run.fit()
    assert np.isnan(run.history["val_moody"][1]).all() and len(run.history["val_moody"][1]) == 3
    assert np.isfinite(run.history["val_mean"][1]).all()
    told = [entry.new for entry in run.journal if entry.name == "note"]
    assert [text.split(" is ")[0] for text in told] == ["metric moody", "metric val_moody"]


def test_a_stream_that_raised_goes_on_where_it_was(make_run, blobs):
    class Flaky(IterableDataset):
        failed = False

        def __iter__(self):
            for index in range(60):
                if index == 33 and not self.failed:
                    self.failed = True
                    raise OSError("disk gone")
                yield blobs[0][index], blobs[1][index]

    seen = []

    def forward(model, batch):
        seen.extend(batch[0][:, 0].tolist())
        return model(batch[0]), batch[1]

    run = make_run(train=DataLoader(Flaky(), batch_size=10), forward=forward, epochs=1)
    with pytest.raises(OSError, match="disk gone"):
        run.fit()
    run.fit()
    assert seen == blobs[0][:, 0].tolist()
    assert run.epoch == 1


def test_a_loss_that_does_not_fit_can_be_swapped_back(make_run, mlp, blobs):
    # Integer labels fit the squared error of one output; an elementwise check lets (n,) against (n, 1) pass.
    x, y = blobs
    run = make_run(nn.Linear(4, 1), train=(x, y), loss="mse", epochs=3, batch_size=20)
    run.step(2)
    run.set(loss="mae")
    run.step()
    assert run.state is RunState.PAUSED
    assert run.fit().state is RunState.FINISHED


def test_weights_that_became_infinite_do_not_end_a_run_that_is_not_to_recover(make_run, blobs):
    run = make_run(val=blobs, optimizer="sgd", lr=1e30, epochs=3, recover=False).fit()
    assert run.state is RunState.FINISHED
    assert not torch.isfinite(torch.tensor(run.history.last("val_loss")))


def test_an_error_while_a_pause_is_waited_for_is_raised_there(make_run, mlp):
    run = make_run(Fragile(mlp(), set(range(2, 10))), epochs=50)
    with pytest.raises(ArithmeticError):
        while True:
            run.start()
            run.pause()


# -- what looks like a change


def test_a_hyperparameter_set_as_an_attribute_says_how_it_is_set(make_run):
    run = make_run()
    with pytest.raises(AttributeError, match=r"lr is a hyperparameter: write run\.set\(lr=0\.1\)"):
        run.lr = 0.1
    with pytest.raises(AttributeError, match=r"run\.set\(optimizer='sgd'\)"):
        run.optimizer = "sgd"
    assert run.hyperparams["lr"] == 1e-3


def test_what_a_run_is_made_of_is_not_exchanged(make_run):
    run = make_run()
    model = run.model
    with pytest.raises(AttributeError, match="a run keeps the model that it was made with"):
        run.model = nn.Linear(4, 3)
    assert run.model is model


def test_an_item_of_the_hyperparameters_says_how_it_is_set(make_run):
    run = make_run()
    with pytest.raises(InvalidHyperparam, match=r"write run\.set\(lr=0\.1\)"):
        run.hyperparams["lr"] = 0.1
    with pytest.raises(InvalidHyperparam, match="unknown hyperparameter 'learning_rate'"):
        run.hyperparams["learning_rate"] = 0.1
