"""Inputs of layers with few bits: ends are found in training, or on the next batch; looks leave no trace."""

import threading

import pytest
import torch
from torch import nn

import nbopt
from nbopt.techniques.compression.activation_bits import ActivationBits
from nbopt.techniques.compression.grids import round_between
from tests.techniques.compression.nets import data, make, net
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_a_grid_between_two_ends_holds_0_and_cuts_off_what_lies_beyond():
    x = torch.tensor([-3.0, -1.0, -0.1, 0.0, 0.4, 2.0, 9.0], requires_grad=True)
    rounded = round_between(x, torch.tensor([-1.0, 2.0]), 2)
    assert torch.allclose(rounded, torch.tensor([-1.0, -1.0, 0.0, 0.0, 0.0, 2.0, 2.0]))
    (slope,) = torch.autograd.grad(rounded.sum(), x)
    assert slope.tolist() == [0, 1, 1, 1, 1, 1, 0]
    positive = round_between(x, torch.tensor([0.5, 3.0]), 8)
    assert positive.min() == 0 and positive.max() == 3


def seen(run, x):
    """Return what the layers 0, 4 and 6 of a run's model get in a prediction."""
    inputs = {}
    laid = [
        run.model[k].register_forward_hook(lambda _layer, got, _out, k=k: inputs.__setitem__(k, got[0]))
        for k in (0, 4, 6)
    ]
    run.predict(x)
    for hook in laid:
        hook.remove()
    return inputs


def test_layers_get_few_values_in_training_validation_and_predictions():
    run = make(activation_bits=3)
    run.step(4)
    x = data()[0]
    got = seen(run, x)
    assert all(len(each.unique()) <= 8 for each in got.values())
    assert len(run.model[0].weight.unique()) == 36  # weights have all their bits
    with torch.no_grad():
        technique = run.training.acting.part(ActivationBits)
        model, y = run.model.eval(), x
        for index, layer in enumerate(model):
            if index in (0, 4, 6):
                y = round_between(y, technique.ends[(0, 4, 6).index(index)], 3)
            y = layer(y)
        model.train()
    assert torch.equal(run.predict(x), y)
    run.step(5)
    loss = run.history.last("val_loss")
    assert loss > 0


def test_chosen_layers_alone_get_few_values():
    run = make(activation_bits=3, bits_layers="4, 6=2")
    run.step(2)
    got = seen(run, data()[0])
    assert len(got[0].unique()) > 100 and len(got[4].unique()) <= 8 and len(got[6].unique()) <= 4


def test_a_run_at_rest_finds_the_ends_on_the_next_training_batch_and_a_look_leaves_no_trace():
    run, other = make(epochs=9), make(epochs=9)
    for each in (run, other):
        each.step(4)
    x = data()[0]
    full = run.predict(x)
    run.set(activation_bits=4)
    few = run.predict(x)
    assert not torch.equal(full, few)
    assert torch.allclose(run.predict(x[:1]), few[:1], atol=1e-6)  # whatever it is predicted with
    expected = run.training.cursor.peek()[0].aminmax()
    technique = run.training.acting.part(ActivationBits)
    assert torch.equal(technique.looked[0], torch.stack(expected))
    assert technique.ends_at == -2 and not technique.ends
    run.set(activation_bits=0)
    assert torch.equal(run.predict(x), full)
    for each in (run, other):
        each.set(activation_bits=8)
        each.step(3)
    assert all(torch.equal(a, b) for a, b in zip(run.model.parameters(), other.model.parameters(), strict=True))
    assert torch.equal(run.predict(x), other.predict(x))


def test_a_look_does_not_decide_what_later_looks_see():
    seen, unseen = make(epochs=9), make(epochs=9)
    for run in (seen, unseen):
        run.step(3)
        run.set(activation_bits=3)
    x = data()[0]
    seen.predict(x)
    for run in (seen, unseen):
        run.set(weight_bits=2)
    assert torch.equal(seen.predict(x), unseen.predict(x))
    fresh = seen.branch(at=3, weight_bits=2, activation_bits=3)
    for run in (seen, fresh):
        with torch.no_grad():
            run.model[0].weight.mul_(3.0)
    assert torch.equal(seen.predict(x), fresh.predict(x))


def test_what_has_no_next_batch_to_look_at_is_told():
    x, y = data()
    once = iter([(x[:8], y[:8]), (x[8:16], y[8:16])])

    class Once:
        def __iter__(self):
            return once

    run = nbopt.Run(net(), Once(), epochs=1, store=None)
    run.fit()
    run.set(activation_bits=4)
    with pytest.raises(ValueError, match=r"this needs the next training batch, and there is none .*read again"):
        run.predict(x)
    run.set(activation_bits=0)
    assert run.predict(x).shape == (24, 3)


def test_ends_are_running_means_that_go_back_with_the_run():
    run = make(activation_bits=4, epochs=9)
    run.step(1)
    technique = run.training.acting.part(ActivationBits)
    first = [end.clone() for end in technique.ends]
    batch = run.training.cursor.peek()[0]
    run.step(1)
    assert torch.allclose(technique.ends[0], first[0].lerp(torch.stack(batch.aminmax()), 0.1))
    run.rewind(1)
    assert all(torch.equal(a, b) for a, b in zip(technique.ends, first, strict=True))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.attention = nn.LSTM(6, 8, batch_first=True), nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x, _state = self.rnn(x[:, 0])
        x, _weights = self.attention(x, x, x)
        return self.head(x.mean(1))


def test_recurrent_layers_and_attention_have_few_bits():
    torch.manual_seed(0)
    run = make(Recurrent(), activation_bits=4, weight_bits=4, optimizer="adam")
    run.step(5)
    replay = run.replay()
    replay.wait(60)
    assert torch.equal(replay.predict(data()[0]), run.predict(data()[0]))
    weights = run.training.acting.weights()
    assert len(weights["rnn.weight_hh_l0"][0].unique()) <= 15
    assert len(weights["attention.in_proj_weight"][0].unique()) <= 15


def test_a_copy_that_could_not_round_them_is_refused():
    run = make(activation_bits=3)
    run.step(2)
    with pytest.raises(ValueError, match="cannot round activations, as this run does: turn that off"):
        run.frozen_model()
    run.set(activation_bits=0)
    x = data()[0]
    assert torch.equal(run.frozen_model()(x), run.predict(x))


class Asking(nn.Sequential):
    """Has another thread ask for a branch in the middle of the fourth step, and goes on once it has one or waits."""

    asked = None

    def forward(self, x):
        if self.asked is not None and self.training and self.asked[0].step_count == 3:
            (run, branches), self.asked = self.asked, None
            thread = threading.Thread(target=lambda: branches.append(run.branch(at=2)))
            thread.start()
            eventually(lambda: run.training.visits or not thread.is_alive())
        return super().forward(x)


def test_a_branch_asked_for_within_a_step_has_no_hooks_of_that_step():
    torch.manual_seed(0)
    model, data = Asking(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), (torch.randn(64, 4), torch.arange(64) % 3)
    run = nbopt.Run(model, data, store=None, batch_size=16, activation_bits=4)
    run.step(3)
    branches = []
    model.asked = run, branches
    run.step(9)
    eventually(lambda: branches)
    (branch,) = branches
    assert not any(layer._forward_pre_hooks for layer in branch.model)
    branch.step(10)
    for one, other in zip(run.model.parameters(), branch.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert branch.exactness == "exact"
