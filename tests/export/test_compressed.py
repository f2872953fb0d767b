"""A run's model as a small file: it is as small as its bits, and gives back the same predictions."""

import copy
import os
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import nbopt
from nbopt.export.compressed.load import read_numbers, read_tensor
from nbopt.export.compressed.pack import Grid, pack, pack_numbers
from nbopt.techniques.compression.grids import find_grid
from tests.export.scripts import is_tidy
from tests.techniques.compression.nets import data, make, net

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.parametrize("bits", range(1, 9))
def test_whole_numbers_are_packed_bit_by_bit(bits):
    torch.manual_seed(0)
    numbers = torch.randint(2**bits, (1001,))
    part = pack_numbers(numbers, bits)
    assert len(part) <= 1 + -(-1001 * bits // 8)
    assert torch.equal(read_numbers(part, 1001, bits), numbers)
    few = torch.zeros(1001, dtype=torch.long)
    assert len(pack_numbers(few, bits)) < 30  # deflated
    assert torch.equal(read_numbers(pack_numbers(few, bits), 1001, bits), few)


def sparse(weight, share):
    return weight * (weight.abs() > weight.abs().flatten().quantile(share))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("way", ["values", "symmetric", "affine", "table"])
def test_a_tensor_comes_back_bit_for_bit(way, share):
    torch.manual_seed(0)
    weight = sparse(torch.randn(32, 5, 4), share)
    grid = None
    if way in ("symmetric", "affine"):
        found = find_grid(weight, 7 if way == "symmetric" else 15, True, way == "symmetric")
        weight, grid = found.round(weight), Grid(found.scale, found.zero, 4)
    if way == "table":
        weight = weight.round()
    packed = pack(weight, grid)
    assert torch.equal(read_tensor(packed.entry, iter(packed.parts)), weight)
    dense = 640 * {"values": 4, "table": 0.5}.get(way, 0.5)
    assert sum(map(len, packed.parts)) <= min(dense, dense * (1 - share) * 1.7) + 32 * 5 + 30


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(7),
        torch.zeros(0),
        torch.tensor([1.0, float("nan"), float("inf")]),
        torch.tensor([True, False, True]),
        torch.randn(3, 4, dtype=torch.float64),
        torch.randn(3, 4).bfloat16(),
        torch.randn(2, 2, dtype=torch.complex64),
        torch.zeros(70_000),
    ],
    ids=lambda tensor: f"{tuple(tensor.shape)}-{tensor.dtype}",
)
def test_tensors_of_any_type_come_back(tensor):
    packed = pack(tensor)
    again = read_tensor(packed.entry, iter(packed.parts))
    assert again.dtype is tensor.dtype and again.shape == tensor.shape
    assert (
        torch.equal(again.nan_to_num(), tensor.nan_to_num())
        if tensor.is_floating_point()
        else torch.equal(again, tensor)
    )


def test_a_grid_that_the_numbers_are_not_on_does_not_count():
    weight = torch.randn(8, 8)
    packed = pack(weight, Grid(torch.full((8, 1), 0.1), None, 2))
    assert torch.equal(read_tensor(packed.entry, iter(packed.parts)), weight)


FEW = {
    "full": {},
    "8 bits": {"weight_bits": 8},
    "4 bits by layer": {"weight_bits": 4, "bits_by_channel": False},
    "3 bits affine": {"weight_bits": 3, "bits_symmetric": False},
    "2 bits learned": {"weight_bits": 2, "step_size_rate": 0.1},
    "codebook": {"codebook": 16},
    "sparse": {"sparsity": 0.9},
    "activations": {"activation_bits": 4, "weight_bits": 4},
    "activations of the inner layer": {"activation_bits": 3, "bits_ends": False},
    "sparse and 4 bits": {"sparsity": 0.9, "weight_bits": 4},
    "sparse and codebook": {"sparsity": 0.9, "codebook": 8, "bits_layers": "*, 6=0"},
}


@pytest.mark.parametrize("name", FEW)
def test_the_model_that_is_loaded_predicts_as_the_run_bit_for_bit(name, tmp_path):
    run = make(**FEW[name])
    run.step(7)
    before = copy.deepcopy(run.model.state_dict())
    exported = run.export(tmp_path / "small.safetensors")
    assert exported.bytes == os.path.getsize(exported.path)
    model = nbopt.load_compressed(exported.path, net())
    assert not model.training
    with torch.no_grad():
        assert torch.equal(model(data()[0]), run.predict(data()[0]))
        weights = run.training.acting.weights()
    assert all(torch.equal(model.get_parameter(key), weight) for key, weight in weights.items())
    assert all(torch.equal(before[key], tensor) for key, tensor in run.model.state_dict().items())
    assert load_file(exported.path)["data"].dtype is torch.uint8  # whoever has safetensors can open it
    other = make(**FEW[name])
    other.step(7)
    run.step(2)
    other.step(2)
    assert all(torch.equal(a, b) for a, b in zip(run.model.parameters(), other.model.parameters(), strict=True))


def large():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 3))


