"""What a copy would share with the run it is made from: refused, shared or made anew, in words."""

import threading

import pytest
import torch
from torch.nn import functional

from nbopt.run.copies.ties import Tied
from tests.run.copied import Block, Holding, Tying, begin

NET = None  # what careless code reads
SEEN = torch.zeros(3)


# -- what cannot be tied anew


class OverGlobal(Block):
    def tie(self):
        return lambda x: NET.inner(x)


def careless_loss(output, target):
    return functional.cross_entropy(output, target) + NET.outer.weight.square().sum() / 10


def teaching_loss(output, target):
    with torch.no_grad():
        goal = NET.outer(output.new_ones(1, 8))
    return functional.cross_entropy(output, target) + (output - goal).square().mean()


CALLS = {
    "branch": lambda run: run.branch(at=2),
    "replay": lambda run: run.replay(),
    "find_lr": lambda run: run.find_lr(),
}
CARELESS = {
    "model": (lambda: OverGlobal(), {}),
    "loss": (lambda: Tying(), {"loss": careless_loss}),
    "loss without a gradient": (lambda: Tying(), {"loss": teaching_loss}),
    "forward": (lambda: Tying(), {"forward": lambda net, batch: (NET(batch[0]), batch[1])}),
}


@pytest.mark.parametrize("how", CALLS)
@pytest.mark.parametrize("name", CARELESS)
def test_a_copy_that_reads_the_model_from_a_global_is_refused(make_run, weights, monkeypatch, name, how):
    make, settings = CARELESS[name]
    model = make()
    monkeypatch.setitem(globals(), "NET", model)
    run = begin(make_run, model, **settings)
    run.step(4)
    before = weights(run)
    gradients = [weight.grad.clone() for weight in model.parameters()]
    with pytest.raises(Tied, match=r"still uses model\.\w+\.\w+ .* line \d+: .*NET"):
        CALLS[how](run)
    assert torch.equal(weights(run), before)
    assert all(map(torch.equal, gradients, [weight.grad for weight in model.parameters()]))
    run.step(2)
    run.rewind(4)
    assert torch.equal(weights(run), before)


def test_a_copy_that_changes_an_attribute_of_its_original_is_refused(make_run, monkeypatch):
    model = Tying()
    model.calls = 0

    def forward(net, batch):
        NET.calls += 1
        return net(batch[0]), batch[1]

    monkeypatch.setitem(globals(), "NET", model)
    run = begin(make_run, model, forward=forward)
    run.step(4)
    with pytest.raises(Tied, match=r"changes model\.calls of the run"):
        run.branch(at=0)
    assert model.calls == 4


def test_a_tensor_that_a_run_and_its_copies_write_to_is_told_of(make_run, monkeypatch):
    def forward(net, batch):
        output = net(batch[0])
        SEEN.add_(output.detach().mean(0))
        return output, batch[1]

    run = begin(make_run, Tying(), forward=forward)
    run.step(4)
    seen = SEEN.clone()
    with pytest.warns(UserWarning, match=r"SEEN\.add_.*outside of the model"):
        run.branch(at=0)
    assert torch.equal(SEEN, seen)


@pytest.mark.parametrize("how", CALLS)
def test_what_cannot_be_copied_is_named(make_run, weights, how):
    run = begin(make_run, Holding(x for x in "abc"))
    run.step(3)
    before = weights(run)
    with pytest.raises(TypeError, match=r"model\.inside\['deep'\]\[0\] is a generator, which cannot be copied"):
        CALLS[how](run)
    run.step(1)
    run.rewind(3)
    assert torch.equal(weights(run), before)


def test_a_file_that_is_only_written_is_shared_in_words(make_run, tmp_path):
    with open(tmp_path / "log", "w") as log:
        run = begin(make_run, Holding(log))
        run.step(3)
        with pytest.warns(UserWarning, match=r"shared .*model\.inside\['deep'\]\[0\]"):
            branch = run.branch(at=1)
        assert branch.model.inside["deep"][0] is log


@pytest.mark.parametrize("make", [threading.Lock, threading.RLock, threading.Event, threading.Condition])
def test_locks_are_made_anew(make_run, make):
    run = begin(make_run, Holding(make()))
    run.step(3)
    branch = run.branch(at=1)
    assert type(branch.model.inside["deep"][0]) is type(run.model.inside["deep"][0])
    assert branch.model.inside["deep"][0] is not run.model.inside["deep"][0]
