"""Files that ONNX Runtime computes with whole numbers of 8 bits: near the run, and rounded once."""

from collections import Counter

import onnx
import onnxruntime
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import nbopt
from nbopt.run.arguments import MOST_SAMPLES, find_many
from tests.techniques.compression.nets import data, make

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def cnn():
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 10)),
    )


@pytest.fixture(scope="module")
def digits():
    """Return images and digits, to train on and to test with."""
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(x / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)[order]
    digits = torch.tensor(y)[order]
    return (images[:1300], digits[:1300]), (images[1300:], digits[1300:])


def outputs(path, x):
    session = onnxruntime.InferenceSession(path)
    return torch.tensor(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


def off(found, expected):
    """Return how far outputs are from others, relative to these, on the average."""
    return float((found - expected).abs().mean() / expected.abs().mean())


def accuracy(found, y):
    return float((found.argmax(1) == y).float().mean())


@pytest.mark.parametrize("few", [{}, {"weight_bits": 8, "activation_bits": 8}], ids=["full", "8 bits"])
def test_a_cnn_of_8_bits_is_as_accurate_as_the_run(few, digits, tmp_path):
    train, test = digits
    run = nbopt.Run(cnn(), train, epochs=4, batch_size=32, store=None, device="cpu", **few)
    run.start()
    run.wait()
    expected = run.predict(test[0])
    exported = run.export(tmp_path / "small.onnx", int8=True)
    found = outputs(exported.path, test[0])
    assert accuracy(expected, test[1]) > 0.95
    assert abs(accuracy(found, test[1]) - accuracy(expected, test[1])) <= 0.005
    assert off(found, expected) < 0.02
    kinds = Counter(node.op_type for node in onnx.load(exported.path).graph.node)
    assert kinds["QuantizeLinear"] <= 7 and not kinds.keys() & {"Round", "Mul", "Div"}  # each rounding once


def test_ends_are_those_of_many_batches(tmp_path):
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    x[8:] *= 20  # the next batch has none of these
    loader = DataLoader(TensorDataset(x, torch.arange(64) % 3), batch_size=8)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    run = nbopt.Run(model, loader, epochs=9, store=None, device="cpu")
    run.step(8)
    exported = run.export(tmp_path / "small.onnx", int8=True)
    assert off(outputs(exported.path, x), run.predict(x)) < 0.03


def test_samples_for_it_are_the_epochs_first_ones():
    x = torch.arange(3000.0).reshape(-1, 1)
    run = nbopt.Run(nn.Linear(1, 2), (x, torch.zeros(3000, 2)), batch_size=100, store=None, device="cpu", epochs=2)
    run.step(2)
    batches = [given[0] for given, _named in find_many(run)]
    assert sum(map(len, batches)) == 1100  # batches that begin below the 1,024th
    assert MOST_SAMPLES == 1024
    torch.manual_seed(5)
    assert all(map(torch.equal, batches, [given[0] for given, _named in find_many(run)]))
    run.step(1)
    assert all(map(torch.equal, batches, [given[0] for given, _named in find_many(run)]))
    run.step(27)
    assert not torch.equal(batches[0], find_many(run)[0][0][0])  # another epoch


def test_that_kernels_have_more_bits_than_the_run_is_said(tmp_path):
    run = make(activation_bits=4)
    run.step(7)
    with pytest.warns(UserWarning, match=r"small\.onnx: the run rounds the inputs of layers to 4 bits, .* to 8"):
        exported = run.export(tmp_path / "small.onnx", int8=True)
    assert off(outputs(exported.path, data()[0]), run.predict(data()[0])) < 0.2


class Noisy(Dataset):
    """Samples to which noise is added that goes on from one to the next."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)

    def __len__(self):
        return 70

    def __getitem__(self, k):
        return torch.tensor([k, k % 7.0]) / 10 + 0.01 * torch.rand(2, generator=self.generator), k % 3


@pytest.mark.parametrize("step", [1, 3, 7, 9])
def test_a_look_at_a_loaders_first_batches_leaves_no_trace(step):
    def make_run():
        torch.manual_seed(0)
        loader = DataLoader(Noisy(), batch_size=10, shuffle=True)
        return nbopt.Run(nn.Linear(2, 3), loader, epochs=2, store=None, device="cpu")

    run, other = make_run(), make_run()
    for each in (run, other):
        each.step(step)
    first = run.worker.between_steps(lambda: find_many(run))
    assert sum(len(given[0]) for given, _named in first) == 70
    seen = torch.cat([given[0] for given, _named in first])[:, 0] * 10
    assert len(set(seen.round().tolist())) > 60  # each sample once, but for noise
    for each in (run, other):
        each.step(14 - step)
    assert all(map(torch.equal, run.model.parameters(), other.model.parameters()))
