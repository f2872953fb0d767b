"""Losses that are modules with weights and buffers. What is right comes from a loop written by hand."""

import copy
import functools

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbopt
from nbopt.errors import InvalidHyperparam

BATCH = 10


class Uncertain(nn.Module):
    """Tasks weighted by learnt uncertainties (Kendall et al. 2018), and a running mean of the loss."""

    def __init__(self):
        super().__init__()
        self.spread = nn.Parameter(torch.zeros(2))
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, output, target):
        errors = torch.stack([functional.mse_loss(output[:, k], target[:, k]) for k in range(2)])
        value = (errors * torch.exp(-self.spread) + self.spread).sum()
        if self.training:
            with torch.no_grad():
                self.mean.mul_(0.9).add_(value, alpha=0.1)
        return value

    def weigh(self, scale, output, target):
        return scale * self(output, target)


class Centers(nn.Module):
    """A loss that pulls outputs to a learnt center of their class (Wen et al. 2016)."""

    def __init__(self, part_of=None):
        super().__init__()
        self.centers = nn.Parameter(torch.ones(3, 2))
        self.part = part_of

    def forward(self, output, target):
        scores = -torch.cdist(output, self.centers)
        return functional.cross_entropy(scores, target) + (0 if self.part is None else self.part.weight.square().sum())


def tasks():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 4, generator=generator)
    return x, torch.stack([x[:, 0] + 2 * torch.randn(60, generator=generator), x[:, 1]], 1)


def in_order(data):
    return DataLoader(TensorDataset(*data), batch_size=BATCH)


def linear():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(4, 2)


def by_hand(model, loss, call, make, data, steps):
    optimizer = make([*model.parameters(), *loss.parameters()])
    for step in range(steps):
        at = step * BATCH % len(data[0])
        optimizer.zero_grad()
        call(model(data[0][at : at + BATCH]), data[1][at : at + BATCH]).backward()
        optimizer.step()


