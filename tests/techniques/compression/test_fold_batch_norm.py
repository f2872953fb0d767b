"""Weights rounded as they will be once the norm behind their layer is folded into it."""

import copy

import pytest
import torch
from torch import nn

import nbopt
from nbopt.techniques.compression.bits import WeightBits
from nbopt.techniques.compression.norms import factors_of
from nbopt.testing import check_technique
from tests.techniques.compression.nets import data, make, net

pytestmark = pytest.mark.usefixtures("one_torch_thread")

BY_LAYER = {"weight_bits": 4, "bits_by_channel": False}


def shaken():
    """Return a model whose norm multiplies channels very differently, one of them by less than 0."""
    model = net()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([0.1, -1.0, 4.0, 0.0]))
        model[1].running_var.copy_(torch.tensor([0.5, 1.0, 2.0, 0.1]))
    return model


def test_a_weight_is_what_torchs_own_quantization_aware_training_makes_of_it():
    from torch.ao.nn.intrinsic.qat import ConvBn2d
    from torch.ao.quantization import FakeQuantize, MinMaxObserver, QConfig

    model = shaken()
    with torch.no_grad():
        model[1].weight[3] = 0.3  # theirs divides by it
    settings = {"dtype": torch.qint8, "qscheme": torch.per_tensor_symmetric, "quant_min": -7, "quant_max": 7}
    fake = FakeQuantize.with_args(observer=MinMaxObserver, **settings)
    config = QConfig(activation=nn.Identity, weight=fake)
    theirs = ConvBn2d(1, 4, 3, bias=True, qconfig=config)
    theirs.load_state_dict(model[0].state_dict(), strict=False)
    theirs.bn.load_state_dict(model[1].state_dict())
    run = make(copy.deepcopy(model), fold_batch_norm=True, lr=0.0, **BY_LAYER)
    ours = run.training.acting.weights()["0.weight"]
    factor = factors_of(model[1]).view(-1, 1, 1, 1)
    with torch.no_grad():
        scaled = model[0].weight * factor
        scale = scaled.abs().max() / 7
        by_hand = (scaled / scale).round() * scale / factor
        assert torch.allclose(ours, by_hand, atol=1e-6)
        expected = theirs.eval()(data()[0])
        found = model[1].eval()(nn.functional.conv2d(data()[0], ours, model[0].bias))
    assert torch.allclose(expected, found, atol=1e-5)


def test_the_folded_weight_of_a_layer_has_one_grid_and_the_same_numbers_as_by_hand():
    model = shaken()
    run = make(model, fold_batch_norm=True, **BY_LAYER)
    weight = run.training.acting.weights()["0.weight"]
    folded = (weight * factors_of(model[1]).view(-1, 1, 1, 1)).detach()
    step = folded.abs().max() / 7
    assert torch.allclose(folded / step, (folded / step).round(), atol=1e-4)
    assert weight.isfinite().all()
    other = make(shaken(), **BY_LAYER).training.acting.weights()["0.weight"]
    assert not torch.allclose(weight, other, atol=1e-3)
    (slope,) = torch.autograd.grad(weight.sum(), model[0].weight)
    assert torch.equal(slope, torch.ones_like(slope))


def test_grids_of_channels_scale_along():
    weights = [
        make(shaken(), weight_bits=4, fold_batch_norm=fold).training.acting.weights()["0.weight"]
        for fold in (False, True)
    ]
    assert torch.allclose(*weights, atol=1e-6)


def test_it_is_repeated_rewound_stored_and_exported():
    values = {**BY_LAYER, "step_size_rate": 0.1, "fold_batch_norm": True}
    check_technique(WeightBits, values, {"fold_batch_norm": False}, model=net)


def test_a_model_without_such_norms_is_told_in_words():
    plain = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    with pytest.raises(nbopt.errors.InvalidHyperparam, match="fold_batch_norm: the model has no batch norm"):
        make(plain, weight_bits=4, fold_batch_norm=True)
    first = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(36), nn.Linear(36, 3))
    with pytest.raises(ValueError, match=r"no batch norm can be folded \(1: it does not come right behind"):
        make(first, weight_bits=4, fold_batch_norm=True).step(1)
