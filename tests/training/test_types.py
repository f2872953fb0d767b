"""Arrays become what the model computes with; what a loader yields does not."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

X = np.random.default_rng(0).integers(0, 9, (60, 4))
Y = np.arange(60) % 3


class OneHot(nn.Module):
    """Takes whole numbers, without an embedding."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(36, 3)
        self.calls = 0
        self.register_buffer("counted", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        self.counted += 1
        return self.layer(functional.one_hot(x, 9).flatten(1).float())


def first_types(run):
    return [column.dtype for column in run.training.cursor.peek()]


@pytest.mark.parametrize(
    "x",
    [X, X.astype(np.int32), pd.DataFrame(X), X.tolist(), torch.from_numpy(X), X > 4],
    ids=lambda x: type(x).__name__,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_whole_numbers_become_the_floats_of_the_model(make_run, weights, x, dtype):
    model = nn.Linear(4, 3).to(dtype)
    expected = make_run(copy.deepcopy(model), train=(np.asarray(x, dtype=float), Y), epochs=2).fit()
    run = make_run(model, train=(x, Y), val=(x, Y), epochs=2).fit()
    assert first_types(run) == [dtype, torch.int64]
    assert torch.equal(weights(run), weights(expected))
    assert f"data became {str(dtype).removeprefix('torch.')}" in run.converted


@pytest.mark.parametrize("val", [None, 0.25, (X, Y)], ids=["none", "share", "own"])
@pytest.mark.parametrize(
    "model", [lambda: nn.Sequential(nn.EmbeddingBag(9, 5), nn.Linear(5, 3)), OneHot], ids=["embedding", "one-hot"]
)
def test_whole_numbers_stay_for_a_model_that_takes_them(make_run, model, val):
    model = model()
    run = make_run(model, train=(X, Y), val=val, batch_size=20)
    run.step()
    assert first_types(run) == [torch.int64, torch.int64]
    assert run.converted == ""
    # The model itself is not asked what it takes.
    assert getattr(model, "calls", 1) == getattr(model, "counted", 1) == 1


def test_a_forward_of_the_user_s_own_gets_whole_numbers(make_run):
    def forward(model, batch):
        return model(batch[0].float()), batch[1]

    run = make_run(nn.Linear(4, 3), train=(X, Y), forward=forward)
    run.step()
    assert first_types(run) == [torch.int64, torch.int64]


@pytest.mark.parametrize("val", [None, 0.25], ids=["none", "share"])
def test_images_of_bytes_stay_bytes_and_become_floats_batch_by_batch(make_run, weights, val):
    images = np.random.default_rng(1).integers(0, 256, (60, 2, 2)).astype(np.uint8)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    expected = make_run(copy.deepcopy(model), train=(images.astype(np.float32), Y), val=val, epochs=2).fit()
    run = make_run(model, train=(images, Y), val=val, epochs=2).fit()
    source = run.training.cursor.source
    assert source.columns[0].dtype is torch.uint8
    assert first_types(run) == [torch.float32, torch.int64]
    assert torch.equal(weights(run), weights(expected))
    assert run.converted == "uint8 data became float32 batch by batch"
    branch = run.branch(at=1)
    branch.fit()
    assert torch.equal(weights(branch), weights(run)) and branch.converted == run.converted
    namespace, model = {}, copy.deepcopy(run.replay().model)
    exec(run.to_python(), namespace)
    assert namespace["train"](model, (images, Y))["loss"]


def test_bytes_that_the_model_turns_itself_are_given_to_it(make_run):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x):
            assert x.dtype is torch.uint8
            return self.layer(x.flatten(1) / 255)

    run = make_run(Own(), train=(np.zeros((60, 2, 2), np.uint8), Y), epochs=1).fit()
    assert run.converted == ""


@pytest.mark.parametrize(
    "loss",
    ["cross_entropy", "focal", "hinge", nn.CrossEntropyLoss(), functional.cross_entropy],
    ids=["cross_entropy", "focal", "hinge", "module", "function"],
)
def test_labels_that_are_booleans_are_classes_of_losses_that_take_indices(make_run, weights, loss):
    model = nn.Linear(4, 2)
    expected = make_run(copy.deepcopy(model), train=(X / 9, Y % 2), loss=loss, epochs=2).fit()
    run = make_run(model, train=(X / 9, Y % 2 > 0), loss=loss, epochs=2).fit()
    assert torch.equal(weights(run), weights(expected))
    assert "bool data became int64" in run.converted


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "binary_focal", "binary_hinge", "mse"])
def test_labels_that_are_booleans_stay_so_elsewhere(make_run, weights, loss):
    model = nn.Linear(4, 1)
    expected = make_run(copy.deepcopy(model), train=(X / 9, Y % 2), loss=loss, epochs=2).fit()
    run = make_run(model, train=(X / 9, Y % 2 > 0), loss=loss, epochs=2).fit()
    assert torch.equal(weights(run), weights(expected))
    assert first_types(run)[1] is torch.bool


