"""A run as a plain script: it does what the run did, and holds nothing else."""

import ast
import copy
import math
import random
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

import nbopt
from nbopt import RunState
from nbopt.techniques.catalogue import PARTS
from nbopt.techniques.initialization import Initialization
from nbopt.techniques.losses.choice import LOSSES
from nbopt.techniques.optimizers.standard import OPTIMIZERS
from tests.export import scripts
from tests.tries import tries

make, follow, check = scripts.make, scripts.follow, scripts.check


def is_tidy(text):
    """Lint and format-check a script, as someone would who keeps it."""
    for command in (["check"], ["format", "--diff"], ["format", "--diff", "--line-length", "120"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "--stdin-filename", "script.py", "-"],
            input=text,
            text=True,
            capture_output=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert max(map(len, text.splitlines())) <= 88
    return True


@pytest.fixture(scope="module")
def line():
    """Return 48 samples of a noisy plane, in float64, as numpy arrays."""
    random = np.random.default_rng(0)
    x = random.normal(size=(48, 4))
    return x, x @ np.array([1.0, -2.0, 0.5, 0.0]) + 0.1 * random.normal(size=48)


@pytest.fixture
def regressor():
    """Return a model for `line`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


# -- it does what the run did


def large_scores(output, target):
    """Return a term of a loss that speaks against large outputs."""
    return output.square().mean()


TERMS = [(1.0, "cross_entropy"), (0.5, large_scores)]

CASES = {
    "sgd": (
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "lr": 0.05},
        {4: {"momentum": 0.5}, 7: {"nesterov": False}},
    ),
    "sgd_late_momentum": ({"optimizer": "sgd", "lr": 0.05}, {5: {"momentum": 0.9}, 8: {"momentum": 0.0}}),
    "adam": ({"optimizer": "adam", "lr": 0.01}, {5: {"lr": 0.003}, 6: {"beta1": 0.8, "beta2": 0.99}}),
    "adamw": ({"optimizer": "adamw", "weight_decay": 0.1, "lr": 0.01}, {3: {"weight_decay": 0.0}}),
    "rmsprop": ({"optimizer": "rmsprop", "lr": 0.01}, {4: {"momentum": 0.9}, 6: {"alpha": 0.9}}),
    "adagrad": ({"optimizer": "adagrad", "lr": 0.05}, {4: {"lr_decay": 0.1}, 7: {"weight_decay": 0.1}}),
    "torch_class": ({"optimizer": torch.optim.NAdam, "lr": 0.01, "weight_decay": 0.1}, {4: {"lr": 0.001}}),
    "lr": ({"lr": 0.01}, {2: {"lr": 0.1}, 7: {"lr": 0.001}}),
    "batch_size": ({"lr": 0.01}, {1: {"batch_size": 7}, 5: {"batch_size": 32}}),
    "regularization": ({"lr": 0.01, "l1": 0.01, "weight_decay": 0.01}, {4: {"l1": 0.0}, 8: {"l1": 0.02}}),
    "dropout": ({"lr": 0.01}, {2: {"dropout": 0.4}, 6: {"dropout": 0.1}}),
    "given_dropout": ({"lr": 0.01, "dropout": 0.3}, {}),
    "epochs": ({"lr": 0.01}, {3: {"epochs": 6}, 10: {"epochs": 4}}),
    "swap": (
        {"lr": 0.01, "momentum": 0.9},
        {4: {"optimizer": "sgd", "lr": 0.02}, 8: {"optimizer": "adamw"}, 9: {"lr": 0.1}},
    ),
    "lbfgs": (
        {"optimizer": "lbfgs", "lr": 1.0, "weight_decay": 0.01, "metrics": "accuracy"},
        {1: {"lr": 0.0}, 2: {"lr": 0.5, "history_size": 1}, 3: {"history_size": 9, "max_iter": 3}},
    ),
    "newton": ({"optimizer": "newton", "lr": 1.0, "weight_decay": 0.01}, {2: {"damping": 1.0, "clip_norm": 1.0}}),
    "full_steps_between_others": (
        {"lr": 0.01, "metrics": "accuracy"},
        {2: {"optimizer": "lbfgs", "lr": 0.5}, 3: {"optimizer": "sgd"}, 5: {"optimizer": "newton"}}
        | {6: {"weight_decay": 0.1, "optimizer": "lbfgs"}, 7: {"optimizer": "adam"}},
    ),
    "full_steps_in_parts": (
        {"optimizer": "lbfgs", "lr": 1.0, "micro_batch": 16, "schedule": "cosine", "mixup": 0.3, "l1": 0.01},
        {2: {"optimizer": "newton"}},
    ),
    "terms": ({"loss": TERMS, "lr": 0.01}, {2: {"weight_large_scores": 0.1}, 4: {"weight_large_scores": 0.0}}),
    "balanced_terms": (
        {"loss": TERMS, "lr": 0.01, "balance": "uncertainty", "balance_rate": 0.1},
        {2: {"weight_large_scores": 0.1}, 4: {"balance_rate": 0.5, "micro_batch": 8}},
    ),
    "terms_balanced_for_a_while": (
        {"loss": TERMS, "lr": 0.01, "mixup": 0.3},
        {2: {"balance": "uncertainty"}, 5: {"balance": "fixed"}, 7: {"balance": "uncertainty", "label_smoothing": 0.1}},
    ),
    "balanced_terms_in_full_steps": (
        {"loss": TERMS, "optimizer": "lbfgs", "lr": 0.1, "balance": "uncertainty"},
        {2: {"weight_large_scores": 2.0}},
    ),
    "bfloat16": ({"precision": "bfloat16", "lr": 0.01, "metrics": "accuracy"}, {3: {"lr": 0.02}}),
    "float16": ({"precision": "float16", "optimizer": "sgd", "momentum": 0.9, "clip_norm": 0.5, "lr": 0.05}, {}),
    "precisions": (
        {"lr": 0.01, "metrics": ["accuracy", "precision"]},
        {2: {"precision": "bfloat16"}, 4: {"precision": "float16"}, 6: {"precision": "float32"}}
        | {8: {"precision": "float16", "optimizer": "rmsprop"}},
    ),
    "precision_in_parts": (
        {"precision": "float16", "micro_batch": 8, "mixup": 0.3, "schedule": "cosine", "lr": 0.05},
        {3: {"precision": "bfloat16"}, 5: {"label_smoothing": 0.1}},
    ),
    "precision_in_full_steps": (
        {"precision": "bfloat16", "optimizer": "lbfgs", "lr": 0.5, "weight_decay": 0.01},
        {1: {"optimizer": "newton"}, 2: {"optimizer": "adam", "lr": 0.01, "precision": "float16"}}
        | {5: {"precision": "float32", "optimizer": "lbfgs"}},
    ),
    "terms_in_bfloat16": ({"loss": TERMS, "precision": "bfloat16", "balance": "uncertainty", "micro_batch": 8}, {}),
    "micro_batch": ({"lr": 0.01, "dropout": 0.2}, {3: {"micro_batch": 6}, 7: {"micro_batch": 0}}),
    "many": (
        {"lr": 0.01, "l1": 0.001, "metrics": ["accuracy"]},
        {0: {"lr": 0.02}, 2: {"batch_size": 9, "dropout": 0.5}, 9: {"optimizer": "rmsprop", "momentum": 0.5}},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_script_does_what_the_run_did(name, mlp, blobs, record_property):
    given_settings, schedule = CASES[name]
    given_settings = {"epochs": 4, "batch_size": 20, **given_settings}
    run, initial = make(mlp(dropout=0.1), blobs, blobs, **given_settings)
    text, largest = check(follow(run, schedule), initial, blobs, blobs)
    record_property("largest difference", largest)
    assert largest == 0.0
    assert is_tidy(text)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_losses_of_regression_and_their_swap(loss, regressor, line, record_property):
    run, initial = make(regressor, line, line, loss=loss, metrics=["r2", "mae", "rmse"], epochs=5, lr=0.01)
    other = "huber" if loss == "mse" else "mse"
    text, largest = check(follow(run, {2: {"loss": other}, 3: {"lr": 0.02}}), initial, line, line)
    assert largest < 1e-12  # sums over batches, against one sum
    assert is_tidy(text)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_losses_of_regression_in_16_bits(precision, regressor, line):
    settings = {"loss": ["mse", "mae"], "metrics": ["r2", "mae"], "epochs": 3, "lr": 0.01}
    for loss in ("huber", settings["loss"]):
        given_settings = {**settings, "loss": loss, "precision": precision}
        run, initial = make(copy.deepcopy(regressor), line, line, **given_settings)
        text, largest = check(follow(run, {2: {"lr": 0.02}}), initial, line, line)
        assert largest < 1e-12  # sums over batches, against one sum
        assert is_tidy(text)


IMAGES = {
    "always": ({"channels_last": True}, {}),
    "for_a_while": ({"momentum": 0.9, "optimizer": "sgd"}, {2: {"channels_last": True}, 4: {"channels_last": False}}),
    "with_a_swap": ({"flip": 0.5}, {2: {"channels_last": True}, 3: {"optimizer": "rmsprop"}, 4: {"momentum": 0.9}}),
    "in_full_steps": ({"optimizer": "lbfgs", "lr": 0.5, "channels_last": True}, {1: {"optimizer": "newton"}}),
    "in_16_bits": (
        {"precision": "bfloat16", "channels_last": True, "micro_batch": 5},
        {2: {"precision": "float16"}, 4: {"channels_last": False}},
    ),
}


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(30, 3, 6, 6, generator=generator), torch.arange(30) % 3


@pytest.fixture
def cnn():
    """Return a model for `images`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, 3, 4), nn.Flatten())


