"""Shrinking: what goes, what stays and why, and what is computed."""

import copy

import pytest
import torch
from torch import nn

import nbopt
from nbopt.edits import CannotEdit, Shrink
from tests.edits.nets import NETS, Y
from tests.edits.shrunk import outputs
from tests.training.edited import edits, losses, same


def count(model):
    return sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("name", NETS)
def test_units_that_are_0_go_and_the_model_computes_what_it_did(make_net, name):
    run = make_net(name, zeros=True)
    small = run.change(Shrink())
    (entry,) = edits(small)
    assert entry.new["parameters"] == [count(run.model), count(small.model)]
    assert count(small.model) < 0.8 * count(run.model) and entry.new["macs"][1] < entry.new["macs"][0]
    for mode in ("eval", "train"):
        torch.testing.assert_close(outputs(small, mode), outputs(run, mode), rtol=1e-5, atol=1e-5)
    small.step(4)
    twin = small.replay()
    twin.wait()
    assert same(twin, small) and losses(twin) == losses(small) and twin.exact


@pytest.mark.parametrize("name", NETS)
def test_what_is_left_of_a_share_goes_on_exactly(make_net, name):
    run = make_net(name)
    run.step(3)
    small = run.change(Shrink(amount=0.5))
    assert count(small.model) < 0.8 * count(run.model)
    assert all(small.optimizer.state[weight]["exp_avg"].shape == weight.shape for weight in small.model.parameters())
    small.step(5)
    ahead, recorded = copy.deepcopy(small.model), losses(small)
    twin = small.replay()
    twin.wait()
    assert same(twin, small) and losses(twin) == recorded and twin.exact
    small.rewind(2)
    assert count(small.model) == count(run.model)
    small.step(1)
    small.edit(Shrink(amount=0.5))
    small.step(5)
    assert losses(small) == recorded
    small.rewind(5)
    small.step(3)
    assert all(map(torch.equal, small.model.state_dict().values(), ahead.state_dict().values())) and small.exact
    again = small.change(Shrink(amount=0.5))
    again.step(2)
    older = again.branch(at=6)
    older.step(2)
    assert count(older.model) == count(small.model) > count(again.model)
    assert older.model.state_dict().keys() == small.model.state_dict().keys()


@pytest.mark.parametrize("batch_first", [True, False])
def test_heads_go_from_attention_and_what_is_left_computes_the_same(make_run, batch_first):
    torch.manual_seed(0)
    model = Attending(batch_first)
    with torch.no_grad():
        model.attention.out_proj.weight.view(8, 4, 2)[:, 1:3] = 0.0
    run = make_run(model, (torch.randn(60, 5, 8), Y), epochs=10**6, batch_size=20, store=None)
    small = run.change(Shrink())
    assert edits(small)[0].new["reason"] == "attention: 4 → 2 heads"
    assert small.model.attention.in_proj_weight.shape == (12, 8)
    for mode in ("eval", "train"):
        torch.testing.assert_close(outputs(small, mode), outputs(run, mode), rtol=1e-5, atol=1e-5)
    x = run.spec.origin[0]
    causal, padding = torch.ones(5, 5).triu(1).bool(), torch.arange(5).expand(60, 5) > 2
    given = [x if batch_first else x.transpose(0, 1)] * 3
    for settings in ({"attn_mask": causal}, {"key_padding_mask": padding, "average_attn_weights": False}):
        one, other = (copy.deepcopy(each.model.attention)(*given, **settings) for each in (run, small))
        torch.testing.assert_close(other[0], one[0], rtol=1e-5, atol=1e-5)
    assert small.model.attention(*(x[0] for _copy in range(3)))[1].shape == (5, 5)
    small.step(3)
    twin = small.replay()
    twin.wait()
    assert same(twin, small) and twin.exact


def test_pruned_heads_end_in_a_smaller_model(make_net):
    run = make_net("transformer", sparsity=0.5, sparsity_pattern="heads")
    run.step(3)
    small = run.change(Shrink(), sparsity=0)
    assert small.model.block.self_attn.num_heads == 1
    torch.testing.assert_close(small.predict(run.spec.origin[0]), run.predict(run.spec.origin[0]), rtol=1e-5, atol=1e-5)
    small.step(2)
    small.rewind(1)
    assert type(small.model.block.self_attn) is nn.MultiheadAttention and not small.training.edits


