"""Batch norms that are one with the layers before them: outputs stay, and what cannot be folded is named."""

import pytest
import torch
from torch import nn

import nbopt
from nbopt.export.compressed.folding import fold
from tests.techniques.compression.nets import data, make, net

pytestmark = pytest.mark.usefixtures("one_torch_thread")


class Net(nn.Module):
    """A network whose forward is a function of itself and x."""

    def __init__(self, do, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.do = do

    def forward(self, x):
        return self.do(self, x)


def residual(m, x):
    x = m.norm(m.conv(x)).relu()
    return x + m.norm2(m.conv2(x))


def branching(m, x):
    return m.norm(m.conv(x)) if x.sum() > 0 else m.norm(-m.conv(x))


def conv(*sizes, **settings):
    return nn.Conv2d(*sizes, 3, padding=1, **settings)


class Own(nn.Conv2d):
    """A layer of the user's own kind."""


MAPS, ROWS = (5, 2, 8, 8), (5, 6)
# A model, the shape of its inputs, which norms are folded and which stay, with words of the reason.
CASES = {
    "convolution": (nn.Sequential(conv(2, 4), nn.BatchNorm2d(4)), MAPS, ["1"], {}),
    "without bias": (nn.Sequential(conv(2, 4, bias=False), nn.BatchNorm2d(4), nn.ReLU()), MAPS, ["1"], {}),
    "in groups": (nn.Sequential(conv(2, 4, groups=2), nn.BatchNorm2d(4)), MAPS, ["1"], {}),
    "not affine": (nn.Sequential(conv(2, 4), nn.BatchNorm2d(4, affine=False)), MAPS, ["1"], {}),
    "linear": (nn.Sequential(nn.Linear(6, 3, bias=False), nn.BatchNorm1d(3), nn.Tanh()), ROWS, ["1"], {}),
    "transposed": (nn.Sequential(nn.ConvTranspose2d(2, 4, 3), nn.BatchNorm2d(4)), MAPS, ["1"], {}),
    "residual": (
        Net(residual, conv=conv(2, 4), norm=nn.BatchNorm2d(4), conv2=conv(4, 4), norm2=nn.BatchNorm2d(4)),
        MAPS,
        ["norm", "norm2"],
        {},
    ),
    "nested": (
        nn.Sequential(nn.Sequential(conv(2, 4), nn.Identity()), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())),
        MAPS,
        [],
        {"1.0": "right behind a linear or convolutional layer"},
    ),
    "norm first": (
        nn.Sequential(nn.BatchNorm2d(2), nn.ReLU(), conv(2, 4)),
        MAPS,
        [],
        {"0": "right behind a linear or convolutional layer"},
    ),
    "used elsewhere": (
        Net(lambda m, x: (y := m.conv(x)) + m.norm(y), conv=conv(2, 4), norm=nn.BatchNorm2d(4)),
        MAPS,
        [],
        {"norm": "used elsewhere, too"},
    ),
    "called twice": (
        Net(lambda m, x: m.norm(m.conv(m.norm(m.conv(x)))), conv=conv(2, 2), norm=nn.BatchNorm2d(2)),
        MAPS,
        [],
        {"norm": "several times"},
    ),
    "weight read": (
        Net(lambda m, x: m.norm(m.conv(x)) * m.conv.weight.sum(), conv=conv(2, 2), norm=nn.BatchNorm2d(2)),
        MAPS,
        [],
        {"norm": "several times"},
    ),
    "of the batch": (
        nn.Sequential(conv(2, 4), nn.BatchNorm2d(4, track_running_stats=False)),
        MAPS,
        [],
        {"1": "no running means"},
    ),
    "transposed in groups": (
        nn.Sequential(nn.ConvTranspose2d(2, 4, 3, groups=2), nn.BatchNorm2d(4)),
        MAPS,
        [],
        {"1": "transposed convolution in groups"},
    ),
    "sequences": (  # of which the norm is one of places, not of units
        nn.Sequential(nn.Linear(6, 7), nn.BatchNorm1d(7)),
        (5, 7, 6),
        [],
        {"1": "outputs would be others"},
    ),
    "normed weight": (
        nn.Sequential(nn.utils.parametrizations.weight_norm(conv(2, 4)), nn.BatchNorm2d(4)),
        MAPS,
        [],
        {"1": "right behind a linear or convolutional layer"},
    ),
    "own kind": (
        nn.Sequential(Own(2, 4, 3), nn.BatchNorm2d(4)),
        MAPS,
        [],
        {"1": "right behind a linear or convolutional layer"},
    ),
    "branching": (
        Net(branching, conv=conv(2, 4), norm=nn.BatchNorm2d(4)),
        MAPS,
        [],
        {"norm": "cannot be followed by torch.fx (TraceError"},
    ),
    "not called": (
        Net(lambda m, x: m.conv(x), conv=conv(2, 4), norm=nn.BatchNorm2d(4)),
        MAPS,
        [],
        {"norm": "not call"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_outputs_stay_and_norms_that_do_too_are_named(name):
    model, shape, folded, stays = CASES[name]
    torch.manual_seed(0)
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            part.running_mean.normal_()
            part.running_var.uniform_(0.1, 4.0)
            if part.affine:
                nn.init.normal_(part.weight)
                nn.init.normal_(part.bias)
    model.eval().requires_grad_(False)
    x = torch.randn(shape)
    before = model(x)
    found = fold(model, lambda some: some(x))
    assert list(found.folded) == folded
    assert found.stays.keys() == stays.keys()
    assert all(words in found.stays[norm] for norm, words in stays.items())
    assert torch.allclose(model(x), before, atol=1e-5)
    assert all(isinstance(model.get_submodule(norm), nn.Identity) for norm in folded)


def test_looking_for_norms_leaves_no_trace_in_the_model():
    def draw(m, x):
        m.calls += 1
        return m.norm(m.conv(x)) + torch.rand(1)

    model = Net(draw, conv=conv(2, 4), norm=nn.BatchNorm2d(4)).eval()
    model.calls = 0
    state = torch.get_rng_state()
    assert fold(model, lambda some: torch.zeros(3)).folded == {"norm": "conv"}
    assert model.calls == 0 and torch.equal(torch.get_rng_state(), state)


FEW = {
    "full": {},
    "4 bits": {"weight_bits": 4},
    "4 bits by layer": {"weight_bits": 4, "bits_by_channel": False},
    "by layer, folded in training": {"weight_bits": 4, "bits_by_channel": False, "fold_batch_norm": True},
    "3 bits affine": {"weight_bits": 3, "bits_symmetric": False},
    "learned": {"weight_bits": 2, "step_size_rate": 0.1, "fold_batch_norm": True},
    "sparse": {"sparsity": 0.7},
    "activations": {"activation_bits": 4, "weight_bits": 4},
}


@pytest.mark.parametrize("name", FEW)
def test_a_file_with_norms_folded_predicts_as_the_run_and_keeps_few_bits(name, tmp_path):
    run = make(**FEW[name])
    run.step(7)
    plain, folded = run.export(tmp_path / "plain.safetensors"), run.export(tmp_path / "folded.safetensors", fold=True)
    assert folded.folding.folded == {"1": "0"} and not folded.folding.stays
    assert folded.bytes < plain.bytes and "1 batch norms folded, 0 stay" in repr(folded)
    model = nbopt.load_compressed(folded.path, net())
    assert isinstance(model[1], nn.Identity)
    with torch.no_grad():
        assert torch.allclose(model(data()[0]), run.predict(data()[0]), atol=1e-5)
    if "weight_bits" in FEW[name]:
        assert all(len(row.unique()) <= 2 ** FEW[name]["weight_bits"] for row in model[0].weight)
    assert isinstance(run.model[1], nn.BatchNorm2d)
    text = run.to_python()
    if "load_compressed" in text:
        names = {}
        exec(compile(text, "script.py", "exec"), names)
        again = names["load_compressed"](folded.path, net())
        assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))


def test_programs_and_copies_are_folded_too_and_a_table_is_left_to_its_layer(tmp_path):
    run = make(codebook=4)
    run.step(7)
    expected = run.predict(data()[0])
    exported = run.export(tmp_path / "few.safetensors", fold=True)
    assert exported.folding.folded == {} and "few values" in exported.folding.stays["1"]
    program = run.export(tmp_path / "model.pt2", fold=True)
    assert program.folding.folded == {"1": "0"}
    loaded = torch.export.load(program.path)
    assert not any("batch_norm" in str(node.target) for node in loaded.graph.nodes)
    with torch.no_grad():
        assert torch.allclose(loaded.module()(data()[0]), expected, atol=1e-5)
        assert torch.allclose(run.frozen_model(fold=True)(data()[0]), expected, atol=1e-5)
    run = make(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(36), nn.Linear(36, 3)))
    run.step(1)
    with pytest.warns(UserWarning, match="batch norm 1 stays: it does not come right behind"):
        run.frozen_model(fold=True)