def test_double_precision_is_that_of_a_plain_loop(make_run, weights):
    x = torch.from_numpy(X / 9)
    y = x.sum(1, keepdim=True).sin()
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    loader = DataLoader(TensorDataset(x, y), batch_size=16)
    by_hand = copy.deepcopy(model)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    for _epoch in range(2):
        for inputs, target in loader:
            optimizer.zero_grad()
            functional.mse_loss(by_hand(inputs), target).backward()
            optimizer.step()
    settings = {"loss": "mse", "optimizer": "sgd", "lr": 0.1, "epochs": 2, "batch_size": 16}
    run = make_run(model, train=loader, val=loader, **settings).fit()
    assert torch.equal(weights(run), nn.utils.parameters_to_vector(by_hand.parameters()))
    assert run.converted == ""


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.float16])
def test_types_of_a_loader_that_the_model_does_not_take_are_told_in_words(make_run, dtype):
    data = TensorDataset(torch.from_numpy(X).to(dtype), torch.from_numpy(Y))
    with pytest.raises(RuntimeError) as caught:
        make_run(nn.Linear(4, 3), train=DataLoader(data, batch_size=16)).start()
    note = caught.value.__notes__[1]
    assert str(dtype).removeprefix("torch.") in note and "the model's weights are float32" in note
    model_way = {torch.float64: "model.double()", torch.float16: "model.to(torch.float16)"}.get(dtype, "(x.float()).")
    assert "x.float()" in note and model_way in note


def test_floats_for_a_model_of_half_precision_are_told_in_its_words(make_run):
    with pytest.raises(RuntimeError) as caught:
        make_run(nn.Linear(4, 3).bfloat16(), train=(X / 9, Y)).start()
    assert "(x.to(torch.bfloat16)) or the model (model.float())" in caught.value.__notes__[1]


class Tokens(nn.Module):
    """Takes whole numbers that torch's embedding takes."""

    def __init__(self):
        super().__init__()
        self.table, self.layer = nn.Embedding(9, 4), nn.Linear(16, 3)

    def forward(self, x):
        return self.layer(self.table(x).flatten(1))


@pytest.mark.parametrize("val", [None, 0.25, (X.astype(np.uint8), Y)], ids=["none", "share", "own"])
def test_bytes_become_whole_numbers_for_an_embedding_batch_by_batch(make_run, weights, val):
    model = Tokens()
    expected = make_run(copy.deepcopy(model), train=(X, Y), val=0.25 if val == 0.25 else None, epochs=2).fit()
    run = make_run(model, train=(X.astype(np.uint8), Y), val=val, epochs=2).fit()
    assert torch.equal(weights(run), weights(expected))
    assert run.converted == "uint8 data became int64 batch by batch"
    assert run.training.cursor.source.columns[0].dtype is torch.uint8


def test_numbers_that_an_embedding_does_not_take_are_told_so(make_run):
    with pytest.raises(RuntimeError) as caught:
        make_run(Tokens(), train=(X / 1.0, Y)).start()
    assert "an embedding takes whole numbers of 32 or 64 bits: convert the samples (x.long())" in str(
        caught.value.__notes__
    )


@pytest.mark.parametrize(
    "loss", [nn.BCEWithLogitsLoss(), functional.binary_cross_entropy_with_logits], ids=["module", "function"]
)
@pytest.mark.parametrize("dtype", [bool, np.int64])
def test_labels_of_a_type_that_torch_s_loss_does_not_take_are_told_in_words(make_run, loss, dtype):
    with pytest.raises(RuntimeError) as caught:
        make_run(nn.Linear(4, 1), train=(X / 9, (Y > 0).astype(dtype)), loss=loss).start()
    assert "all others floats (y.float())" in str(caught.value.__notes__)


def test_the_device_line_tells_what_was_converted(make_run):
    status = pytest.importorskip("nbopt.notebook.panel.status")
    run = make_run(nn.Linear(4, 3), train=(X / 9, Y))
    run.step()
    assert " · float64 data became float32 · " in status.device_line(run)


def test_predictions_are_of_what_the_training_made_of_the_data(make_run):
    run = make_run(nn.Linear(4, 3), train=(X, Y), epochs=1).fit()
    expected = run.model(torch.from_numpy(X).float()).detach()
    assert torch.equal(run.predict(X), expected)