def same(*pairs):
    return all(
        torch.equal(a, b)
        for one, other in pairs
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


# what the run is given as its loss, made of the module
WAYS = {
    "module": lambda loss: loss,
    "method": lambda loss: loss.forward,
    "partial": lambda loss: functools.partial(loss.weigh, 2.0),
    "term": lambda loss: [(2.0, loss)],
}


@pytest.mark.parametrize("way", WAYS)
def test_the_weights_of_a_loss_are_trained_as_in_a_plain_loop(make_run, way, tmp_path):
    data = tasks()
    model, loss = linear(), Uncertain()
    right, loss_right = copy.deepcopy((model, loss))
    scale = 1.0 if way in ("module", "method") else 2.0

    def call(output, target):
        return scale * loss_right(output, target)

    by_hand(right, loss_right, call, lambda weights: torch.optim.SGD(weights, lr=0.05, momentum=0.9), data, 11)
    settings = {"optimizer": "sgd", "momentum": 0.9, "lr": 0.05, "epochs": 99, "store": tmp_path}
    run = make_run(model, in_order(data), val=in_order(data), loss=WAYS[way](loss), **settings)
    run.step(11)
    run.stop()
    assert same((model, right), (loss, loss_right))
    twin = run.replay()
    twin.wait()
    branch = run.branch(5)
    branch.step(6)
    for each in (twin, branch):
        assert same((each.model, right), (each.loss_modules.popitem()[1], loss_right))
    assert same((model, right), (loss, loss_right))  # copies leave it alone
    run.rewind(3)
    run.step(8)
    assert same((model, right), (loss, loss_right))
    run.stop()
    again, loss_again = linear(), Uncertain()
    nbopt.open(run.id, again, in_order(data), in_order(data), loss=WAYS[way](loss_again), store=tmp_path)
    assert same((again, right), (loss_again, loss_right))


def test_an_instance_may_hold_the_weights_of_the_loss(make_run, blobs):
    model, loss = linear(), Centers()
    right, loss_right = copy.deepcopy((model, loss))
    by_hand(right, loss_right, loss_right, lambda weights: torch.optim.Adagrad(weights, lr=0.05), blobs, 9)
    optimizer = torch.optim.Adagrad([*model.parameters(), *loss.parameters()], lr=0.05)
    run = make_run(model, in_order(blobs), loss=loss, optimizer=optimizer, epochs=99)
    run.step(9)
    assert same((model, right), (loss, loss_right))
    twin = run.branch(4)
    twin.step(5)
    assert same((twin.model, right), (loss, loss_right))


def test_weights_of_a_loss_that_the_instance_does_not_hold_are_told_of(make_run, blobs):
    model = linear()
    with pytest.warns(UserWarning, match=r"the loss has parameters .*\(centers\)"):
        make_run(model, blobs, loss=Centers(), optimizer=torch.optim.SGD(model.parameters(), lr=0.1))


def test_an_instance_of_another_model_is_still_refused(make_run, blobs):
    with pytest.raises(ValueError, match="not this model's"):
        make_run(linear(), blobs, loss=Centers(), optimizer=torch.optim.SGD(linear().parameters(), lr=0.1))


def test_a_frozen_model_may_be_trained_by_its_loss_alone(make_run, blobs):
    model, loss = linear().requires_grad_(False), Centers()
    before = copy.deepcopy((model, loss))
    make_run(model, blobs, loss=loss, optimizer="adam", epochs=99).step(3)
    assert same((model, before[0]))
    assert not same((loss, before[1]))


def test_a_loss_that_holds_part_of_the_model_trains_it_once(make_run, blobs):
    model = linear()
    loss = Centers(model)
    right, loss_right = copy.deepcopy((model, loss))
    weights = [*right.parameters(), loss_right.centers]
    by_hand(right, loss_right, loss_right, lambda _weights: torch.optim.SGD(weights, lr=0.05), blobs, 7)
    run = make_run(model, in_order(blobs), loss=loss, optimizer="sgd", lr=0.05, epochs=99)
    run.step(7)
    assert same((model, right), (loss, loss_right))
    twin = run.branch(3)
    twin.step(4)
    assert same((twin.model, right), (model, right))


def test_weights_of_the_loss_are_frozen_and_thawed_too(make_run, blobs):
    loss = Centers()
    run = make_run(linear(), blobs, loss=loss, optimizer="adam", epochs=99)
    run.step(2)
    loss.requires_grad_(False)
    before = copy.deepcopy(loss)
    run.step(2)
    assert same((loss, before))
    told = [entry.new["reason"] for entry in run.journal if entry.name == "tuning"]
    assert told == ["frozen from here on: loss.centers"]
    loss.requires_grad_(True)
    run.step(2)
    assert not same((loss, before))


def test_a_loss_of_other_shapes_is_not_opened(make_run, blobs, tmp_path):
    run = make_run(linear(), blobs, loss=Centers(), optimizer="adam", epochs=99, store=tmp_path)
    run.step(2)
    run.stop()
    other = Centers()
    other.centers = nn.Parameter(torch.ones(5, 2))
    with pytest.raises(ValueError, match=r"loss: loss.centers was 3 x 2 float32, now it is 5 x 2 float32"):
        nbopt.open(run.id, linear(), blobs, loss=other, store=tmp_path)


def test_weights_of_classes_stay_buffers_of_the_loss(make_run, blobs):
    weight = torch.tensor([1.0, 2.0, 3.0])
    run = make_run(nn.Linear(4, 3), blobs, loss=nn.CrossEntropyLoss(weight=weight), epochs=99)
    run.step(3)
    run.replay().wait()


def rising():
    """Return a loss that counts its calls, and what it counted."""
    seen = []

    def loss(output, target):
        seen.append(len(output))
        return nn.functional.cross_entropy(output, target) * min(1.0, len(seen) / 4)

    return loss, seen


@pytest.mark.parametrize("listed", [False, True])
def test_a_loss_is_called_as_often_as_a_plain_loop_calls_it(make_run, blobs, listed):
    loss, seen = rising()
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    by_hand, (other, _seen) = copy.deepcopy(model), rising()
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(*blobs), batch_size=20)
    for x, y in loader:
        optimizer.zero_grad()
        other(by_hand(x), y).backward()
        optimizer.step()
    make_run(model, loader, loss=[loss] if listed else loss, optimizer="sgd", lr=0.1, epochs=1).fit()
    assert seen == [20, 20, 20]
    assert torch.equal(model.weight, by_hand.weight)


@pytest.mark.parametrize("given", [nn.CrossEntropyLoss, [nn.MSELoss]])
def test_the_class_of_a_loss_is_refused_in_words(make_run, given):
    with pytest.raises(InvalidHyperparam, match=r"is the class \w+, not an instance: write \w+\(\)"):
        make_run(loss=given)


@pytest.mark.parametrize("where", ["loss", "forward"])
def test_weights_that_a_function_reads_and_nothing_trains_are_told_of(make_run, blobs, where):
    centers, teacher = Centers(), linear()

    def loss(output, target):
        with torch.no_grad():
            teacher(torch.ones(1, 4))
        return centers(output, target)

    def forward(model, batch):
        return loss(model(batch[0]), batch[1]), batch[1]

    given = {"loss": loss} if where == "loss" else {"loss": lambda output, target: output, "forward": forward}
    run = make_run(linear(), blobs, epochs=99, **given)
    with pytest.warns(UserWarning, match="centers, which loss or forward use, has weights that get gradients"):
        run.step(2)
    told = [entry.new for entry in run.journal if entry.name == "note"]
    assert len([text for text in told if "centers" in text]) == 1
    assert not any("teacher" in text for text in told)
