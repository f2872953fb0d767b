"""Weights of few bits: the grid is torch's, and what computes is what is said."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

import nbopt
from nbopt.techniques.compression.grids import find_grid
from nbopt.techniques.compression.layers import choose, find_layers

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def data():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(24) % 3
    return torch.randn(24, 1, 6, 6, generator=generator) + y.view(-1, 1, 1, 1), y


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 3)
    )


def make(model=None, **settings):
    settings = {"batch_size": 8, "epochs": 4, "optimizer": "sgd", "lr": 0.05, "store": None, **settings}
    return nbopt.Run(model or net(), data(), data(), **settings)


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "affine"])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("shape", [(16, 3, 3, 3), (40, 17)], ids=["convolution", "matrix"])
def test_the_grid_and_its_gradient_are_those_of_torchs_fake_quantization(shape, bits, symmetric):
    torch.manual_seed(0)
    weight = (torch.randn(shape) * torch.rand(shape[0], *[1] * (len(shape) - 1)) + 0.1).requires_grad_()
    for by_channel in (True, False):
        grid = find_grid(weight.detach(), bits, by_channel, symmetric)
        scale, zero = grid.scale.flatten(), torch.zeros_like(grid.scale) if grid.zero is None else grid.zero
        zero, ends = zero.flatten().int(), (grid.low, grid.high)
        if by_channel:
            theirs = torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, *ends)
        else:
            theirs = torch.fake_quantize_per_tensor_affine(weight, scale[0], zero[0], *ends)
        ours = grid.round(weight)
        assert torch.equal(ours, theirs)
        slopes = [torch.autograd.grad(each.square().sum(), weight)[0] for each in (ours, theirs)]
        assert torch.equal(*slopes)
        assert all(len(row.unique()) <= 2**bits for row in (ours if by_channel else ours[None]))


def test_rows_of_zeros_and_of_one_sign_stay_numbers_and_zero_stays_zero():
    weight = torch.tensor([[0.0, 0.0, 0.0], [0.5, 1.0, 0.0], [-1.0, -2.0, 0.0]])
    for symmetric in (True, False):
        rounded = find_grid(weight, 8, True, symmetric).round(weight)
        assert torch.equal(rounded == 0, weight == 0)
        assert torch.allclose(rounded, weight, atol=0.01)


def expected(run, bits):
    """Return predictions of the run's model with rounded weights, as anyone would compute them."""
    weights = {}
    for name, weight in run.model.named_parameters():
        if weight.ndim > 1:
            scale = weight.detach().abs().flatten(1).amax(1).view(-1, *[1] * (weight.ndim - 1)) / (2 ** (bits - 1) - 1)
            weights[name] = (weight.detach() / scale).round() * scale
    model = copy.deepcopy(run.model).eval()
    with torch.no_grad():
        return functional_call(model, weights, (data()[0],))


def test_a_run_at_rest_that_is_given_bits_predicts_with_them_at_once():
    run = make()
    run.step(5)
    full, before = run.predict(data()[0]), copy.deepcopy(run.model.state_dict())
    run.set(weight_bits=3)
    few = run.predict(data()[0])
    assert torch.allclose(few, expected(run, 3), atol=1e-6)
    assert not torch.allclose(few, full, atol=1e-3)
    run.set(weight_bits=0)
    assert torch.equal(run.predict(data()[0]), full)
    assert all(torch.equal(before[name], now) for name, now in run.model.state_dict().items())


def test_validation_computes_with_few_bits_too():
    run = make(weight_bits=2, lr=0.0, epochs=1)
    run.fit()
    loss = nn.functional.cross_entropy(expected(run, 2), data()[1]).item()
    assert run.history.last("val_loss") == pytest.approx(loss, rel=1e-5)


def test_frozen_weights_have_few_bits_too():
    run = make(weight_bits=2)
    run.step(1)
    run.model[0].weight.requires_grad_(False)
    run.step(1)
    assert torch.allclose(run.predict(data()[0]), expected(run, 2), atol=1e-6)


class Tied(nn.Module):
    """A layer and a norm of matrices, whose weight is another one's too."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(5, 5), nn.LayerNorm((5, 5)), nn.Linear(5, 5)
        self.last.weight = self.first.weight
        self.rnn = nn.LSTM(5, 4)


def test_layers_are_those_with_matrices_each_weight_once():
    found = find_layers(Tied())
    assert found == {"first": ["first.weight"], "rnn": ["rnn.weight_ih_l0", "rnn.weight_hh_l0"]}
    assert choose(find_layers(net()), "inner") == ["4.weight"]


def test_the_first_and_the_last_layer_are_left_alone():
    run = make(weight_bits=2, bits_layers="inner")
    run.step(1)
    weights = run.training.acting.weights()
    assert weights["0.weight"] is run.model[0].weight and weights["6.weight"] is run.model[6].weight
    assert len(weights["4.weight"][0].unique()) <= 3


@pytest.mark.parametrize("bits", [1, 9, -2, 2.5, "4"])
def test_other_bits_are_refused_in_words(bits):
    run = make()
    with pytest.raises(nbopt.errors.InvalidHyperparam, match="weight_bits must be a whole number"):
        run.set(weight_bits=bits)
    run.step(1)
    assert run.hyperparams["weight_bits"] == 0


def test_a_model_without_matrices_has_no_bits():
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten())
    run = make(model)
    assert "no layer with a matrix" in run.inert["weight_bits"]
