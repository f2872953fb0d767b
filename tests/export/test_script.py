"""A run as a plain script does what the run did."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import (
    DataLoader,
    TensorDataset,
)

from tests.export import scripts
from tests.export.scripts import is_tidy

make, follow, check = scripts.make, scripts.follow, scripts.check


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
