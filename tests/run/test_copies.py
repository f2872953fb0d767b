"""Copies for branches, replays and the rate finder: tied to nothing of the run they are made from."""

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from tests.run.copied import Block, Holding, Tying, begin


class OverLayer(Block):
    def tie(self):
        inner = self.inner
        return lambda x: inner(x)


class OverSelf(Block):
    def tie(self):
        return lambda x: self.inner(x)


class OverDefault(Block):
    def tie(self):
        return lambda x, inner=self.inner: inner(x)


class OverFunction(Block):
    """A function that calls another one, decorated, over a dictionary of layers."""

    def tie(self):
        layers = {"inner": self.inner}

        def inner(x):
            return layers["inner"](x)

        @functools.wraps(inner)
        def call(*arguments):
            return inner(*arguments)

        return call


class Bound(Block):
    def tie(self):
        return self.inner.forward


class BoundOfTensor(Block):
    def tie(self):
        self.product = self.inner.weight.matmul
        return lambda x: self.product(x.T).T


class Partial(Block):
    def tie(self):
        return functools.partial(functional.linear, weight=self.inner.weight, bias=self.inner.bias)


class InList(Block):
    def tie(self):
        self.steps = [lambda x: self.inner(x)]
        return lambda x: self.steps[0](x)


class ByHook(Block):
    def tie(self):
        inner = self.inner
        self.outer.register_forward_pre_hook(lambda module, inputs: (inputs[0] + inner.bias,))
        return inner


class Masked(Block):
    """Freezes rows of a weight by its gradient, and decays another one that it reads."""

    def tie(self):
        mask, inner = (torch.arange(8) % 2)[:, None].float(), self.inner
        self.inner.weight.register_hook(lambda gradient: gradient * mask)
        self.outer.weight.register_hook(lambda gradient: gradient + 0.1 * inner.weight.mean())
        self.inner.bias.register_post_accumulate_grad_hook(Masked.halve)
        return inner

    @staticmethod
    def halve(weight):
        weight.grad.mul_(0.5)


class Counting(Block):
    """A function with a variable of its own, and one that another function shares."""

    def tie(self):
        calls, inner = {"n": 0}, self.inner

        def call(x):
            calls["n"] += 1
            return inner(x)

        self.count = lambda: (calls["n"], inner)
        return call


def penalized(model):
    """Return a loss that closes over part of the model."""

    def loss(output, target):
        return functional.cross_entropy(output, target) + model.outer.weight.square().sum() / 10

    return loss


def weigh(part, output, target):
    return functional.cross_entropy(output, target) + part.weight.square().sum() / 10


class Penalty:
    """A loss that is an object, and holds part of the model."""

    def __init__(self, model):
        self.part, self.calls = model.outer, 0

    def __call__(self, output, target):
        self.calls += 1
        share = 1 / (10 + self.calls)
        return functional.cross_entropy(output, target) + share * self.part.weight.square().sum()


class PenaltyModule(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.part = model.outer
        self.calls = 0

    def forward(self, output, target):
        self.calls += 1
        return functional.cross_entropy(output, target) + self.part.weight.square().sum() / (10 + self.calls)


LOSSES = {
    "closure": penalized,
    "object": Penalty,
    "method": lambda model: Penalty(model).__call__,
    "module": PenaltyModule,
    "partial": lambda model: functools.partial(weigh, model.outer),
    "terms": lambda model: [(0.5, PenaltyModule(model)), (0.5, penalized(model))],
}
BLOCKS = [
    OverLayer,
    OverSelf,
    OverDefault,
    OverFunction,
    Bound,
    BoundOfTensor,
    Partial,
    InList,
    ByHook,
    Masked,
    Counting,
]


def check_copies(make, weights):
    """A branch and a replay end as their parent does, and change nothing in it."""
    alone = make()
    alone.step(10)
    at_10 = weights(alone)
    alone.step(3)
    at_13 = weights(alone)
    run = make()
    run.step(10)
    assert torch.equal(weights(run), at_10)
    branch = run.branch(at=4)
    branch.step(6)
    assert torch.equal(weights(branch), at_10)
    again = run.replay()
    again.wait()
    assert torch.equal(weights(again), at_10)
    run.find_lr(steps=10)
    branch.step(5)
    run.step(3)
    assert torch.equal(weights(run), at_13)


@pytest.mark.parametrize("kind", BLOCKS, ids=lambda kind: kind.__name__)
def test_functions_over_parts_of_the_model_are_tied_to_the_copy_s(make_run, weights, kind):
    check_copies(lambda: begin(make_run, kind()), weights)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_that_holds_part_of_the_model_holds_the_copy_s(make_run, weights, name):
    def make():
        model = Tying()
        return begin(make_run, model, loss=LOSSES[name](model))

    check_copies(make, weights)


def test_forward_may_close_over_the_model(make_run, weights):
    def make():
        model = Tying()
        return begin(make_run, model, forward=lambda net, batch: (model(batch[0]), batch[1]))

    check_copies(make, weights)


def test_what_is_called_after_steps_acts_on_the_copy(make_run, weights):
    """As a hook that keeps weights small, or a mean of them."""
    means = []

    def make():
        model = Tying()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        mean = AveragedModel(model)
        means.append(mean)

        def after(*_given):
            model.inner.weight.data.clamp_(-0.2, 0.2)
            mean.update_parameters(model)

        optimizer.register_step_post_hook(after)
        return make_run(model, optimizer=optimizer, batch_size=20, epochs=99, seed=3)

    check_copies(make, weights)
    alone, run = means
    assert alone.n_averaged == run.n_averaged == 13
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), run.parameters(), strict=True))


def test_data_in_an_attribute_are_not_copied(make_run, blobs):
    run = begin(make_run, Holding(blobs[0]))
    run.step(3)
    assert run.branch(at=1).model.inside["deep"][0] is blobs[0]


def test_a_copy_made_while_the_run_trains_leaves_it_alone(make_run, weights):
    alone = begin(make_run, OverSelf(), epochs=400)
    alone.fit()
    run = begin(make_run, OverSelf(), epochs=400)
    run.start()
    for _copy in range(3):
        branch = run.branch(at=0)
        branch.step(5)
    run.wait()
    assert torch.equal(weights(run), weights(alone))
