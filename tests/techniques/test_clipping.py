"""Limits against torch's functions and their definition."""

import pytest
import torch
from torch import nn

from nbopt.techniques.regularization.clipping import ClipNorm, ClipValue, MaxNorm


def part(kind, weights, **values):
    made = kind()
    made.weights = weights
    made.__dict__.update(values)
    return made


def weights():
    generator = torch.Generator().manual_seed(0)
    found = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in [(4, 3), (3,), (2, 3, 2, 2)]]
    for weight in found:
        weight.grad = torch.randn(weight.shape, generator=generator)
    return found


@pytest.mark.parametrize("limit", [0.1, 1.0, 100.0])
def test_the_whole_gradient_gets_shorter_in_its_direction(limit):
    ours = weights()
    part(ClipNorm, ours, clip_norm=limit).after_gradients()
    before = torch.cat([weight.grad.flatten() for weight in weights()])
    after = torch.cat([weight.grad.flatten() for weight in ours])
    torch.testing.assert_close(after, before * min(1.0, limit / float(before.norm())), rtol=1e-5, atol=1e-6)


def test_each_number_is_cut():
    ours = weights()
    part(ClipValue, ours, clip_value=0.3).after_gradients()
    for weight, before in zip(ours, weights(), strict=True):
        assert torch.equal(weight.grad, before.grad.clamp(-0.3, 0.3))


def test_weights_into_a_unit_stay_in_a_ball_and_biases_are_free():
    ours = weights()
    part(MaxNorm, ours, max_norm=1.2).after_step(torch.tensor(0.0))
    for weight, before in zip(ours, weights(), strict=True):
        if weight.ndim < 2:
            assert torch.equal(weight, before)
            continue
        lengths = before.detach().flatten(1).norm(dim=1)
        expected = before.detach().flatten(1) * (1.2 / lengths).clamp(max=1.0)[:, None]
        torch.testing.assert_close(weight.detach().flatten(1), expected, rtol=1e-5, atol=1e-6)
