"""Weights of few bits: the grid is torch's, and what computes is what is said."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

import nbopt
from nbopt.techniques.compression.bits import WeightBits
from nbopt.techniques.compression.grids import find_grid, find_highest, first_scale, round_learning
from nbopt.techniques.compression.layers import choose_layers, find_layers
from tests.techniques.compression.nets import data, make, net

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "affine"])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("shape", [(16, 3, 3, 3), (40, 17)], ids=["convolution", "matrix"])
def test_the_grid_and_its_gradient_are_those_of_torchs_fake_quantization(shape, bits, symmetric):
    torch.manual_seed(0)
    weight = (torch.randn(shape) * torch.rand(shape[0], *[1] * (len(shape) - 1)) + 0.1).requires_grad_()
    for by_channel in (True, False):
        grid = find_grid(weight.detach(), find_highest(bits, symmetric), by_channel, symmetric)
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
        rounded = find_grid(weight, find_highest(8, symmetric), True, symmetric).round(weight)
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


@pytest.mark.parametrize(
    ("patterns", "ends", "expected"),
    [
        ("*", True, {"0": 4, "4": 4, "6": 4}),
        ("*", False, {"4": 4}),
        ("*, 6=8, 0=0", True, {"4": 4, "6": 8}),
        ("4 , 6=2", True, {"4": 4, "6": 2}),
        ("6=8, *", True, {"0": 4, "4": 4, "6": 4}),  # the last one counts
        ("[04]", True, {"0": 4, "4": 4}),
        ("", True, {}),
    ],
)
def test_layers_are_chosen_by_patterns(patterns, ends, expected):
    assert choose_layers(find_layers(net()), patterns, 4, ends) == expected
    run = make(weight_bits=4, bits_layers=patterns, bits_ends=ends)
    run.step(1)
    weights = run.training.acting.weights()
    changed = {layer for layer in ("0", "4", "6") if weights[f"{layer}.weight"] is not run.model[int(layer)].weight}
    assert changed == expected.keys()
    assert bool(expected) != any("no layer: see bits_layers" in text for _name, text in run.training.acting.facts)


@pytest.mark.parametrize(
    ("patterns", "words"),
    [
        ("conv1", "bits_layers: layer with weights 'conv1'.*Allowed: 0, 4, 6"),
        ("1", "layer with weights '1'"),  # a norm
        ("*, 4=9", "a whole number from 2 to 8, or 0; got '9' for '4'"),
        ("*=two", "got 'two' for"),
        (4, "bits_layers must be names of layers"),
    ],
)
def test_bits_for_a_layer_that_is_not_there_are_refused_in_words(patterns, words):
    run = make(weight_bits=4)
    run.step(1)
    with pytest.raises(nbopt.errors.InvalidHyperparam, match=words):
        run.set(bits_layers=patterns)
    with pytest.raises(nbopt.errors.InvalidHyperparam, match=words):
        make(bits_layers=patterns)
    assert run.hyperparams["bits_layers"] == "*"
    run.step(1)


def test_learned_steps_have_the_papers_gradients():
    weight = torch.tensor([-3.0, -0.8, 0.3, 0.7, 9.0], requires_grad=True)
    scale = torch.tensor(0.5, requires_grad=True)
    rounded = round_learning(weight, scale, 3)
    assert torch.allclose(rounded, torch.tensor([-1.5, -1.0, 0.5, 0.5, 1.5]))
    slopes = torch.autograd.grad(rounded[:1].sum() + rounded[4:].sum() * 10 + rounded[1:4].sum() * 100, (weight, scale))
    assert slopes[0].tolist() == [0.0, 100.0, 100.0, 100.0, 0.0]
    inside = sum(round(v / 0.5) - v / 0.5 for v in (-0.8, 0.3, 0.7))
    assert slopes[1].item() == pytest.approx(-3.0 + 30.0 + 100 * inside, rel=1e-5)


def test_steps_are_learned_and_begun_anew_after_a_rest():
    run = make(weight_bits=3, step_size_rate=0.1)
    run.step(1)
    technique = run.training.acting.part(WeightBits)
    first = [scale.clone() for scale in technique.scales]
    run.step(2)
    assert not any(torch.equal(a, b) for a, b in zip(first, technique.scales, strict=True))
    run.rewind(1)
    assert all(torch.equal(a, b) for a, b in zip(first, technique.scales, strict=True))
    run.set(weight_bits=0, lr=0.5)
    run.step(3)
    run.set(weight_bits=3)
    weight = run.training.acting.weights()["4.weight"]
    own = run.model[4].weight.detach()
    assert torch.equal(weight, round_learning(own, first_scale(own, 3, True), 3))


class OfOnesOwn(nn.Module):
    """A copy of it is looked at before its first step."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))

    def forward(self, x):
        return self.layers(x)


def test_passes_beside_the_training_teach_learned_steps_nothing():
    settings = {"weight_bits": 3, "step_size_rate": 0.1}
    run, parts = make(OfOnesOwn(), **settings), make(OfOnesOwn(), **settings, micro_batch=4)
    run.step(3)
    again = run.replay()
    again.wait()
    assert again.exact
    assert torch.equal(again.model.layers[1].weight, run.model.layers[1].weight)
    parts.step(3)
    assert torch.allclose(parts.model.layers[1].weight, run.model.layers[1].weight, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bits_symmetric": False}, "learned steps are those of symmetric grids"),
        ({"optimizer": "lbfgs"}, "lbfgs evaluates the loss several times a step"),
        ({"precision": "float16"}, "float16 scales gradients"),
    ],
)
def test_what_does_not_go_with_learned_steps_is_told(changes, words):
    with pytest.raises(nbopt.errors.InvalidHyperparam, match=words):
        make(weight_bits=3, step_size_rate=0.1).set(**changes)


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