@pytest.mark.parametrize("name", IMAGES)
def test_channels_last(name, cnn, images):
    given_settings, schedule = IMAGES[name]
    settings = {"epochs": 3, "batch_size": 12, "lr": 0.01, "metrics": "accuracy", **given_settings}
    run, initial = make(cnn, images, images, **settings)
    text, largest = check(follow(run, schedule), initial, images, images)
    assert largest == 0.0
    assert is_tidy(text)
    assert "lay_out(model, optimizer, " in text


@pytest.mark.parametrize("given", ["all", "some"])
def test_a_model_that_came_in_channels_last_though_the_run_was_not(given, cnn, images):
    for layer in cnn if given == "all" else cnn[:1]:
        layer.to(memory_format=torch.channels_last)
    run, initial = make(cnn, images, images, epochs=3, batch_size=12, lr=0.05, channels_last=False)
    assert not initial[0].weight.is_contiguous()
    text, largest = check(follow(run, {}), initial, images, images)
    assert largest == 0.0
    assert is_tidy(text)
    assert initial[0].weight.is_contiguous()  # trained in place, as the run's is


def test_fused_sgd_in_float16_is_refused(mlp, blobs):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
    run = make(model, blobs, optimizer=optimizer, precision="float16")[0]
    with pytest.raises(ValueError, match="cannot hold SGD made with fused=True: make it without"):
        run.to_python()


