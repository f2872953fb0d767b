"""The script of a run fused with another model by averages: what batch norms know is measured anew, to the bit."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from nbopt.edits import Fuse
from tests.edits.nets import NETS
from tests.export.scripts import compare, execute, is_tidy, make


def dropping(seed):
    torch.manual_seed(seed)
    head = nn.Dropout(0.3), nn.ReLU(), nn.Linear(16, 8), nn.ELU(), nn.Linear(8, 3)
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), *head)


def data_of(name):
    return NETS["batch norm" if name == "dropping" else name]()[1]


def pair(name):
    return [dropping(seed) if name == "dropping" else NETS[name](seed)[0] for seed in (0, 1)]


KINDS = {  # a model, the steps before and after, and settings
    "within an epoch": ("batch norm", 5, 4, {}),
    "where an epoch begins": ("batch norm", 6, 4, {}),
    "where the run was left": ("batch norm", 5, 0, {}),
    "a last batch of fewer": ("batch norm", 5, 4, {"batch_size": 16}),
    "drawing": ("dropping", 5, 4, {}),
    "drawing at the end": ("dropping", 5, 0, {}),
    "inputs changed": ("batch norm", 5, 4, {"scaling": "standardize"}),
    "images laid out": ("vgg", 5, 4, {"channels_last": True, "early_stopping": True, "patience": 9}),
    "all samples at once": ("batch norm", 2, 2, {"optimizer": "lbfgs"}),
    "half of the numbers": ("batch norm", 5, 4, {"precision": "bfloat16"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_means_and_variances_are_measured_as_the_run_did(kind):
    name, before, after, settings = KINDS[kind]
    (model, other), data = pair(name), data_of(name)
    run, initial = make(model, data, data, **{"epochs": 4, "batch_size": 20, **settings})
    run.step(before)
    edit = Fuse(other, share=0.3)
    fused = run.change(edit)
    if after:
        fused.step(after)
    text = fused.to_python()
    assert compare(fused, execute(text, initial, data, data, other=edit.other), initial) == 0
    assert is_tidy(text)


def loader_of(data):
    return DataLoader([*zip(*data, strict=True)], batch_size=20, shuffle=True)


REFUSED = {
    "loader": (loader_of, {}, "samples that a loader deals; give train as tensors"),
    "sparsity": (None, {"sparsity": 0.5}, "with the weights that techniques make; turn them off before"),
    "loss": (None, {"loss": lambda output, y: functional.cross_entropy(output, y)}, "passes of a loss of your own"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_script_cannot_measure_is_said(kind):
    made, settings, words = REFUSED[kind]
    (model, other), data = pair("batch norm"), data_of("batch norm")
    run, _initial = make(model, made(data) if made else data, **{"epochs": 2, "batch_size": 20, **settings})
    run.step(2)
    fused = run.change(Fuse(other))
    fused.step(1)
    with pytest.raises(ValueError, match=rf"in step 2 the model got another shape \(.*\).*{words}"):
        fused.to_python()
    fused.rewind(2)
    assert "def train(" in fused.to_python()


def test_a_loader_of_tensors_is_as_good_as_the_tensors():
    (model, other), data = pair("batch norm"), data_of("batch norm")
    loader = DataLoader(TensorDataset(*data), batch_size=20, shuffle=True)
    run, initial = make(model, loader, epochs=3)
    run.step(4)
    edit = Fuse(other)
    fused = run.change(edit)
    fused.step(3)
    assert compare(fused, execute(fused.to_python(), initial, loader, other=edit.other), initial) == 0