@pytest.mark.parametrize(
    ("settings", "times"),
    [
        ({"weight_bits": 8}, 3.6),
        ({"weight_bits": 4}, 6.8),
        ({"weight_bits": 2}, 12.0),
        ({"codebook": 16}, 7.0),
        ({"sparsity": 0.9}, 7.0),
        ({"sparsity": 0.9, "codebook": 16}, 30.0),
    ],
    ids=str,
)
def test_the_file_is_as_small_as_its_bits(settings, times, tmp_path):
    run = make(large(), **settings)
    run.step(3)
    exported = run.export(tmp_path / "small.safetensors")
    assert exported.times_smaller > times
    assert f"{exported.times_smaller:.1f} times smaller" in repr(exported)
    torch.save(run.model.state_dict(), tmp_path / "full.pt")
    assert exported.full == pytest.approx(os.path.getsize(tmp_path / "full.pt"), rel=0.05)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(36, 36), nn.Linear(36, 36)
        self.second.weight = self.first.weight
        self.head = nn.Linear(36, 3)

    def forward(self, x):
        return self.head(self.second(self.first(x.flatten(1)).tanh()))


def test_shared_weights_stand_in_the_file_once(tmp_path):
    run = make(Tied(), weight_bits=4)
    run.step(3)
    exported = run.export(tmp_path / "tied.safetensors")
    assert "second.weight" not in exported.tensors
    model = nbopt.load_compressed(exported.path, Tied())
    with torch.no_grad():
        assert torch.equal(model(data()[0]), run.predict(data()[0]))


def test_what_cannot_be_written_or_read_is_told(tmp_path):
    run = make(weight_bits=4, scaling="standardize")
    run.step(1)
    with pytest.raises(ValueError, match=r"ending of a file '\.safetensor'.*Did you mean '\.safetensors'"):
        run.export(tmp_path / "small.safetensor")
    with pytest.warns(UserWarning, match="changes its inputs, as by scaling"):
        exported = run.export(tmp_path / "small.safetensors")
    with pytest.raises(RuntimeError, match=r"size mismatch for 4\.weight"):
        nbopt.load_compressed(exported.path, nn.Sequential(*net()[:4], nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3)))
    (tmp_path / "other.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with pytest.raises(ValueError, match=r"was not written by run\.export"):
        nbopt.load_compressed(tmp_path / "other.safetensors", net())
    assert sorted(os.listdir(tmp_path)) == ["other.safetensors", "small.safetensors"]


def test_a_run_at_rest_is_exported_with_the_ends_that_it_predicts_with(tmp_path):
    run = make(epochs=9)
    run.step(3)
    run.set(activation_bits=4, weight_bits=4)
    model = nbopt.load_compressed(run.export(tmp_path / "small.safetensors").path, net())
    with torch.no_grad():
        assert torch.equal(model(data()[0]), run.predict(data()[0]))


def test_a_script_holds_the_function_that_loads_the_file(tmp_path):
    run = make(weight_bits=3, sparsity=0.5)
    run.step(7)
    exported = run.export(tmp_path / "small.safetensors")
    text = run.to_python()
    assert is_tidy(text)
    names = {}
    exec(compile(text, "script.py", "exec"), names)
    model = names["load_compressed"](exported.path, net())
    with torch.no_grad():
        assert torch.equal(model(data()[0]), run.predict(data()[0]))
    plain = make()
    plain.step(1)
    assert "load_compressed" not in plain.to_python()


def test_programs_predict_as_the_run(tmp_path):
    import onnxruntime

    run = make(model=nn.DataParallel(net()), weight_bits=4, activation_bits=8)  # called with any number of arguments
    run.step(7)
    expected, before = run.predict(data()[0]), copy.deepcopy(run.model.state_dict())
    program = run.export(tmp_path / "model.pt2")
    assert program.bytes == os.path.getsize(tmp_path / "model.pt2")
    assert program.latency.samples == 8 and 0 < program.latency.median < 1 and "ms for 8 samples" in repr(program)
    with torch.no_grad():
        assert torch.allclose(torch.export.load(program.path).module()(data()[0][:5]), expected[:5], atol=1e-6)
    assert all(torch.equal(before[key], tensor) for key, tensor in run.model.state_dict().items())

    def predict(path):
        session = onnxruntime.InferenceSession(path)
        return torch.tensor(session.run(None, {session.get_inputs()[0].name: data()[0][:7].numpy()})[0])

    whole = run.export(tmp_path / "whole.onnx")
    assert torch.allclose(predict(whole.path), expected[:7], atol=0.02)  # a number may round to the next value
    run.set(activation_bits=0, weight_bits=0)
    expected = run.predict(data()[0])
    small = run.export(tmp_path / "small.onnx", int8=True)
    assert (predict(small.path) - expected[:7]).abs().max() < 0.1
    assert sorted(os.listdir(tmp_path)) == ["model.pt2", "small.onnx", "whole.onnx"]
    with pytest.raises(ValueError, match="int8: kernels for whole numbers are those of ONNX Runtime"):
        run.export(tmp_path / "small.pt2", int8=True)


def test_what_is_missing_is_told_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    run = make()
    run.step(1)
    with pytest.raises(ImportError, match=r"ONNX files need onnxscript.*pip install 'nbopt\[onnx\]'"):
        run.export(tmp_path / "model.onnx")
    assert os.listdir(tmp_path) == []