def test_a_delta_that_changes(regressor, line):
    run, initial = make(regressor, line, line, loss="huber", delta=0.5, epochs=4, batch_size=16)
    text, largest = check(follow(run, {5: {"delta": 2.0}}), initial, line, line)
    assert "DELTA = 0.5" in text
    assert largest == 0.0


def test_binary_labels(line, regressor):
    data = (line[0], (line[1] > 0).astype(int))
    run, initial = make(regressor, data, data, loss="binary_cross_entropy", metrics="accuracy", epochs=3)
    assert check(follow(run, {}), initial, data, data)[1] == 0.0


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_a_fraction_for_validation_is_cut_off_again(kind, mlp, regressor, blobs, line):
    classes = kind == "classes"
    model, data, loss = (mlp(), blobs, "cross_entropy") if classes else (regressor, line, "mse")
    run, initial = make(model, data, 0.25, loss=loss, epochs=3, seed=5)
    text, largest = check(follow(run, {}), initial, data)
    assert largest == 0.0
    assert ("stratify" in text) is classes
    assert is_tidy(text)


def test_early_stopping_with_the_best_weights(mlp, blobs):
    noisy = (blobs[0], blobs[1][torch.randperm(60, generator=torch.Generator().manual_seed(1))])
    run, initial = make(mlp(), blobs, noisy, epochs=200, lr=0.05, patience=3, min_delta=1e-3)
    text, largest = check(follow(run, {4: {"patience": 4}}), initial, blobs, noisy)
    assert run.epoch < 200
    assert run.stopping.best_step < run.step_count
    assert largest == 0.0
    assert "load_state_dict" in text
    assert is_tidy(text)


def test_a_run_that_went_on_after_its_early_end(mlp, blobs):
    noisy = (blobs[0], blobs[1].roll(1))
    run, initial = make(mlp(), blobs, noisy, epochs=30, lr=0.05, patience=2)
    follow(run, {})
    run.set(lr=0.001, epochs=8)
    run.resume()
    run.wait(60)
    text, largest = check(run, initial, blobs, noisy)
    assert "restore_best" in text
    assert "reopen" in text
    assert largest == 0.0
    assert is_tidy(text)


def test_early_stopping_that_is_switched_on_late(mlp, blobs):
    noisy = (blobs[0], blobs[1].roll(1))
    run, initial = make(mlp(), blobs, noisy, epochs=30, lr=0.05)
    text, largest = check(follow(run, {7: {"early_stopping": True}}), initial, blobs, noisy)
    assert run.epoch == 7
    assert "EARLY_STOPPING = False" in text
    assert largest == 0.0
    assert is_tidy(text)


def test_what_a_rewind_undid_is_not_there(mlp, blobs):
    run, initial = make(mlp(), blobs, blobs, epochs=4, batch_size=20, lr=0.01)
    run.step(3)
    run.set(lr=0.9)
    run.step(4)
    run.rewind(5)
    run.rewind(2)
    run.set(lr=0.02)
    run.resume()
    run.wait(60)
    text, largest = check(run, initial, blobs, blobs)
    assert "0.9" not in text
    assert "2: {" in text
    assert largest == 0.0


def test_a_retreat_from_divergence(mlp, blobs):
    run, initial = make(mlp(), blobs, blobs, optimizer="sgd", lr=0.1, epochs=4, batch_size=20)
    follow(run, {4: {"lr": 1e12}})
    assert any(entry.name == "diverged" for entry in run.journal)
    assert check(run, initial, blobs, blobs)[1] == 0.0


def test_a_run_left_in_the_middle(mlp, blobs):
    run, initial = make(mlp(), blobs, blobs, epochs=9, batch_size=20)
    run.step(7)
    run.set(lr=0.5)
    text, largest = check(run, initial, blobs, blobs)
    assert "STEPS_DONE = 7" in text
    assert "SCHEDULE" not in text
    assert largest == 0.0
    assert is_tidy(text)


def test_changes_made_after_the_end_do_not_act(mlp, blobs):
    run, initial = make(mlp(), blobs, blobs, epochs=2, batch_size=20)
    follow(run, {})
    run.set(epochs=5, lr=0.3)
    assert check(run, initial, blobs, blobs)[1] == 0.0


def test_branch_and_replay_start_from_the_first_model(mlp, blobs):
    run, initial = make(mlp(0.1), blobs, 0.2, epochs=3, batch_size=20)
    follow(run, {2: {"dropout": 0.5}})
    twin = run.branch(4, lr=0.1)
    twin.resume()
    twin.wait(60)
    assert check(twin, initial, blobs)[1] == 0.0
    again = run.replay()
    again.wait(60)
    assert scripts.execute(again.to_python(), mlp(0.1), blobs) == scripts.execute(run.to_python(), mlp(0.1), blobs)


def test_a_run_that_has_not_started(mlp, blobs):
    run, initial = make(mlp(), blobs, blobs, epochs=2, lr=0.01)
    run.set(batch_size=20)
    text = run.to_python()
    assert "BATCH_SIZE = 20" in text
    measured = scripts.execute(text, initial, blobs, blobs)
    follow(run, {})
    assert measured["val_loss"] == run.history["val_loss"][1].tolist()