class Attending(nn.Module):
    def __init__(self, batch_first):
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(8, 4, batch_first=batch_first), nn.Linear(8, 3)

    def forward(self, x):
        x = x if self.attention.batch_first else x.transpose(0, 1)
        x = self.attention(x, x, x)[0]
        return self.head(x.mean(1 if self.attention.batch_first else 0))


def test_the_smallest_units_go(make_run, blobs):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    run = make_run(model, epochs=9, store=None)
    small = run.change(Shrink(amount=0.5))
    largest = model[0].weight.norm(dim=1).topk(4).indices.sort().values
    assert torch.equal(small.model[0].weight, model[0].weight[largest])
    assert torch.equal(small.model[2].weight, model[2].weight[:, largest])


class Masked(nbopt.Technique):
    """Has the model compute with every second unit of one layer at 0."""

    masked = nbopt.Flag(True, label="Masked", group="Other", help="Mask units.")

    @property
    def acts(self):
        return self.masked

    def change_weights(self, weights):
        changed = {}
        for name in ("0.weight", "0.bias"):
            mask = torch.ones(weights[name].shape)
            mask[::2] = 0.0
            changed[name] = weights[name] * mask
        return {**weights, **changed}


def test_what_the_model_computes_with_is_read_where_a_technique_masks_units(make_net):
    run = make_net("mlp", techniques=[Masked])
    run.step(3)
    with pytest.raises(
        CannotEdit, match="a technique that acts has the model compute with other weights: say what turns it off"
    ):
        run.change(Shrink())
    small = run.change(Shrink(), masked=False)
    assert small.model[0].out_features == 8 and not small.hyperparams["masked"]
    torch.testing.assert_close(small.predict(run.spec.origin[0]), run.predict(run.spec.origin[0]), rtol=1e-5, atol=1e-5)
    small.step(3)
    twin = small.replay()
    twin.wait()
    assert same(twin, small) and twin.exact


def test_structured_pruning_ends_in_a_smaller_model(make_net):
    settings = {"sparsity": 0.5, "sparsity_pattern": "neurons", "sparsity_scope": "layer"}
    run = make_net("resnet", val=NETS["resnet"](1)[1], **settings)
    run.step(5)
    small = run.change(Shrink(), sparsity=0)
    assert small.model.conv1.out_channels == 3
    torch.testing.assert_close(small.predict(run.spec.origin[0]), run.predict(run.spec.origin[0]), rtol=1e-5, atol=1e-5)
    small.step(3)
    twin = small.replay()
    twin.wait()
    assert same(twin, small) and twin.exact
    for weights in (small.model.state_dict(), small.training.best_weights):  # what was pruned and could not go is 0
        assert (weights["conv2.weight"].abs().sum((1, 2, 3)) == 0).any()
    with pytest.raises(CannotEdit, match="say what turns it off"):
        run.change(Shrink())


def test_a_change_leaves_the_run_as_it_is_and_a_refused_one_too(make_net):
    run, other = make_net("mlp"), make_net("mlp")
    for each in (run, other):
        each.step(3)
    entries = len(run.journal)
    with pytest.raises(CannotEdit, match="there is no unit that it could take away"):
        run.change(Shrink())
    small = run.change(Shrink(amount=0.5), lr=0.1)
    assert len(run.journal) == entries and small.hyperparams["lr"] == 0.1 and run.hyperparams["lr"] != 0.1
    for each in (run, other):
        each.step(3)
    assert same(run, other)


def test_a_change_goes_on_from_all_that_was_changed_at_that_very_step(make_net):
    run = make_net("mlp")
    run.step(3)
    small = run.change(Shrink(amount=0.5))
    small.set(lr=0.3, batch_size=10)
    smaller = small.change(Shrink(amount=0.5), weight_decay=0.1)
    assert smaller.model[0].out_features == 4 and len(edits(smaller)) == 2
    assert [smaller.hyperparams[name] for name in ("lr", "batch_size", "weight_decay")] == [0.3, 10, 0.1]
    smaller.step(3)
    twin = smaller.replay()
    twin.wait()
    assert same(twin, smaller) and twin.exact and twin.hyperparams["lr"] == 0.3
