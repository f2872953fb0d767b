"""Edits that put other modules in the place of some: factors, layers that are added, and weights that are shared."""

import copy

import pytest
import torch
from torch import nn

from nbopt.edits import CannotEdit, Deepen, Factorize, Share
from nbopt.edits.modules import Clustered, LowRank
from tests.edits.nets import NETS, Y
from tests.training.edited import edits, losses, same

LAYERS = {
    "mlp": "1",
    "batch norm": "2",
    "cnn": "1",
    "vgg": "0.3",
    "resnet": "conv1",
    "gru": "head",
    "lstm": "head",
    "transformer": "embed",
    "shared": "again",
    "concatenated": "both",
}


@pytest.mark.parametrize("name", NETS)
def test_a_layer_that_is_added_changes_nothing_at_first_and_then_learns(make_net, name):
    run = make_net(name)
    run.step(3)
    deep = run.change(Deepen(LAYERS[name]))
    x = run.spec.origin[0]
    for mode in ("eval", "train"):
        one, other = (getattr(copy.deepcopy(each.model), mode)()(x) for each in (run, deep))
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-5)
    known = {key for key, weight in deep.model.named_parameters() if weight in deep.optimizer.state}
    assert len(known) == len(list(run.model.parameters()))
    before = copy.deepcopy(deep.model)
    deep.step(4)
    new = [key for key, _weight in before.named_parameters() if key not in known]
    assert new and any(not torch.equal(before.get_parameter(key), deep.model.get_parameter(key)) for key in new)
    follow(deep, Deepen(LAYERS[name]), 3, len(list(run.model.parameters())))


def follow(changed, edit, at, weights):
    """Hold that a changed run is repeated, goes back over the edit and forth, and branches on both sides of it."""
    recorded, ahead = losses(changed), copy.deepcopy(changed.model)
    done = changed.step_count - at
    twin = changed.replay()
    twin.wait()
    assert same(twin, changed) and losses(twin) == recorded and twin.exact
    changed.rewind(at - 1)
    assert len(list(changed.model.parameters())) == weights
    changed.step(1)
    changed.edit(edit)
    changed.step(done)
    assert losses(changed) == recorded
    changed.rewind(at + 1)
    changed.step(done - 1)
    assert all(map(torch.equal, changed.model.state_dict().values(), ahead.state_dict().values())) and changed.exact
    older, newer = changed.branch(at=at - 1), changed.branch(at=at + 1)
    assert len(list(older.model.parameters())) == weights
    newer.step(done - 1)
    assert same(newer, changed)


OPTIMIZERS = {
    "adam": lambda model: "adam",
    "groups": lambda model: torch.optim.Adagrad(
        [{"params": list(model[0].parameters()), "lr": 0.1}, {"params": [*model[2].parameters()]}], lr=0.01
    ),
    "lbfgs": lambda model: "lbfgs",
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("edit", [Factorize(rank=1), Deepen("0"), Share("0", clusters=4)], ids=lambda edit: edit.kind)
def test_other_modules_go_on_with_any_optimizer_and_in_the_group_of_what_they_replace(make_run, blobs, edit, optimizer):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    run = make_run(
        model, blobs, optimizer=OPTIMIZERS[optimizer](model), val=blobs, epochs=10**6, batch_size=20, store=None
    )
    run.step(4)
    changed = run.change(edit)
    for group, layers in zip(
        changed.optimizer.param_groups, ([0], [2]) if optimizer == "groups" else ([0, 2],), strict=True
    ):
        held = {id(weight) for weight in group["params"]}
        assert held == {id(weight) for layer in layers for weight in changed.model[layer].parameters()}
    assert changed.training.best_weights.keys() == changed.model.state_dict().keys()
    changed.step(4)
    changed.rewind(2)
    assert type(changed.model[0]) is nn.Linear
    changed.step(2)
    changed.edit(edit)
    changed.step(4)
    twin = changed.replay()
    twin.wait()
    assert same(twin, changed) and twin.exact


@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer"])
def test_a_layer_becomes_two_of_the_rank_that_keeps_most(make_net, name):
    run = make_net(name)
    run.step(3)
    small = run.change(Factorize(energy=0.8))
    (entry,) = edits(small)
    assert entry.new["parameters"][1] < entry.new["parameters"][0] and 0 < entry.new["change"] < 1
    for layer, rank in entry.new["ranks"]:
        weight = run.model.get_submodule(layer).weight.detach().flatten(1)
        values = torch.linalg.svdvals(weight).square()
        assert values[:rank].sum() >= 0.8 * values.sum() > values[: rank - 1].sum()
        left, scale, right = torch.linalg.svd(weight, full_matrices=False)
        best = (left[:, :rank] * scale[:rank]) @ right[:rank]
        torch.testing.assert_close(small.model.get_submodule(layer).weight.flatten(1), best, rtol=1e-4, atol=1e-5)
    small.step(4)
    follow(small, Factorize(energy=0.8), 3, len(list(run.model.parameters())))


def test_a_convolution_of_full_rank_computes_what_it_did():
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    made = Factorize(rank=8, layers="0", ranks=(("0", 8),)).plan(nn.Sequential(layer), None).modules["0"]
    x = torch.randn(2, 3, 9, 9)
    torch.testing.assert_close(made(x), layer(x), rtol=1e-5, atol=1e-5)
    assert isinstance(made, LowRank) and made.bias is layer.bias


def test_layers_that_share_are_one_and_take_the_gradients_of_all(make_run, blobs):
    torch.manual_seed(0)
    layers = [nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)]
    run = make_run(nn.Sequential(*layers), blobs, epochs=10**6, batch_size=20, store=None)
    run.step(3)
    tied = run.change(Share(["2", "4"]))
    assert tied.model[2] is tied.model[4] and edits(tied)[0].new["change"] > 0
    assert torch.equal(tied.model[2].weight, run.model[2].weight)
    tied.step(4)
    assert tied.model[2] is tied.model[4]
    follow(tied, Share(["2", "4"]), 3, 8)
    with pytest.raises(CannotEdit, match="0, 2: they are not alike"):
        run.change(Share(["0", "2"]))
    with pytest.raises(CannotEdit, match="there is no other layer that 0"):
        run.change(Share(["0"]))