def test_without_validation(mlp, blobs):
    run, initial = make(mlp(), blobs, epochs=3, metrics=["accuracy"])
    text, largest = check(follow(run, {}), initial, blobs)
    assert largest == 0.0
    assert is_tidy(text)
    assert len(scripts.execute(text, mlp(), blobs, blobs)["val_loss"]) == 3


def test_the_mean_loss_of_each_epoch(mlp, blobs):
    run, initial = make(mlp(), blobs, epochs=3, batch_size=20)
    follow(run, {})
    measured = scripts.execute(run.to_python(), initial, blobs)
    assert measured["loss"] == pytest.approx(run.history["loss"][1].reshape(3, 3).mean(1), abs=1e-7)


class Recurrent(nn.Module):
    """Layers whose dropout is an attribute, and one that draws noise by itself."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(1, 6, num_layers=2, batch_first=True, dropout=0.1)
        self.attention = nn.MultiheadAttention(6, 2, dropout=0.1, batch_first=True)
        self.drop = nn.Dropout1d(0.1)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        h, _ = self.gru(x[..., None])
        h, _ = self.attention(h, h, h)
        return self.head(functional.dropout(self.drop(h).mean(1), 0.1, self.training))


def test_layers_whose_dropout_is_an_attribute(blobs):
    torch.manual_seed(0)
    run, initial = make(Recurrent(), blobs, blobs, epochs=3, batch_size=20)
    text, largest = check(follow(run, {4: {"dropout": 0.5}}), initial, blobs, blobs)
    assert largest == 0.0
    assert is_tidy(text)


def test_frozen_weights_and_batch_normalization(blobs):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    model[0].requires_grad_(False)
    run, initial = make(model, blobs, blobs, epochs=3, batch_size=20, l1=0.01)
    text, largest = check(follow(run, {4: {"optimizer": "sgd"}}), initial, blobs, blobs)
    assert largest == 0.0
    assert is_tidy(text)


def test_an_optimizer_of_the_users(blobs, mlp):
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02, eps=1e-3, amsgrad=True)
    initial = mlp()
    run, _ = make(model, blobs, blobs, optimizer=optimizer, epochs=3, batch_size=20)
    text, largest = check(follow(run, {4: {"lr": 0.01}}), initial, blobs, blobs)
    assert "AMSGRAD = True" in text
    assert largest == 0.0
    assert is_tidy(text)


def test_images_of_bytes_and_a_loader_that_does_not_shuffle():
    x = torch.arange(240, dtype=torch.uint8).reshape(20, 1, 4, 3)
    data = TensorDataset(x, torch.arange(20) % 2)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(12, 2)

        def forward(self, x):
            return self.layer(x.flatten(1).float() / 255)

    run, initial = make(Net(), DataLoader(data, batch_size=6), epochs=2)
    text, largest = check(follow(run, {}), initial, data.tensors)
    assert largest == 0.0
    assert "randperm" not in text
    assert is_tidy(text)


# -- functions of the user's

SLOPE = 0.1


def half(value):
    return value / 2


def leaky(output, target):
    """Be a loss with a helper, a constant and a module."""
    penalty = SLOPE * torch.mean(output**2) / math.sqrt(4)
    return half(functional.cross_entropy(output, target)) + penalty


def swapped(model, batch):
    x, y = batch
    return model(x), y


def alone(model, batch):
    return model(batch[:, :4]), batch[:, 4].long()


def confidence(output, target):
    return output.softmax(1).amax(1).mean()


def test_functions_of_the_users_are_written_out(mlp, blobs):
    settings_ = {"loss": leaky, "forward": swapped, "metrics": [confidence, "accuracy"], "epochs": 3, "batch_size": 20}
    run, initial = make(mlp(), blobs, blobs, **settings_)
    text, largest = check(follow(run, {}), initial, blobs, blobs)
    assert largest == 0.0
    assert "def half" in text
    assert "SLOPE = 0.1" in text
    assert is_tidy(text)


def step(model, batch):
    """Return outputs and targets, under a name of the script."""
    return model(batch[0]), batch[1]


def loss(output, target):
    """Be a loss under a name of the script."""
    if output.ndim == 1:
        return loss(output[None], target)
    return functional.cross_entropy(output, target)


def test_what_has_a_name_that_the_script_hides_gets_another_one(mlp, blobs):
    run, initial = make(mlp(), blobs, blobs, loss=loss, forward=step, epochs=2)
    text, largest = check(follow(run, {}), initial, blobs, blobs)
    assert "def own_step(model, batch)" in text
    assert largest == 0.0
    assert is_tidy(text)


def full(model, batch):
    return model(batch[0]), batch[1]


class Waited(nbopt.Technique):
    """A technique that is called as a variable of a script is, though not of this one."""

    decay = nbopt.Float(0.1, low=0.0, high=1.0, label="Decay", group="Regularization")

    @torch.no_grad()
    def after_step(self, loss):
        for weight in self.weights:
            weight.mul_(1 - self.decay)


def test_what_has_a_name_of_what_the_script_leaves_out_stays(mlp, blobs):
    run, initial = make(mlp(), blobs, blobs, forward=full, techniques=[Waited], epochs=2)
    text, largest = check(follow(run, {}), initial, blobs, blobs)
    assert "own_full(model, batch)" in text
    assert "waited_technique.after_step" in text
    assert largest == 0.0
    assert is_tidy(text)


class Part(Waited):
    """One that is called as a variable of the lines that stand for another technique."""


class Seen(Waited):
    """One that is called as a variable of the lines of a loss."""


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Part, {"micro_batch": 7}),
        (Seen, {"loss": ["cross_entropy", (0.5, "hinge")], "balance": "uncertainty"}),
        (Part, {}),
    ],
    ids=["batches in parts", "terms that are balanced", "nothing of that name"],
)
def test_a_technique_has_no_name_of_the_lines_of_others(mlp, blobs, kind, settings):
    run, initial = make(mlp(), blobs, blobs, techniques=[kind], epochs=2, batch_size=20, **settings)
    text, largest = check(follow(run, {}), initial, blobs, blobs)
    assert f"{kind.__name__.lower()}{'_technique' * bool(settings)}.after_step" in text
    assert largest == 0.0


def test_samples_in_a_single_array(mlp, blobs):
    data = torch.cat([blobs[0], blobs[1][:, None].float()], 1)
    run, initial = make(mlp(), data, data, forward=alone, epochs=3, batch_size=20)
    assert check(follow(run, {}), initial, data, data)[1] == 0.0


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(label_smoothing=0.1), functional.cross_entropy])
def test_losses_of_torchs(loss, mlp, blobs):
    run, initial = make(mlp(), blobs, blobs, loss=loss, epochs=2)
    text, largest = check(follow(run, {}), initial, blobs, blobs)
    assert largest == 0.0
    assert is_tidy(text)


def test_what_cannot_be_written_out_is_an_argument(mlp, blobs):
    teacher = mlp(seed=3)

    def distilled(output, target):
        return functional.cross_entropy(output, target) + (output - teacher(blobs[0][: len(output)])).square().mean()

    def with_teacher(model, batch):
        return model(batch[0]) + teacher(batch[0]), batch[1]

    run, initial = make(mlp(), blobs, blobs, loss=[distilled, "cross_entropy"], forward=with_teacher, epochs=2)
    text = follow(run, {}).to_python()
    assert "``loss`` is what the run was given: distilled uses teacher: Sequential has" in text
    assert is_tidy(text)
    given = {"loss": distilled, "forward": with_teacher}
    assert scripts.compare(run, scripts.execute(text, initial, blobs, blobs, **given), initial) == 0.0


def test_values_that_functions_were_made_with_are_written_out(mlp, blobs):
    weight, limit, kind = torch.tensor([1.0, 2.0, 0.5]), 0.5, torch.float64

    def sure(output, target):
        return (output.to(kind).softmax(1).amax(1) > limit).float().mean()

    loss = lambda output, target: functional.cross_entropy(output, target, weight)  # noqa: E731
    metrics = {"sure": sure, "highest": lambda output, target: output.amax()}
    run, initial = make(mlp(), blobs, blobs, loss=loss, metrics=metrics, epochs=2)
    text, largest = check(follow(run, {}), initial, blobs, blobs)
    assert largest == 0.0
    assert "limit = 0.5" in text
    assert is_tidy(text)


def test_a_metric_that_cannot_be_written_out_is_left_out(mlp, blobs):
    model = mlp()
    run, initial = make(mlp(), blobs, blobs, metrics={"far": lambda output, target: model(blobs[0]).mean()}, epochs=2)
    text = follow(run, {}).to_python()
    assert "# The metric far is left out" in text
    assert scripts.execute(text, initial, blobs, blobs)["val_loss"] == run.history["val_loss"][1].tolist()


class Slow(torch.optim.SGD):
    """An optimizer of the user's, with a setting of its own."""

    def __init__(self, params, lr=0.1, damp=0.5):
        super().__init__(params, lr=lr, momentum=0.9)
        for group in self.param_groups:
            group["damp"] = damp

    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                weight.grad.mul_(group["damp"])
        return super().step(closure)


