"""Joining units that do nearly the same."""

import copy

import pytest
import torch
from torch import nn

from nbopt.edits import CannotEdit, Merge
from tests.edits.nets import NETS, UNITS
from tests.training.edited import edits, losses, same


def double(model, name, noise=0.0):
    """Make a unit of each layer the same as the one before it."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layers in UNITS[name]:
            for layer in layers:
                module = model.get_submodule(layer)
                size = getattr(module, "hidden_size", None)
                for key, weight in module.named_parameters():
                    rows = weight.view(-1, size, *weight.shape[1:]) if size else weight[None]
                    rows[:, 1] = rows[:, 0] * (1 + noise * torch.randn(rows[:, 0].shape, generator=generator))
                    if key.startswith("weight_hh") or (
                        layer == "again" and weight.ndim > 1
                    ):  # what it takes of itself and of its like
                        weight[:, 1] = weight[:, 0]
                        rows[:, 1] = rows[:, 0]


@pytest.mark.parametrize("name", [name for name in NETS if name != "lstm"])
def test_units_that_are_the_same_become_one_and_nothing_changes(make_run, name):
    model, data = NETS[name]()
    double(model, name)
    run = make_run(model, data, epochs=10**6, batch_size=20, store=None)
    merged = run.change(Merge(distance=1e-6))
    (entry,) = edits(merged)
    assert entry.new["change"] < 1e-5 and entry.new["parameters"][1] < entry.new["parameters"][0]
    assert all(after == before - 1 for _layer, before, after in entry.new["sizes"])
    for mode in ("eval", "train"):
        one, other = (getattr(copy.deepcopy(each.model), mode)()(data[0]) for each in (run, merged))
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-5)
    merged.step(3)
    twin = merged.replay()
    twin.wait()
    assert same(twin, merged) and losses(twin) == losses(merged) and twin.exact


@pytest.mark.parametrize(("by", "distance"), [("weights", 0.1), ("activations", 0.3)])
def test_what_is_nearly_the_same_is_joined_and_the_change_measured(make_run, by, distance):
    model, data = NETS["cnn"]()
    double(model, "cnn", noise=0.005)
    run = make_run(model, data, optimizer="adam", epochs=10**6, batch_size=20, store=None)
    run.step(2)
    merged = run.change(Merge(distance=distance, by=by, layers=["0", "3"]))
    (entry,) = edits(merged)
    assert [layer for layer, _before, _after in entry.new["sizes"]] == ["0", "3"] and 0 < entry.new["change"] < 0.1
    assert all(
        merged.optimizer.state[weight]["exp_avg_sq"].shape == weight.shape for weight in merged.model.parameters()
    )
    merged.step(3)
    recorded = losses(merged)
    merged.rewind(1)
    assert merged.model[0].out_channels == 6
    merged.step(1)
    merged.edit(Merge(distance=distance, by=by, layers=["0", "3"]))
    merged.step(3)
    assert losses(merged) == recorded and merged.exact


def test_units_that_differ_are_left_and_it_is_said(make_net):
    run = make_net("mlp")
    with pytest.raises(CannotEdit, match=r"no two units of a layer are as near as 0\.01"):
        run.change(Merge(distance=0.01))


@pytest.mark.parametrize(
    ("settings", "words"), [({"distance": -1}, "distance must be"), ({"by": "chance"}, "way to compare")]
)
def test_illegal_settings_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Merge(**settings)


def test_what_goes_on_is_the_sum_of_what_all_gave_on(make_run, blobs):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3))
    with torch.no_grad():
        model[0].weight[2], model[0].bias[2] = model[0].weight[0], model[0].bias[0]
    merged = make_run(model, blobs, epochs=9, store=None).change(Merge(distance=0.0))
    expected = torch.stack([model[2].weight[:, 0] + model[2].weight[:, 2], model[2].weight[:, 1]], 1)
    assert torch.equal(merged.model[2].weight, expected)