@pytest.mark.parametrize("name", ["mlp", "concatenated"])
def test_clustered_weights_have_few_values_that_learn(make_net, name):
    run = make_net(name)
    run.step(3)
    small = run.change(Share("*", clusters=8))
    assert 0 < edits(small)[0].new["change"] < 0.2
    layers = [module for module in small.model.modules() if isinstance(module, Clustered)]
    assert name == "mlp" or type(small.model.other) is nn.Conv2d  # which has four numbers
    assert layers and all(len(layer.weight.unique()) <= 8 for layer in layers)
    small.step(4)
    assert all(len(layer.weight.unique()) <= 8 for layer in layers)
    follow(small, Share("*", clusters=8), 3, len(list(run.model.parameters())))


def test_clusters_are_those_of_k_means():
    from sklearn.cluster import KMeans

    from nbopt.edits.clusters import find_clusters

    weight = torch.randn(12, 20, generator=torch.Generator().manual_seed(0))
    means, places = find_clusters(weight, 6)
    start = torch.linspace(weight.min(), weight.max(), 6).reshape(-1, 1).double().numpy()
    known = KMeans(6, init=start, n_init=1, tol=0.0).fit(weight.double().reshape(-1, 1).numpy())
    torch.testing.assert_close(means.double().numpy(), known.cluster_centers_[:, 0], rtol=1e-5, atol=1e-6)
    assert places.reshape(-1).tolist() == known.labels_.tolist()


def test_a_sharing_weight_of_an_encoder_layer_is_factorized_past_its_fast_path(make_net):
    run = make_net("transformer")
    run.step(2)
    small = run.change(Factorize(rank=2, layers="block.linear*"))
    small.model.eval()
    with torch.no_grad():  # where torch's encoder layer reads the weights of its layers
        small.model(run.spec.origin[0])


REFUSED = {
    "slip of the pen": (Deepen("hed"), "unknown layer 'hed'"),
    "another name": (Factorize(rank=2, layers="conv*"), "unknown layer 'conv\\*'"),
    "saves nothing": (Factorize(rank=8), "it would save no weights of 0, 2"),
    "no matrix": (Factorize(rank=1, layers="1"), "none of these layers is a linear one"),
    "a ReLU keeps its width": (Deepen("3", width=4), "a layer behind a ReLU has as many units as it"),
    "few numbers": (Share("4", clusters=64), "4: none has more than 64 numbers"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_done_is_refused_in_words(make_net, kind):
    edit, words = REFUSED[kind]
    run, other = make_net("mlp"), make_net("mlp")
    for each in (run, other):
        each.step(2)
    with pytest.raises(ValueError, match=words):
        run.change(edit)
    for each in (run, other):
        each.step(2)
    assert same(run, other)


ILLEGAL = [
    (lambda: Factorize(), "give rank"),
    (lambda: Factorize(rank=0), "rank must be"),
    (lambda: Factorize(energy=2), "energy must be"),
    (lambda: Deepen(3), "after must be"),
    (lambda: Deepen("0", width=0), "width must be"),
    (lambda: Share([]), "layers must be names"),
    (lambda: Share("0", clusters=1), "clusters must be"),
]


@pytest.mark.parametrize("number", range(len(ILLEGAL)))
def test_illegal_settings_are_refused_at_once(number):
    make, words = ILLEGAL[number]
    with pytest.raises(ValueError, match=words):
        make()


def test_a_model_with_other_modules_is_opened_from_the_store(make_net, tmp_path):
    run = make_net("mlp", store=tmp_path)
    run.step(3)
    changed = run.change(Factorize(rank=2))
    changed.step(2)
    changed.edit(Deepen("1"))
    changed.step(2)
    changed.edit(Share("2.0", clusters=8))
    changed.step(2)
    import nbopt

    model, data = NETS["mlp"]()
    opened = nbopt.open(changed.id, model, data, store=tmp_path)
    assert same(opened, changed) and opened.exact is not False
    opened.step(2)
    twin = opened.replay()
    twin.wait()
    assert same(twin, opened)
    opened.rewind(4)
    opened.rewind(1)
    assert same(opened, run.branch(at=1)) and Y is data[1]
