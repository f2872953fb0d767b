"""Pruning: masks as torch's, a run as the plain loop, and what a person may do meanwhile."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

import nbopt
from nbopt.techniques.compression.masks import Smallest, keep_layers
from nbopt.techniques.compression.units import draw_units, find_units
from nbopt.testing import check_run
from tests.techniques.pruned import Attention, cnn, data, left, make, masks_of, two

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def layers_of(model):
    return [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]


def assert_are(masks, model, layers):
    """See that masks are those that torch's pruning gave to layers."""
    names = {id(module): name for name, module in model.named_modules()}
    for layer in layers:
        assert torch.equal(masks[f"{names[id(layer)]}.weight"], layer.weight_mask)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_masks_are_those_of_torch(share):
    model = cnn()
    by_layer, by_all, by_neuron = (copy.deepcopy(model) for _ in range(3))
    for layer in layers_of(by_layer):
        prune.l1_unstructured(layer, "weight", share)
    prune.global_unstructured([(layer, "weight") for layer in layers_of(by_all)], prune.L1Unstructured, amount=share)
    for layer in layers_of(by_neuron)[:-1]:
        prune.ln_structured(layer, "weight", share, n=2, dim=0)
    for torchs, last, settings in (
        (by_layer, None, {"sparsity_scope": "layer"}),
        (by_all, None, {}),
        (by_neuron, -1, {"sparsity_scope": "layer", "sparsity_pattern": "neurons"}),
    ):
        run = make(copy.deepcopy(model), sparsity=share, lr=0.0, **settings)
        run.step(1)
        assert_are(masks_of(run), torchs, layers_of(torchs)[:last])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_of_weights_that_are_as_large_the_same_go_as_by_torch(share):
    model = two(16, 12, 4)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.mul(5).round())
    torchs = copy.deepcopy(model)
    layers = layers_of(torchs)
    prune.global_unstructured([(layer, "weight") for layer in layers], prune.L1Unstructured, amount=share)
    found = Smallest().prune({name: w.detach() for name, w in model.named_parameters()}, share)
    assert_are(found, torchs, layers)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("missing", [0, 3, 200])
def test_the_least_scores_are_those_of_topk_even_where_some_are_no_numbers(kind, missing):
    scores = torch.randn(211, generator=torch.Generator().manual_seed(0)).abs().to(kind)
    scores[:missing] = torch.nan
    smallest, own = Smallest(), [torch.zeros(80, dtype=kind), torch.zeros(1, 131, dtype=kind)]
    for count in (0, 1, 100, 210):
        stay = torch.ones(211, dtype=kind)
        stay[scores.topk(count, largest=False, sorted=False).indices] = 0
        own[0].copy_(-scores[:80])  # where it was before
        own[1] = scores[80:].view(1, -1).clone()
        found = smallest.leave_out(own, count / 211)
        assert torch.equal(torch.cat([found[0], found[1].flatten()]), stay) and found[1].shape == (1, 131)


def test_random_masks_are_those_of_torch_with_the_same_draws():
    model = cnn()
    weights = dict(model.named_parameters())
    for pattern, way in (("weights", prune.random_unstructured), ("neurons", prune.random_structured)):
        torchs = copy.deepcopy(model)
        torch.manual_seed(7)
        pruned = layers_of(torchs)[: None if pattern == "weights" else -1]
        for layer in pruned:
            way(layer, "weight", 0.5, **({} if pattern == "weights" else {"dim": 0}))
        layers = find_units(model, weights, pattern)
        scores = draw_units(layers, torch.Generator().manual_seed(7))
        stay = keep_layers(layers, scores, weights, pattern, "layer", 0.5, None)
        for layer, units in zip(pruned, stay, strict=True):
            mask = layer.weight_mask if pattern == "weights" else layer.weight_mask.flatten(1)[:, 0]
            assert torch.equal(units, mask.flatten().bool())


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_run_is_the_plain_loop_with_torchs_pruning(optimizer):
    model = cnn()
    plain = copy.deepcopy(model)
    run = make(model, sparsity=0.8, optimizer=optimizer, weight_decay=0.01)
    batches = []
    for _ in range(7):
        batches.append([tensor.clone() for tensor in run.training.cursor.peek()])
        run.step(1)
    prune.global_unstructured([(layer, "weight") for layer in layers_of(plain)], prune.L1Unstructured, amount=0.8)
    kind, ways = (torch.optim.SGD, {}) if optimizer == "sgd" else (torch.optim.Adam, {"fused": True})
    names = [name for name, _weight in model.named_parameters()]
    own = {name.removesuffix("_orig"): weight for name, weight in plain.named_parameters()}
    torchs = kind([own[name] for name in names], lr=0.05, weight_decay=0.01, **ways)
    for x, y in batches:
        torchs.zero_grad()
        functional.cross_entropy(plain(x), y).backward()
        torchs.step()
    for name, weight in model.named_parameters():
        assert torch.equal(weight, own[name]), name