def decayed(model):
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]


def by_layer(model):
    layers = dict(model.named_children())
    return [{"params": layers["0"].parameters(), "lr": 0.001}, {"params": layers["3"].parameters()}]


def by_name(model):
    named = dict(model.named_parameters())
    return [{"params": [named["3.bias"], named["0.weight"]], "betas": (0.8, 0.9)}, {"params": [named["3.weight"]]}]


GROUPED = {
    "nanogpt": lambda model: torch.optim.AdamW(decayed(model), lr=0.01, betas=(0.9, 0.95), fused=True),
    "amsgrad": lambda model: torch.optim.AdamW(decayed(model), lr=0.01, amsgrad=True, eps=1e-6),
    "layers": lambda model: torch.optim.SGD(by_layer(model), lr=0.02, momentum=0.9, nesterov=True),
    "names": lambda model: torch.optim.Adam(by_name(model), lr=0.01),
    "a part": lambda model: torch.optim.RMSprop(list(model.children())[3].parameters(), lr=0.01, centered=True),
    "own class": lambda model: Slow([{"params": group["params"]} for group in decayed(model)], damp=0.9),
    "adadelta": lambda model: torch.optim.Adadelta(model.parameters(), lr=0.5, rho=0.8),
}


@pytest.mark.parametrize("name", GROUPED)
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_parameter_groups_are_written_out(name, schedule, mlp, blobs):
    model = mlp()
    given_settings = {"optimizer": GROUPED[name](model), "epochs": 3, "batch_size": 20, "schedule": schedule}
    run, initial = make(model, blobs, blobs, **given_settings)
    text, largest = check(
        follow(run, {3: {"lr": 0.005}, 5: {"weight_decay": 0.05}} if name != "own class" else {}), initial, blobs, blobs
    )
    assert largest == 0.0
    assert is_tidy(text)


