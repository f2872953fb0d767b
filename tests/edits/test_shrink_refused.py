"""What cannot shrink is named, and what nobody writes is no edit."""

import pytest
import torch
from torch import nn

import nbopt
from nbopt.edits import CannotEdit, Merge, Shrink
from nbopt.store.database import store_in
from nbopt.store.reading import read
from nbopt.store.schema import StoreError
from tests.edits.nets import NETS, Recurrent, Y
from tests.edits.shrunk import outputs
from tests.training.edited import edits


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.norm(self.first(x)))


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.randn(4, 8)), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(torch.relu(x @ self.weight))


class Fixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(4, 8), nn.Linear(2, 3)

    def forward(self, x):
        return self.head(torch.relu(self.first(x)).reshape(-1, 4, 2).sum(1))


class Held(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = torch.relu(self.second(torch.relu(self.first(x))))
        return self.head(torch.softmax(x, 1))


REFUSED = {
    "layer norm": (Normed, "first: its outputs go through layer_norm, which may join units"),
    "no layer": (Functional, "no unit that it could take away"),
    "reshaped": (Fixed, "first: its outputs go through sum, which may join units"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_shrink_is_named(make_run, kind):
    maker, words = REFUSED[kind]
    run = make_run(maker(), epochs=9, store=None)
    run.step(2)
    with pytest.raises(CannotEdit, match=words):
        run.change(Shrink(amount=0.5))
    run.step(2)


def test_what_stays_is_named_in_the_journal(make_run):
    run = make_run(Held(), epochs=9, store=None)
    run.step(2)
    small = run.change(Shrink(amount=0.5))
    words = edits(small)[0].new["reason"]
    assert words == "first: 8 → 4 units; not second: its outputs go through softmax, which may join units"
    only = run.change(Shrink(amount=0.25, layers="fir*"))
    assert edits(only)[0].new["reason"] == "first: 8 → 6 units"


def test_a_layer_that_is_not_there_and_a_share_of_no_unit_are_said(make_net):
    run = make_net("mlp")
    for edit in (Shrink(amount=0.5, layers="hiden"), Merge(layers=["0", "hiden"])):
        with pytest.raises(ValueError, match="unknown layer 'hiden'"):
            run.change(edit)
    with pytest.raises(CannotEdit, match=r"amount=0\.01 is less than one unit of each layer: take more"):
        run.change(Shrink(amount=0.01))


@pytest.mark.parametrize("amount", [1, -0.1, True, "half", None])
def test_an_illegal_share_is_refused(amount):
    with pytest.raises(ValueError, match="amount must be a number from 0 to below 1"):
        Shrink(amount)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_layers_and_directions_of_a_recurrent_module_keep_one_size(make_run, kind):
    torch.manual_seed(0)
    model = Recurrent(kind, num_layers=2)
    with torch.no_grad():
        for name, weight in model.cells.named_parameters():
            gone = slice(0, 3) if "l0" in name else slice(4, 8)  # three units of one, four of the other
            weight.view(-1, 8, *weight.shape[1:])[:, gone] = 0.0
    run = make_run(model, (torch.randn(60, 5, 4), Y), epochs=9, store=None)
    small = run.change(Shrink())
    assert small.model.cells.hidden_size == 5
    torch.testing.assert_close(outputs(small), outputs(run), rtol=1e-5, atol=1e-5)


SPOILT = [{"keep": {"0.weight": [[0, [[4, 2]]]]}}, {"keep": {"9.weight": [[0, [[0, 2]]]]}}, {"macs": 3}, {"amount": 7}]


@pytest.mark.parametrize("change", SPOILT, ids=str)
def test_an_edit_that_nobody_writes_is_no_edit(make_net, tmp_path, change):
    run = make_net("mlp", store=tmp_path)
    run.step(3)
    small = run.change(Shrink(amount=0.5))
    small.step(1)
    record = read(small.id, tmp_path)
    (number,) = (k for k, entry in enumerate(record.journal) if entry.name == "edit")
    value = {**record.journal[number].new, **change}
    small.recorder.leave()
    store = store_in(tmp_path)
    store.add_entries(small.id, number, [record.journal[number]._replace(new=value), *record.journal[number + 1 :]])
    model, data = NETS["mlp"]()
    with pytest.raises(StoreError, match="is spoilt"):
        nbopt.open(small.id, model, data, store=tmp_path)
