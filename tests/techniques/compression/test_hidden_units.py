"""Hidden units of recurrent layers and heads: pulled to zero and pruned as a whole, and then taken away."""

import pytest
import torch
from torch import nn

import nbopt
from nbopt.techniques.compression.group_lasso import find_groups
from nbopt.techniques.compression.units import find_neurons
from nbopt.testing import check_run

pytestmark = pytest.mark.usefixtures("one_torch_thread")


class Recurrent(nn.Module):
    """A recurrent layer and what tells classes by its last output."""

    def __init__(self, kind, **settings):
        super().__init__()
        self.rnn = kind(6, 8, batch_first=True, **settings)
        self.head = nn.Linear(8 * (1 + self.rnn.bidirectional), 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class Attentive(nn.Module):
    """An attention layer of four heads between two linear ones."""

    def __init__(self):
        super().__init__()
        self.first, self.attention = nn.Linear(6, 8), nn.MultiheadAttention(8, 4, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.first(x)
        return self.head(self.attention(x, x, x)[0].mean(1))


def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 5, 6, generator=generator)
    return x, torch.arange(40) % 3


def seeded(make):
    def made():
        torch.manual_seed(0)
        return make()

    return made


def make(model, **settings):
    settings = {"batch_size": 10, "epochs": 20, "optimizer": "sgd", "lr": 0.05, "store": None, **settings}
    return nbopt.Run(seeded(model)(), data(), **settings)


KINDS = {
    "GRU": lambda: Recurrent(nn.GRU),
    "LSTM": lambda: Recurrent(nn.LSTM),
    "two layers, both directions": lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True),
    "tanh without bias": lambda: Recurrent(nn.RNN, bias=False),
}


@pytest.mark.parametrize("name", KINDS)
def test_hidden_units_are_pruned_in_all_gates_and_then_taken_away(name):
    run = make(KINDS[name], sparsity=0.5, sparsity_pattern="neurons", sparsity_scope="layer")
    run.step(5)
    weights = run.training.acting.weights()
    gates = {nn.GRU: 3, nn.LSTM: 4, nn.RNN: 1}[type(run.model.rnn)]
    for key, weight in weights.items():
        if key.startswith("rnn."):
            rows = weight.detach().reshape(gates, 8, -1).movedim(1, 0).flatten(1)
            assert int((rows == 0).all(1).sum()) == 4, key
    small = run.change(nbopt.edits.Shrink(), sparsity=0.0)
    assert small.model.rnn.hidden_size == 4
    assert torch.allclose(small.predict(data()[0]), run.predict(data()[0]), atol=1e-5)
    small.step(2)


def test_units_that_are_projected_stay():
    model = Recurrent(nn.LSTM, proj_size=3)
    model.head = nn.Linear(3, 3)
    assert find_neurons(model) == []
    with pytest.raises(nbopt.errors.InvalidHyperparam, match="convolutional or recurrent layer but its last"):
        nbopt.Run(model, data(), sparsity=0.5, sparsity_pattern="neurons", epochs=1, store=None)


def penalty(model, of):
    """Return the sum of the norms of hidden units, or heads, written out."""
    total = 0.0
    if of == "heads":
        layer = model.attention
        rows, columns = layer.in_proj_weight.view(3, 4, 2, 8), layer.out_proj.weight.view(8, 4, 2)
        return sum((rows[:, n].square().sum() + columns[:, n].square().sum()).sqrt() for n in range(4))
    into, hidden = model.rnn.weight_ih_l0.view(4, 8, 6), model.rnn.weight_hh_l0.view(4, 8, 8)
    total = sum((into[:, n].square().sum() + hidden[:, n].square().sum()).sqrt() for n in range(8))
    return total + sum(model.head.weight[n].square().sum().sqrt() for n in range(3))


@pytest.mark.parametrize(("kind", "of"), [(KINDS["LSTM"], "neurons"), (Attentive, "heads")], ids=["LSTM", "heads"])
def test_steps_descend_on_the_norms_of_whole_units(kind, of):
    plain, model = seeded(kind)(), seeded(kind)()
    run = nbopt.Run(
        model, data(), group_lasso=0.03, group_lasso_of=of, optimizer="sgd", lr=0.1, batch_size=40, epochs=9, store=None
    )
    x, y = run.training.cursor.peek()
    run.step(1)
    (nn.functional.cross_entropy(plain(x), y) + 0.03 * penalty(plain, of)).backward()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs - 0.1 * theirs.grad, rtol=1e-4, atol=1e-6)


def test_it_is_repeated_stored_and_exported_and_heads_are_refused_where_there_are_none():
    settings = {"sparsity": 0.4, "sparsity_pattern": "neurons", "group_lasso": 0.05}
    check_run(seeded(KINDS["GRU"]), data(), {"group_lasso": 0.2, "sparsity": 0.6}, **settings)
    with pytest.raises(nbopt.errors.InvalidHyperparam, match=r"no nn\.MultiheadAttention, whose heads could be groups"):
        make(KINDS["GRU"], group_lasso=0.1, group_lasso_of="heads")
    assert [part[0] for part in find_groups(KINDS["GRU"](), "neurons")[0]][:2] == [
        "rnn.weight_ih_l0",
        "rnn.weight_hh_l0",
    ]