@pytest.mark.parametrize("name", ["nanogpt", "layers", "adadelta"])
def test_what_the_run_is_given_beside_an_optimizer_of_the_users_acts_in_a_script_too(name, mlp, blobs):
    model = mlp()
    given_settings = {
        "optimizer": GROUPED[name](model),
        "epochs": 2,
        "batch_size": 20,
        "lr": 0.003,
        "weight_decay": 0.2,
    }
    run, initial = make(model, blobs, blobs, **given_settings)
    assert check(follow(run, {3: {"lr": 0.001}}), initial, blobs, blobs)[1] == 0.0


@pytest.mark.parametrize("name", ["tensors", "dataset", "stream"])
@pytest.mark.parametrize(
    "schedule", [{}, {3: {"optimizer": "adam"}, 9: {"optimizer": "lbfgs", "max_iter": 4}, 12: {"weight_decay": 0.1}}]
)
def test_an_lbfgs_of_the_users_steps_on_each_batch_in_a_script_too(name, schedule, mlp, blobs):
    model, train = mlp(), LOADERS[name](*blobs)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3, max_eval=5)
    run, initial = make(model, train, blobs, optimizer=optimizer, epochs=3)
    text, largest = check(follow(run, schedule), initial, train, blobs)
    assert largest == 0.0
    assert is_tidy(text)


def test_a_script_does_not_mix_steps_on_batches_and_on_all_samples(mlp, blobs):
    model = mlp()
    run, _ = make(model, blobs, optimizer=torch.optim.LBFGS(model.parameters(), lr=0.1), epochs=3)
    with pytest.raises(ValueError, match=r"not both .*LBFGS"):
        follow(run, {2: {"optimizer": "newton"}}).to_python()


def test_an_optimizer_class_of_the_users_is_written_out(mlp, blobs):
    run, initial = make(mlp(), blobs, blobs, optimizer=Slow, lr=0.05, epochs=3, batch_size=20)
    text, largest = check(follow(run, {2: {"lr": 0.01}, 4: {"optimizer": "adam"}}), initial, blobs, blobs)
    assert "class Slow(torch.optim.SGD)" in text
    assert largest == 0.0


@pytest.mark.parametrize("swap", [False, True])
def test_step_hooks_are_not_lost_without_a_word(swap, mlp, blobs):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.register_step_post_hook(lambda *given: model[0].weight.data.clamp_(-0.1, 0.1) and None)
    run, _ = make(model, blobs, optimizer=optimizer if not swap else "adam", epochs=1, batch_size=20)
    if swap:
        run.step(1)
        run.optimizer.register_step_pre_hook(lambda *given: None)
    with pytest.raises(ValueError, match="step hooks"):
        run.to_python()


def test_optimizers_that_a_script_cannot_hold_say_why(mlp, blobs):
    model = mlp()
    run, _ = make(model, blobs, optimizer=GROUPED["layers"](model), epochs=3)
    with pytest.raises(ValueError, match=r"has parameter groups, and a script does not hand them on .* in step 2"):
        follow(run, {2: {"optimizer": "adam"}}).to_python()
    optimizer = torch.optim.Adam(model.parameters())
    model(blobs[0]).sum().backward()
    optimizer.step()
    with pytest.raises(ValueError, match="had taken steps before the run"):
        run = make(model, blobs, optimizer=optimizer, epochs=1)[0]
        follow(run, {}).to_python()


# -- data that are not in memory


class Samples(Dataset):
    """Samples with noise of their own, as augmentations draw it."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index] + 0.1 * torch.randn(4), self.y[index]


class Endless(IterableDataset):
    """Samples that come one by one."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __iter__(self):
        for x, y in zip(self.x, self.y, strict=True):
            yield x + 0.1 * torch.randn(4), y


def pairs(samples):
    """Collate samples the other way round."""
    return {"y": torch.stack([y for _, y in samples]), "x": torch.stack([x for x, _ in samples])}


def of_mapping(model, batch):
    return model(batch["x"]), batch["y"]


LOADERS = {
    "dataset": lambda x, y: Samples(x, y),
    "shuffled": lambda x, y: DataLoader(Samples(x, y), batch_size=7, shuffle=True),
    "in_order": lambda x, y: DataLoader(Samples(x, y), batch_size=7),
    "collated": lambda x, y: DataLoader(Samples(x, y), batch_size=7, shuffle=True, collate_fn=pairs),
    "subset": lambda x, y: DataLoader(Subset(Samples(x, y), range(0, len(x), 2)), batch_size=7, shuffle=True),
    "sampler": lambda x, y: DataLoader(Samples(x, y), batch_size=7, sampler=WeightedRandomSampler(y + 1.0, 50)),
    "sampler, dropped": lambda x, y: DataLoader(
        Samples(x, y), batch_size=7, sampler=WeightedRandomSampler(y + 1.0, 50), drop_last=True
    ),
    "batch_sampler": lambda x, y: DataLoader(Samples(x, y), batch_sampler=Halves(len(x))),
    "iterable": lambda x, y: Endless(x, y),
    "stream": lambda x, y: DataLoader(Endless(x, y), batch_size=7),
    "tensors": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=7, shuffle=True),
    "workers": lambda x, y: DataLoader(Samples(x, y), batch_size=25, shuffle=True, num_workers=1),
}


