"""Augmentation: against what torch turns and moves exactly, and against the papers' formulas."""

import math

import pytest
import torch
from torch.nn import functional

from nbopt import Run
from nbopt.techniques.inputs.augmentation import Flip, InputNoise, Mixup, Warp, transformed

ZERO = torch.zeros(2)
ONE = torch.ones(2)


@pytest.fixture
def images():
    return torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))


def part(kind, **values):
    made = kind()
    made.__dict__.update(values)
    return made


def test_nothing_turned_nothing_changed(images):
    torch.testing.assert_close(transformed(images, ZERO, ONE, torch.zeros(2, 2)), images)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_are_exact(quarters):
    square = torch.randn(2, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    turned = transformed(square, torch.full((2,), quarters * math.pi / 2), ONE, torch.zeros(2, 2))
    torch.testing.assert_close(turned, torch.rot90(square, quarters, (2, 3)), rtol=1e-4, atol=1e-5)


def test_a_turn_keeps_shapes_also_where_images_are_not_square():
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(80.0), indexing="ij")
    disc = (((y - 19.5) ** 2 + (x - 39.5) ** 2) < 15**2).float()[None, None]
    turned = transformed(disc, torch.tensor([0.7]), torch.ones(1), torch.zeros(2, 1))
    assert float((turned - disc).abs().mean()) < 0.01


def test_a_shift_by_whole_pixels_moves_and_fills_with_zero(images):
    moved = transformed(images, ZERO, ONE, torch.tensor([[2 * 2 / 8] * 2, [2 * 1 / 6] * 2]))
    expected = functional.pad(images, (2, 0, 1, 0))[:, :, :6, :8]
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-5)


def test_twice_the_size_is_half_the_view():
    ramp = torch.linspace(-1, 1, 41).expand(1, 1, 41, 41).contiguous()
    larger = transformed(ramp, torch.zeros(1), torch.full((1,), 2.0), torch.zeros(2, 1))
    torch.testing.assert_close(larger, ramp / 2, rtol=1e-3, atol=1e-3)


def test_amounts_stay_within_the_strengths(images, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        "nbopt.techniques.inputs.augmentation.transformed",
        lambda x, *amounts: seen.update(zip("ast", amounts, strict=True)) or x,
    )
    many = images[:1].expand(4000, -1, -1, -1)
    part(Warp, rotate=30.0, zoom=0.2, crop=0.1).change_batch(many, None)
    for amounts, middle, reach in (
        (seen["a"], 0.0, math.radians(30)),
        (seen["s"], 1.0, 0.2),
        (seen["t"], 0.0, 0.2),  # a tenth of the image is a fifth of its half
    ):
        assert float((amounts - middle).abs().max()) == pytest.approx(reach, rel=0.01)
        assert float(amounts.mean()) == pytest.approx(middle, abs=0.05 * reach)


def test_flips_come_as_often_as_told(images):
    many = images[:1].expand(4000, -1, -1, -1)
    flipped, _target = part(Flip, flip=0.3).change_batch(many, None)
    mirrored = (flipped == images[:1].flip(3)).flatten(1).all(1)
    assert float(mirrored.float().mean()) == pytest.approx(0.3, abs=0.03)
    assert bool(((flipped == images[:1]).flatten(1).all(1) | mirrored).all())


def test_noise_has_the_deviation_told():
    x = torch.ones(200, 200)
    noisy, target = part(InputNoise, input_noise=0.3).change_batch(x, "y")
    assert target == "y"
    assert float((noisy - x).std()) == pytest.approx(0.3, rel=0.02)


def test_mixup_mixes_inputs_and_losses_as_the_paper_mixes_targets():
    x, y = torch.randn(6, 4), torch.arange(6) % 3
    mixing = part(Mixup, mixup=0.4)
    mixed, target = mixing.change_batch(x, y)
    share, order = mixing.share, mixing.order
    torch.testing.assert_close(mixed, share * x + (1 - share) * x[order])
    output = torch.randn(6, 3)
    soft = share * functional.one_hot(y, 3).float() + (1 - share) * functional.one_hot(y[order], 3).float()
    torch.testing.assert_close(
        mixing.change_loss(functional.cross_entropy, output, target), functional.cross_entropy(output, soft)
    )


def test_proportions_are_beta_distributed():
    mixing, x = part(Mixup, mixup=0.5), torch.zeros(2, 1)
    shares = []
    for _draw in range(3000):
        mixing.change_batch(x, None)
        shares.append(mixing.share)
    drawn = torch.tensor(shares)
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(drawn.var()) == pytest.approx(1 / (4 * (2 * 0.5 + 1)), rel=0.1)


def test_only_training_batches_are_changed(one_torch_thread):
    x, y = torch.randn(20, 4), torch.arange(20) % 2
    seen = {True: [], False: []}

    def forward(model, batch):
        seen[model.training].append(batch[0])
        return model(batch[0]), batch[1]

    model = torch.nn.Linear(4, 2)
    Run(model, (x, y), (x, y), forward=forward, input_noise=0.1, epochs=1, batch_size=20, store=None).fit()
    assert torch.equal(seen[False][0], x)
    assert not torch.equal(seen[True][0].sort(0).values, x.sort(0).values)


def test_what_cannot_act_on_these_inputs_says_why(one_torch_thread):
    run = Run(torch.nn.Linear(4, 2), (torch.randn(20, 4), torch.arange(20) % 2), epochs=1, store=None, rotate=10.0)
    with pytest.warns(UserWarning, match="rotate: the inputs are not images"):
        run.fit()
    assert "not images" in run.inert["flip"]
    assert "rotate" not in run.to_python()
