"""Edits of models whose weights techniques, losses and others look at."""

import pytest
import torch
from torch import nn

import nbopt
from tests.training.edited import STEPS, edits, losses, net, same, widened


class Averaged(nbopt.Technique):
    """Keeps a mean of the weights, and measures how far they are from it."""

    averaged = nbopt.Flag(True, label="Averaged", group="Averages", help="Keep a mean of the weights.")
    memory = ("mean",)
    measures = ("distance",)
    mean: list[torch.Tensor] | None = None

    def after_step(self, loss):
        if self.mean is None:
            self.mean = [weight.detach().clone() for weight in self.weights]
        for mean, weight in zip(self.mean, self.weights, strict=True):
            mean.lerp_(weight.detach(), 0.1)
        apart = sum((mean - weight).square().sum() for mean, weight in zip(self.mean, self.weights, strict=True))
        self.context.measure("distance", apart.detach())


class Following(Averaged):
    """Begins anew where weights are others."""

    averaged_anew = nbopt.Flag(True, label="Averaged", group="Averages", help="Keep a mean of the weights.")

    def train(self, weights):
        self.weights, self.mean = weights, None


def test_what_a_technique_remembers_of_each_weight_is_in_the_way_unless_it_follows(make):
    run = make(techniques=[Averaged])
    run.step(STEPS)
    with pytest.raises(ValueError, match=r"Averaged keeps tensors of the weights' shape in mean; .*train\(weights\)"):
        widened(run)
    run = make(techniques=[Following])
    run.step(STEPS)
    branch = widened(run)
    branch.step(6)
    part = next(part for part in branch.training.acting.parts if isinstance(part, Following))
    assert [mean.shape for mean in part.mean] == [weight.shape for weight in branch.model.parameters()]
    twin = branch.replay()
    twin.wait()
    assert same(twin, branch) and branch.history["distance"][1].tolist() == twin.history["distance"][1].tolist()
    branch.rewind(7)
    branch.rewind(4)
    assert [mean.shape for mean in part.mean] == [weight.shape for weight in net().parameters()]
    assert branch.exact


class Rounded(nbopt.Technique):
    """Has the model compute with rounded weights."""

    rounded = nbopt.Flag(True, label="Rounded", group="Other", help="Round weights.")

    @property
    def acts(self):
        return self.rounded

    def change_weights(self, weights):
        return {name: weight + ((64 * weight).round() / 64 - weight).detach() for name, weight in weights.items()}


def test_where_a_technique_puts_other_weights_in_place_the_layer_is_not_found(make):
    run = make(techniques=[Rounded])
    run.step(STEPS)
    with pytest.raises(ValueError, match="a technique that acts has the model compute with other weights"):
        widened(run)
    run.set(rounded=False)
    run.step(1)
    assert widened(run, at=STEPS + 1).model[0].out_features == 21


class Failing(nbopt.Technique):
    """Cannot act on other weights."""

    failing = nbopt.Flag(True, label="Failing", group="Other", help="Fails.")

    def train(self, weights):
        self.weights = weights
        if any(weight.shape == (21, 4) for weight in weights):
            raise ArithmeticError("not with these")


def test_an_edit_that_fails_half_way_is_undone(make):
    run = make(techniques=[Failing])
    run.step(STEPS)
    branch = run.branch(at=STEPS)
    with pytest.raises(ArithmeticError, match="not with these"):
        branch.edit(nbopt.Widen("0", by=5))
    assert not edits(branch) and branch.model[0].out_features == 16 and not branch.training.edits
    branch.step(3)
    run.step(3)
    assert same(run, branch)


@pytest.mark.parametrize(("layer", "words"), [(0, "outputs or loss of the next"), (2, "outputs or loss of the next")])
def test_a_loss_that_looks_at_the_weights_is_in_the_way(make, layer, words):
    model = net()
    run = make(model, loss=lambda out, y: nn.functional.cross_entropy(out, y) + 0.1 * model[layer].weight.norm())
    run.step(STEPS)
    with pytest.raises(ValueError, match=words):
        widened(run)
    assert run.branch(at=STEPS, edit=nbopt.Widen("2", by=2)) if layer == 0 else True


def test_a_loss_with_weights_of_its_own_goes_along(make_run, blobs):
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.proxies = nn.Parameter(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)))

        def forward(self, output, target):
            return nn.functional.cross_entropy(output @ self.proxies.T, target)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8))
    run = make_run(model, loss=Head(), epochs=99, batch_size=20, store=None)
    run.step(STEPS)
    branch = widened(run)
    before = branch.spec.loss.proxies.detach().clone()
    branch.step(5)
    assert not torch.equal(before, branch.spec.loss.proxies)
    twin = branch.replay()
    twin.wait()
    assert same(twin, branch) and losses(twin) == losses(branch)


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(4, 16), nn.Linear(16, 3)


def test_a_forward_of_the_users_own_is_watched(make):
    def forward(model, batch):
        return model.head(torch.relu(model.body(batch[0]))), batch[1]

    def looking(model, batch):
        hidden = model.body(batch[0])
        return model.head(hidden) + hidden.mean(1, keepdim=True), batch[1]

    with torch.random.fork_rng():
        torch.manual_seed(0)
        run, other = make(Parts(), forward=forward), make(Parts(), forward=looking)
    for each in (run, other):
        each.step(STEPS)
    branch = widened(run, layer="body")
    branch.step(3)
    twin = branch.replay()
    twin.wait()
    assert same(twin, branch) and branch.model.head.in_features == 21
    with pytest.raises(ValueError, match="its outputs go through mean"):
        widened(other, layer="body")


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "bfloat16"},
        {"precision": "float16"},
        {"micro_batch": 7},
        {"schedule": "hypergradient"},
        {"l1": 0.01, "clip_norm": 1.0, "schedule": "cosine", "epochs": 9},
    ],
    ids=str,
)
def test_whatever_acts_in_a_step_goes_along(make, settings):
    run = make(**settings)
    run.step(STEPS)
    branch = widened(run)
    branch.step(6)
    twin = branch.replay()
    twin.wait()
    assert same(twin, branch) and losses(twin) == losses(branch)
    branch.rewind(4)
    branch.rewind(2)
    assert branch.exact is not False


def test_weights_that_are_drawn_in_the_first_step_are_not_widened_before(make):
    run = make(initialization="kaiming")
    run.events()
    with pytest.raises(ValueError, match="what comes before the first step, as drawing initial weights"):
        run.branch(at=0, edit=nbopt.Widen("0", by=2))