class Halves:
    """A batch sampler that is not torch's."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return 2

    def __iter__(self):
        order = torch.randperm(self.size).tolist()
        yield order[: self.size // 2]
        yield order[self.size // 2 :]


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


def left_out(x, y):
    return x, torch.where(torch.arange(len(y)) % 7 < 3, -100, y)


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


def of_list(model, batch):
    return model(torch.stack([x for x, _ in batch])), torch.stack([y for _, y in batch])


# -- it holds nothing else


def test_a_plain_run_gives_a_plain_script(mlp, blobs):
    run, _ = make(nn.Sequential(nn.Linear(4, 3)), blobs, blobs, epochs=2, name='"""; raise SystemExit #\\')
    text = follow(run, {}).to_python()
    for word in (
        "SCHEDULE",
        "dropout",
        "l1",
        "micro",
        "OPTIMIZERS",
        "best",
        "waited",
        "METRICS",
        "manual_seed(derive_seed(N",
    ):
        assert word not in text, word
    assert ast.get_docstring(ast.parse(text)).startswith("Train a model as the run")
    assert is_tidy(text)


def test_early_stopping_that_never_acted_is_not_there(mlp, blobs):
    run, _ = make(mlp(), blobs, blobs, epochs=3, patience=50)
    assert "patience" not in follow(run, {}).to_python()


def test_what_no_step_used_is_not_there(mlp, blobs):
    run, _ = make(mlp(), blobs, blobs, epochs=3, batch_size=20)
    text = follow(run, {2: {"momentum": 0.5}, 3: {"recover": False}, 4: {"patience": 9}}).to_python()
    assert "SCHEDULE" not in text


def declared_by(item):
    """Return the hyperparameters of an item of the catalogue of parts."""
    if isinstance(item, type):
        return set(item.declared())
    return {item.name} | {name for kind in item.classes.values() for name in kind.declared()}


def test_scripts_know_every_hyperparameter_loss_and_metric(mlp, blobs):
    run, _ = make(mlp(), blobs)
    of_parts = {"optimizer", "loss", "epochs", "steps", "validate_every", "batch_size", "micro_batch", "dropout", "l1"}
    of_parts |= {"early_stopping", "patience", "min_delta", "recover", "tier"}  # shown as a rewind, or not at all
    of_parts |= {name for item in (*PARTS, Initialization) for name in declared_by(item)}
    of_optimizers = {name for kind in OPTIMIZERS.values() for name in kind.declared()}
    of_losses = {name for kind in LOSSES.values() for name in kind.declared()}
    assert set(run.hyperparams) <= of_parts | of_optimizers | of_losses
    assert all(kind.source for kind in LOSSES.values())


@pytest.mark.parametrize("name", ["accuracy", "precision", "recall", "f1", "roc_auc"])
def test_metrics_of_classification(name, mlp, blobs):
    run, initial = make(mlp(), blobs, blobs, metrics=name, epochs=3)
    text, largest = check(follow(run, {}), initial, blobs, blobs)
    assert largest == 0.0
    assert is_tidy(text)


def test_a_scorer_is_left_out(mlp, blobs):
    run, _initial = make(mlp(), blobs, blobs, metrics="f1_weighted", epochs=1)
    assert "# The metric f1_weighted is left out" in run.to_python()


# -- without nbopt, in another process


CASES_ELSEWHERE = ("sgd", "adam", "adamw", "rmsprop", "adagrad", "lr", "batch_size", "dropout", "swap", "many")
CASES_ELSEWHERE += ("lbfgs", "newton", "full_steps_between_others", "balanced_terms")
CASES_ELSEWHERE += ("bfloat16", "float16", "precisions")


@pytest.fixture(scope="module")
def elsewhere(one_torch_thread, mlp_maker, blobs, tmp_path_factory):
    """Return for each case its run and script, and what the script measured and trained where there is no nbopt."""
    runs, jobs = [], []
    for name in CASES_ELSEWHERE:
        given_settings, schedule = CASES[name]
        run, initial = make(mlp_maker(), blobs, 0.2, **{"epochs": 4, "batch_size": 20, **given_settings})
        text = follow(run, schedule).to_python()
        runs.append((run, text))
        jobs.append((text, initial, blobs, None))
    done = scripts.execute_elsewhere(jobs, tmp_path_factory.mktemp("elsewhere"))
    return {name: (*run, *result) for name, run, result in zip(CASES_ELSEWHERE, runs, done, strict=True)}


@pytest.mark.parametrize("name", CASES_ELSEWHERE)
def test_a_script_needs_no_nbopt(name, elsewhere):
    run, text, measured, model = elsewhere[name]
    assert "nbopt" not in text
    assert scripts.compare(run, measured, model) == 0.0


def test_every_optimizer_is_among_these():
    assert set(OPTIMIZERS) <= set(CASES_ELSEWHERE)


# -- any schedule

CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "lr": st.sampled_from([0.0, 1e-3, 0.05]),
        "batch_size": st.integers(1, 40),
        "weight_decay": st.sampled_from([0.0, 0.1]),
        "l1": st.sampled_from([0.0, 0.01]),
        "dropout": st.sampled_from([0.0, 0.3]),
        "momentum": st.sampled_from([0.0, 0.9]),
        "nesterov": st.booleans(),
        "micro_batch": st.integers(0, 9),
        "precision": st.sampled_from(["float32", "bfloat16", "float16"]),
        "optimizer": st.sampled_from(["sgd", "adam", "adamw", "rmsprop"]),
        "epochs": st.integers(1, 4),
        "early_stopping": st.booleans(),
        "patience": st.integers(1, 2),
    },
)


@tries(15)
@given(
    start=CHANGES,
    schedule=st.dictionaries(st.integers(0, 12), CHANGES, max_size=4),
    seed=st.integers(0, 2**40),
    stop=st.none() | st.integers(1, 12),
)
def test_any_schedule(mlp_maker, blobs, start, schedule, seed, stop):
    start = {"epochs": 3, "batch_size": 20, "early_stopping": False, **start}
    run, initial = make(mlp_maker(), blobs, blobs, seed=seed, **start)
    run.changes.plan(scripts.operations(schedule, "test"))
    if stop is None:
        run.start()
        assert run.wait(60) is RunState.FINISHED
    else:
        run.step(stop)
    assert check(run, initial, blobs, blobs)[1] == 0.0


@pytest.fixture(scope="module")
def mlp_maker():
    def maker():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))

    return maker


def test_a_run_tells_while_it_trains(mlp, blobs):
    run, _ = make(mlp(), blobs, blobs, epochs=10**9)
    run.start()
    try:
        texts = [run.to_python() for _ in range(5)]
        assert threading.active_count() > 1
    finally:
        run.stop()
    assert all("STEPS_DONE = " in text for text in texts)


@pytest.mark.parametrize(
    "loss",
    [
        "cross_entropy",
        nn.CrossEntropyLoss(ignore_index=1),
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 0.5, 20.0])),
    ],
    ids=str,
)
def test_labels_that_do_not_count_do_not_count_in_a_script(loss, mlp, blobs):
    x, y = blobs
    ignored = getattr(loss, "ignore_index", -100)
    y = torch.where(torch.arange(len(y)) % 4 == 0, ignored, y)
    val, again = (DataLoader(TensorDataset(x, y), batch_size=9) for _time in range(2))
    metrics = [] if ignored == 1 else ["accuracy", "f1"]
    run, initial = make(mlp(), (x, y), val, loss=loss, metrics=metrics, lr=0.01, epochs=3)
    text, largest = check(follow(run, {2: {"lr": 0.02}}), initial, (x, y), again)
    assert largest < 1e-6  # the mean of f1's shares is one of 32 bits
    assert is_tidy(text)


@pytest.mark.parametrize("kind", ["arrays", "shuffled", "stream"])
def test_a_validation_of_a_loss_that_is_a_sum(kind, mlp, blobs):
    data = blobs if kind == "arrays" else LOADERS[kind](*blobs)
    run, initial = make(mlp(), data, data, loss=nn.CrossEntropyLoss(reduction="sum"), epochs=3, lr=0.01)
    schedule = {2: {"optimizer": "lbfgs", "batch_size": 8}} if kind == "arrays" else {}
    text, largest = check(follow(run, schedule), initial, data, data)
    assert largest == 0.0
    assert is_tidy(text)


def test_validation_of_what_has_more_targets_than_samples(mlp, blobs):
    """A loss of which nothing is known is a mean over the rows of the target."""
    loader = DataLoader(TensorDataset(*blobs), batch_size=25, collate_fn=list)

    def twice(model, batch):
        output, target = of_list(model, batch)
        return output.repeat(len(batch) // 10, 1), target.repeat(len(batch) // 10)

    run, initial = make(mlp(), loader, loader, loss=loss, forward=twice, epochs=2)
    assert check(follow(run, {}), initial, loader, loader)[1] == 0.0


def by_input_gradients(model, batch):
    x = batch[0].clone().requires_grad_(True)
    output = model(x)
    slopes = torch.autograd.grad(output.sum(), x, create_graph=True)[0]
    return output + slopes[:, :3], batch[1]


def test_validation_that_needs_gradients(mlp, blobs):
    run, initial = make(mlp(), blobs, blobs, forward=by_input_gradients, metrics="accuracy", epochs=2)
    text, largest = check(follow(run, {}), initial, blobs, blobs)
    assert largest == 0.0
    assert is_tidy(text)


def test_batch_normalization_that_stays_in_evaluation_mode():
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))
    model[1].eval()
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(30, 4, generator=generator), torch.arange(30) % 3
    run, initial = make(model, data, data, epochs=3, batch_size=10)
    text, largest = check(follow(run, {}), initial, data, data)
    assert largest == 0.0
    assert is_tidy(text)


@pytest.mark.parametrize(
    "settings_",
    [{"loss": nn.CrossEntropyLoss(weight=torch.ones(3))}, {"optimizer": "lbfgs"}, {"optimizer": "newton"}],
    ids=["class weights", "lbfgs", "newton"],
)
def test_a_script_says_that_its_parts_count_alike(settings_, mlp, blobs):
    x, y = left_out(*blobs)
    run, _initial = make(mlp(), (x, y), micro_batch=8, epochs=1, **settings_)
    with pytest.raises(ValueError, match="cannot be exported: parts of a batch are written out for a mean"):
        run.to_python()
