"""What is read from a loss, against what torch makes of whole batches and of their parts."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from nbopt.techniques.losses.choice import LOSSES, loss_choice
from nbopt.techniques.losses.traits import UNKNOWN, count_targets, read_traits

GENERATOR = torch.Generator().manual_seed(0)
SCORES = torch.randn(12, 3, generator=GENERATOR)
LABELS = torch.randint(0, 3, (12,), generator=GENERATOR)
NUMBERS = torch.randn(12, generator=GENERATOR)
WEIGHT = torch.tensor([1.0, 0.5, 20.0])

MEANS = [
    functional.cross_entropy,
    nn.CrossEntropyLoss(),
    nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.1),
    nn.CrossEntropyLoss(weight=WEIGHT, ignore_index=1),
    partial(functional.cross_entropy, ignore_index=2, weight=WEIGHT),
    partial(partial(functional.cross_entropy, ignore_index=0), ignore_index=2),
    nn.NLLLoss(ignore_index=0),
    nn.MultiMarginLoss(),
]


@pytest.mark.parametrize("loss", MEANS)
@given(cut=st.integers(1, 11))
@settings(max_examples=12, deadline=None)
def test_parts_weighed_by_what_counts_give_the_mean_of_the_whole(loss, cut):
    traits = read_traits(loss)
    values, counts = [], []
    for part in (slice(0, cut), slice(cut, 12)):
        counts.append(float(count_targets(traits, LABELS[part])))
        values.append(float(loss(SCORES[part], LABELS[part])) if counts[-1] else 0.0)
    mean = sum(value * count for value, count in zip(values, counts, strict=True)) / sum(counts)
    assert mean == pytest.approx(float(loss(SCORES, LABELS)), rel=1e-5)


@pytest.mark.parametrize("loss", [nn.MSELoss(), functional.l1_loss, nn.BCEWithLogitsLoss(pos_weight=torch.ones(4) * 3)])
def test_numbers_count_where_numbers_are_compared(loss):
    output, target = SCORES[:, :1].expand(12, 4), torch.rand(12, 4, generator=GENERATOR)
    traits = read_traits(loss)
    mean = sum(float(loss(output[p], target[p])) * count_targets(traits, target[p]) for p in (slice(5), slice(5, 12)))
    assert mean / 48 == pytest.approx(float(loss(output, target)), rel=1e-5)


def test_a_batch_without_any_label_that_counts_weighs_nothing():
    traits = read_traits(nn.CrossEntropyLoss(weight=WEIGHT))
    assert float(count_targets(traits, torch.full((4,), -100))) == 0
    assert count_targets(traits, torch.rand(4, 3)) == 4  # probabilities for labels: torch's mean is that over samples
    assert count_targets(traits, {"y": 1}) is None


@pytest.mark.parametrize(
    ("loss", "reduction"),
    [
        (nn.CrossEntropyLoss(reduction="sum"), "sum"),
        (partial(functional.mse_loss, reduction="sum"), "sum"),
        (nn.KLDivLoss(reduction="batchmean"), "mean"),
        (nn.MSELoss(), "mean"),
        (functional.mse_loss, "mean"),
        (nn.MSELoss(reduction="none"), ""),
        (lambda output, target: output.sum(), ""),
        (nn.Linear(2, 1), ""),
    ],
)
def test_the_reduction_is_read(loss, reduction):
    assert read_traits(loss).reduction == reduction


def test_a_module_of_torch_is_known_by_its_forward():
    class Renamed(nn.MSELoss):
        pass

    class Changed(nn.MSELoss):
        def forward(self, output, target):
            return super().forward(output, target) + 1

    assert read_traits(Renamed()).elementwise
    assert read_traits(Changed()) == UNKNOWN
    assert read_traits(partial(functional.mse_loss, SCORES)) == UNKNOWN


def test_probabilities_are_told_from_scores():
    scales = [read_traits(loss).scale for loss in (nn.BCELoss(), nn.BCEWithLogitsLoss(), nn.NLLLoss(), nn.MSELoss())]
    assert scales == ["probabilities", "scores", "scores", ""]
    assert all(kind.traits.scale == "scores" for kind in LOSSES.values() if kind.task != "regression")


# -- shapes


def made(loss):
    spec = loss_choice(loss)
    return spec.classes[spec.default]()


@pytest.mark.parametrize("loss", [nn.MSELoss(), functional.mse_loss, nn.HuberLoss(), [(1.0, nn.L1Loss())]])
@pytest.mark.parametrize("shapes", [((12, 1), (12,)), ((12,), (12, 1)), ((1, 12, 1), (12,))])
def test_losses_of_torch_compare_number_by_number(loss, shapes):
    output, target = NUMBERS.reshape(shapes[0]), NUMBERS.flip(0).reshape(shapes[1])
    found = made(loss)
    found.check(output, target)
    kind = loss[0][1] if isinstance(loss, list) else loss
    assert float(found(output, found.prepare(output, target))) == float(kind(NUMBERS, NUMBERS.flip(0)))


@pytest.mark.parametrize("loss", ["mse", "binary_cross_entropy", nn.MSELoss(), functional.smooth_l1_loss])
@pytest.mark.parametrize("target", [(4, 5, 3), (4, 15), (15, 4), (4, 3), (4, 1, 5)])
def test_another_layout_is_refused_with_both_shapes(loss, target):
    with pytest.raises(ValueError, match=r"outputs \(4, 3, 5\) float32 and targets \(\d.*\) float32 do not match"):
        made(loss).check(torch.rand(4, 3, 5), torch.rand(target))


def test_another_layout_in_a_later_batch_is_refused_too():
    found = made("mse")
    found.check(torch.rand(4, 3, 5), torch.rand(4, 3, 5))
    with pytest.raises(ValueError, match=r"\(4, 3, 5\).*\(4, 5, 3\)"):
        found.prepare(torch.rand(4, 3, 5), torch.rand(4, 5, 3))


@pytest.mark.parametrize("shapes", [((12, 1), (12,)), ((12,), (12, 1))])
def test_a_function_that_compares_all_outputs_with_all_targets_is_refused(shapes):
    output, target = NUMBERS.reshape(shapes[0]), NUMBERS.flip(0).reshape(shapes[1])
    for loss in (lambda o, t: ((o - t) ** 2).mean(), lambda o, t: (o - t).abs().sum()):
        with pytest.raises(ValueError, match=r"outputs .* and targets .* broadcast, .*y\[:, None\]"):
            made(loss).check(output, target)


@pytest.mark.parametrize(
    "loss",
    [
        lambda o, t: ((o.flatten() - t.flatten()) ** 2).mean(),
        lambda o, t: functional.mse_loss(o.squeeze(1), t),
        lambda o, t: functional.binary_cross_entropy_with_logits(o, (t[:, None] > 0).float()),
        lambda o, t: o.square().mean(),  # does not look at targets at all
        lambda o, t: (o.mean() - t.mean()).square(),  # nor at which is whose
        lambda o, t: ((o.flatten() - t.flatten()) ** 2 * torch.rand(12)).mean(),
    ],
)
def test_a_function_that_reshapes_or_needs_no_pairs_is_taken(loss):
    before = torch.get_rng_state()
    made(loss).check(NUMBERS[:, None], NUMBERS.flip(0))
    assert torch.equal(torch.get_rng_state(), before)
