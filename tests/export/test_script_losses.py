"""What losses, metrics and validations come to in a script is what they came to in the run."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import (
    DataLoader,
    TensorDataset,
)

from tests.export import scripts
from tests.export.loaders import LOADERS, left_out, of_list
from tests.export.scripts import is_tidy
from tests.export.test_script_functions import loss

make, follow, check = scripts.make, scripts.follow, scripts.check


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
    for kind in ("huber", settings["loss"]):
        given_settings = {**settings, "loss": kind, "precision": precision}
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


@pytest.mark.parametrize("name", ["accuracy", "precision", "recall", "f1", "roc_auc"])
def test_metrics_of_classification(name, mlp, blobs):
    run, initial = make(mlp(), blobs, blobs, metrics=name, epochs=3)
    text, largest = check(follow(run, {}), initial, blobs, blobs)
    assert largest == 0.0
    assert is_tidy(text)


def test_a_scorer_is_left_out(mlp, blobs):
    run, _initial = make(mlp(), blobs, blobs, metrics="f1_weighted", epochs=1)
    assert "# The metric f1_weighted is left out" in run.to_python()


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
