"""Edits that cannot be made."""

import copy

import pytest
import torch
from torch import nn

import nbopt
from tests.training.edited import net, same, widened


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.hidden, self.last = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.first(x)
        return self.last(x + torch.relu(self.hidden(x)))


class Tied(Residual):
    def forward(self, x):
        return self.last(self.hidden(torch.relu(self.first(x)))) + nn.functional.linear(
            x, self.first.weight.t()[:3, :4]
        )


class Unused(Residual):
    def forward(self, x):
        return self.last(self.first(x))


def viewed():
    model = net()
    model[0].transposed = model[0].weight.detach().t()
    return model


REFUSED = {
    "slip of the pen": (lambda: Residual(), "hiden", "unknown layer 'hiden'. Did you mean 'hidden'?"),
    "no linear layer": (lambda: net(), "1", "it is a Tanh"),
    "the last one": (lambda: net(), "4", "its outputs are those of the model"),
    "softmax": (lambda: nn.Sequential(nn.Linear(4, 8), nn.Softmax(1), nn.Linear(8, 3)), "0", "go through softmax"),
    "weight used elsewhere": (lambda: Tied(), "first", "first.weight is used by t too"),
    "never called": (lambda: Unused(), "hidden", "the forward pass does not call it"),
    "view": (lambda: viewed(), "0", "is a view of 0.weight"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_widened_is_refused_before_anything_is_done(make, kind):
    maker, layer, words = REFUSED[kind]
    run = make(maker())
    run.step(2)
    with pytest.raises(ValueError, match=words):
        widened(run, layer=layer, at=2)
    branch = run.branch(at=2)
    state, entries = copy.deepcopy(branch.model.state_dict()), len(branch.journal)
    with pytest.raises(ValueError, match=words):
        branch.edit(nbopt.Widen(layer, by=2))
    assert all(torch.equal(value, state[name]) for name, value in branch.model.state_dict().items())
    assert len(branch.journal) == entries
    branch.step(3)
    run.step(3)
    assert same(run, branch)


@pytest.mark.parametrize("by", [0, -1, 1.5, True, "8", 2**40])
def test_an_illegal_width_is_refused(by):
    with pytest.raises(ValueError, match="by must be a whole number"):
        nbopt.Widen("0", by=by)


def test_the_model_that_was_given_keeps_its_shape(make):
    run = make()
    run.step(2)
    with pytest.raises(RuntimeError, match="edit a branch"):
        run.edit(nbopt.Widen("0", by=2))
    with pytest.raises(TypeError, match="edit must be one of"):
        run.branch(at=2, edit="0")


def test_a_hook_on_a_weight_is_in_the_way(make):
    run = make()
    run.step(2)
    branch = run.branch(at=2)
    branch.model[0].weight.register_hook(lambda gradient: gradient * 0.5)
    with pytest.raises(ValueError, match=r"there is a hook on 0\.weight"):
        branch.edit(nbopt.Widen("0", by=2))


def test_a_shape_changed_by_hand_is_refused(make):
    run = make()
    run.step(2)
    run.model[0].weight.data = torch.zeros(20, 4)
    with pytest.raises(ValueError, match=r"of another shape: 0\.weight"):
        run.step(1)