CONTRACT = {
    "gradient": {"sparsity_method": "gradient", "sparsity_regrow": False, "sparsity_every": 2},
    "random": {"sparsity_method": "random", "sparsity_scope": "layer"},
    "neurons": {"sparsity_pattern": "neurons"},
    "blocks, gradual": {"sparsity_pattern": "n:4", "sparsity_begin": 0.1, "sparsity_end": 0.9, "sparsity_every": 2},
    "gradual, kept": {"sparsity_end": 0.9, "sparsity_every": 3, "sparsity_regrow": False, "optimizer": "adam"},
    "heads": {"sparsity_pattern": "heads", "model": Attention},
    "in parts, in 16 bits": {"micro_batch": 3, "precision": "bfloat16", "sparsity_method": "gradient"},
}


@pytest.mark.parametrize("name", CONTRACT)
def test_all_of_it_is_repeated_rewound_stored_and_exported(name):
    settings = {"model": cnn, "sparsity": 0.5, **CONTRACT[name]}
    check_run(settings.pop("model"), data(), {"sparsity": 0.8}, **settings)


def test_a_share_that_grows_does_so_as_in_the_paper_and_only_every_so_many_steps():
    run = make(sparsity=0.9, sparsity_begin=0.25, sparsity_end=0.75, sparsity_every=2, steps=24, epochs=99)
    for step in range(24):
        run.step(1)
        t = min(1.0, max(0.0, (step // 2 * 2 / 24 - 0.25) / 0.5))
        assert 1 - left(run) == pytest.approx(0.9 * (1 - (1 - t) ** 3), abs=1e-3), step
    (fact,) = run.technique_facts
    assert fact == ("pruned", "90.0%")


@pytest.mark.parametrize("pattern", ["weights", "neurons", "n:4"])
def test_moved_down_weights_come_back_as_they_were_and_moved_up_others_go(pattern):
    run = make(sparsity=0.5, sparsity_pattern=pattern, sparsity_regrow=False)
    run.step(4)
    half, before = masks_of(run), copy.deepcopy(run.model)
    run.set(sparsity=0.75)
    run.step(4)
    most = masks_of(run)
    run.set(sparsity=0.25)
    run.step(1)
    least = masks_of(run)
    for name, weight in run.model.named_parameters():
        if name in half:
            assert (most[name] <= half[name]).all()
            assert (least[name] >= most[name]).all()
            pruned = (half[name] == 0) & (least[name] == 0)
            assert torch.equal(weight[pruned], before.get_parameter(name)[pruned])  # kept, and not moved
    assert share(most) < share(half) < share(least)
    run.set(sparsity=0.0)
    run.step(1)
    assert not run.training.acting.change_weights


def share(masks):
    return float(sum(mask.sum() for mask in masks.values()) / sum(mask.numel() for mask in masks.values()))


def test_pruned_weights_may_return_or_not():
    for regrow in (True, False):
        run = make(sparsity=0.5, sparsity_every=1, sparsity_regrow=regrow, lr=0.5)
        run.step(1)
        first = masks_of(run)
        run.step(8)
        later = masks_of(run)
        assert all(torch.equal(later[name], first[name]) for name in first) is not regrow
        assert share(later) == share(first)


def test_looking_at_what_another_sparsity_does_leaves_no_trace():
    runs = [make(sparsity=0.5, sparsity_regrow=False) for _ in range(2)]
    x, _y = data()
    for run in runs:
        run.step(3)
    plain = runs[0].predict(x)
    for value in (0.9, 0.2, 0.5):
        runs[0].set(sparsity=value)
        assert torch.equal(runs[0].predict(x), plain) is (value == 0.5)
    for run in runs:
        run.step(3)
    assert torch.equal(runs[0].model[8].weight, runs[1].model[8].weight)


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        (cnn, {"sparsity": 1.0}, "sparsity must be a finite number at least 0 and below 1; got 1.0"),
        (cnn, {"sparsity": -0.1}, "sparsity must be"),
        (cnn, {"sparsity_pattern": "channels"}, "write sparsity_pattern='neurons'"),
        (cnn, {"sparsity_pattern": "heads"}, "the model has no nn.MultiheadAttention, whose heads could be pruned"),
        (
            lambda: two(36, 3),
            {"sparsity_pattern": "neurons"},
            "convolutional or recurrent layer but its last",
        ),
        (lambda: two(36, 10, 3), {"sparsity_pattern": "n:4"}, "inputs in blocks of 4, and 2.weight has 10"),
        (lambda: two(36, 12, 3), {"sparsity_pattern": "n:8"}, "inputs in blocks of 8, and 1.weight has 36"),
        (cnn, {"sparsity_method": "magnitudes"}, "Did you mean 'magnitude'"),
        (cnn, {"sparsity": 0.5, "sparsity_end": 0.5, "epochs": None}, "sparsity_end=0.5 is a part of the run"),
        (cnn, {"pruning": 0.5}, "Did you mean 'sparsity'"),
    ],
    ids=lambda item: str(item) if isinstance(item, dict) else "",
)
def test_what_cannot_be_pruned_is_refused_in_words(model, settings, words):
    with pytest.raises(nbopt.errors.InvalidHyperparam, match=words):
        make(model(), **settings)


def test_a_model_without_matrices_has_nothing_to_prune():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return x.flatten(1)[:, :3] * self.scale

    assert "no weights of two dimensions" in make(Scaled()).inert["sparsity"]
