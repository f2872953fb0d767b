"""Widening layers of all kinds: what is computed, and what learns."""

import copy

import pytest
import torch
from torch import nn

from nbopt.edits import CannotEdit, Widen
from nbopt.edits.traversal import find_sources, read_pattern, to_pattern
from tests.edits.nets import NETS, Recurrent, Y
from tests.training.edited import edits, losses, same

LAYERS = {
    "mlp": ("0", "out_features"),
    "batch norm": ("0", "out_features"),
    "cnn": ("3", "out_channels"),
    "vgg": ("0.6", "out_channels"),
    "resnet": ("stem", "out_channels"),
    "gru": ("cells", "hidden_size"),
    "transformer": ("block.linear1", "out_features"),
    "shared": ("first", "out_features"),
    "concatenated": ("one", "out_channels"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_wider_layer_changes_nothing_at_first_and_then_learns(make_net, name):
    layer, size = LAYERS[name]
    run = make_net(name)
    run.step(3)
    wide = run.change(Widen(layer, by=5))
    before = getattr(run.model.get_submodule(layer), size)
    assert getattr(wide.model.get_submodule(layer), size) == before + 5
    x = run.spec.origin[0]
    for mode in ("eval", "train"):
        one, other = (getattr(copy.deepcopy(each.model), mode)()(x) for each in (run, wide))
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-5)
    assert all(wide.optimizer.state[weight]["exp_avg"].shape == weight.shape for weight in wide.model.parameters())
    wide.step(4)
    twin = wide.replay()
    twin.wait()
    assert same(twin, wide) and losses(twin) == losses(wide) and twin.exact
    held = wide.model(x)  # what somebody keeps of a look stands in no rewind's way
    wide.rewind(1)
    wide.step()
    assert wide.step_count == 2 and held.requires_grad


def test_layers_that_meet_in_a_residual_connection_get_wider_together(make_net):
    run = make_net("resnet")
    run.step(2)
    wide = run.change(Widen("stem", by=3))
    sizes = [wide.model.conv1.in_channels, wide.model.conv2.out_channels, wide.model.norm2.num_features]
    assert sizes == [11, 11, 11] and wide.model.head.in_features == 11
    assert edits(wide)[0].new["reason"] == "stem: 8 → 11 units"


def test_layers_and_directions_that_have_one_size_are_not_widened(make_net, make_run):
    with pytest.raises(CannotEdit, match="it has several layers or directions, which have one size"):
        make_net("lstm").change(Widen("cells", by=2))
    single = make_run(Recurrent(nn.LSTM), (torch.randn(60, 5, 4), Y), epochs=9, store=None)
    assert single.change(Widen("cells", by=2)).model.head.in_features == 10


class Sliced(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(4, 8), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(torch.relu(self.first(x))[:, 2:7])


class Projected(Recurrent):
    def __init__(self):
        super().__init__(nn.LSTM, proj_size=6)
        self.head = nn.Linear(6, 3)


GROUPED = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
UNFIT = {
    "a slice": (Sliced(), (4,), "first", "head takes some of its outputs, and not all"),
    "groups": (GROUPED, (4, 4, 4), "0", "a convolution in groups, each of which takes"),
    "projections": (Projected(), (5, 4), "cells", "an LSTM with projections"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_why_a_layer_cannot_be_widened_is_told(make_run, kind):
    model, shape, layer, words = UNFIT[kind]
    run = make_run(copy.deepcopy(model), (torch.randn(60, *shape), Y), epochs=9, store=None)
    run.step(1)
    with pytest.raises(CannotEdit, match=words):
        run.change(Widen(layer, by=2))


def test_no_edit_is_refused_as_what_it_is(make_net):
    for none in (None, "widen", Widen):
        with pytest.raises(TypeError, match=r"edit must be one of nbopt\.edits"):
            make_net("mlp").change(none)


def test_what_an_earlier_version_stored_of_a_wider_layer_is_made_alike(make_net):
    run = make_net("batch norm")
    run.step(2)
    wide = run.change(Widen("0", by=5))
    value = {key: item for key, item in edits(wide)[0].new.items() if key != "axes"}
    earlier = Widen.from_json({**value, "into": ["3"], "through": ["1"]})
    made = [
        edit.plan(run.model, torch.Generator().manual_seed(0))
        for edit in (earlier, Widen.from_json(edits(wide)[0].new))
    ]
    for name, weight in run.model.state_dict().items():
        assert torch.equal(made[0].value(name, weight), made[1].value(name, weight))


ORDERS = {
    "side by side": ([0, 1, 2], [1], [0, 1, 2, 1], [0, 1, 2, 3]),
    "in places": ([0, 0, 1, 1], [0, 1], [0, 1, 2, 3, 0, 1, 2, 3], [0, 0, 1, 1, 2, 2, 3, 3]),
    "in rounds": ([0, 1, 0, 1], [0], [0, 1, 0, 2, 3, 2], [0, 1, 2, 0, 1, 2]),
    "beside others": ([-1, 0, 1, -1], [1], [0, 1, 2, 2, 3], [-1, 0, 1, 2, -1]),
}


@pytest.mark.parametrize("kind", ORDERS)
def test_copies_stand_behind_the_last_unit_in_each_round(kind):
    indices, copied, sources, units = ORDERS[kind]
    assert find_sources(indices, copied) == (sources, units)
    assert read_pattern(to_pattern(indices)) == indices


def test_all_ten_architectures_are_tried():
    assert LAYERS.keys() | {"lstm"} == NETS.keys()
