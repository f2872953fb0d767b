"""Fusing with another trained model: by an average of aligned weights, or by one head for the features of both."""

import copy

import pytest
import torch
from torch import nn

import nbopt
from nbopt.edits import CannotEdit, Deepen, Fuse
from nbopt.edits.averaging import _holding
from nbopt.edits.written import numbers_of
from tests.edits.nets import NETS
from tests.edits.test_modules import follow
from tests.training.edited import edits, losses, same


def trained(name, seed=1):
    """Return another model of the same kind, whose batch normalization has seen data too."""
    model, (x, y) = NETS[name](seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _step in range(8):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("name", NETS)
def test_the_other_model_computes_the_same_in_another_order_and_is_averaged(make_net, name):
    run, other = make_net(name), trained(name)
    run.step(3)
    x = run.spec.origin[0]
    fused = run.change(Fuse(other, share=0.25))
    (entry,) = edits(fused)
    assert entry.new["moved"] > 0 and entry.new["parameters"][0] == entry.new["parameters"][1]
    alone = Fuse(other, share=1 - 2**-52, **{key: entry.new[key] for key in ("axes", "orders")})  # all but the other's
    numbers = alone.plan(run.model, None).numbers
    ours, theirs = run.model.eval(), other.eval()
    expected = theirs(x)
    with _holding(ours, numbers):
        torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5)
    named, ordered = dict(run.model.named_parameters()), dict(fused.model.named_parameters())
    for key, weight in ordered.items():
        torch.testing.assert_close(weight, 0.75 * named[key] + 0.25 * numbers[key], rtol=1e-5, atol=1e-6)
    apart = [sum(((one[key] - named[key]) ** 2).sum() for key in named) for one in (numbers_of(other), numbers)]
    assert apart[1] < apart[0]
    ours.train()
    if name == "batch norm":
        fused.step(4)
        follow(fused, Fuse(other, share=0.25), 3, len(list(run.model.parameters())))


@pytest.mark.parametrize("name", NETS)
def test_one_head_for_two_models_of_other_families_begins_at_the_mean_of_both(make_net, name):
    run = make_net(name)
    run.step(3)
    x = run.spec.origin[0]
    with torch.random.fork_rng():
        torch.manual_seed(5)
        other = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Linear(7, 3))
    other(x)
    fused = run.change(Fuse(other, "features", 0.25))
    wanted = 0.75 * run.model.eval()(x) + 0.25 * other.eval()(x)
    torch.testing.assert_close(copy.deepcopy(fused.model).eval()(x), wanted, rtol=1e-5, atol=1e-5)
    (entry,) = edits(fused)
    more = sum(weight.numel() for weight in other.parameters()) - 3  # biases are one
    assert (
        entry.new["parameters"][1] - entry.new["parameters"][0] == more and entry.new["macs"][1] > entry.new["macs"][0]
    )
    run.model.train()
    if name != "gru":
        return
    before = copy.deepcopy(fused.model.state_dict())
    fused.step(4)
    assert all(
        not torch.equal(before[key], weight) for key, weight in fused.model.named_parameters() if ".other." in key
    )
    follow(fused, Fuse(other, "features", 0.25), 3, len(list(run.model.parameters())))
    assert other[1].weight.grad is None  # a copy of it trains


def test_batch_normalization_is_measured_anew_on_training_data(make_net):
    run = make_net("resnet", batch_size=60)
    run.step(3)
    x = run.spec.origin[0]
    fused = run.change(Fuse(trained("resnet")))
    twin = copy.deepcopy(fused.model).train()
    for layer in twin.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = 1.0
    twin(x)
    for key, buffer in twin.named_buffers():
        if not key.endswith("tracked"):
            torch.testing.assert_close(fused.model.get_buffer(key), buffer, rtol=1e-4, atol=1e-5)


def test_the_optimizer_goes_on_and_best_weights_stay_what_they_were(make_net):
    _model, data = NETS["mlp"]()
    run = make_net("mlp", val=data, validate_every=2)
    run.step(4)
    best = copy.deepcopy(run.training.best_weights)
    averaged, joined = run.change(Fuse(trained("mlp"))), run.change(Fuse(trained("mlp"), "features"))
    assert all(torch.equal(best[key], value) for key, value in averaged.training.best_weights.items())
    assert joined.training.best_weights.keys() == joined.model.state_dict().keys()
    state = run.optimizer.state
    for key, weight in run.model.named_parameters():
        assert torch.equal(
            averaged.optimizer.state[averaged.model.get_parameter(key)]["exp_avg"], state[weight]["exp_avg"]
        )
    known = joined.optimizer.state[joined.model[4].head.weight]["exp_avg"]
    assert torch.equal(known[:, :8], state[run.model[4].weight]["exp_avg"]) and not known[:, 8:].any()


def test_a_run_stands_for_its_model_and_frozen_weights_stay_frozen(make_net):
    run, other = make_net("mlp"), make_net("cnn")
    with pytest.raises(CannotEdit, match="the other model cannot be given this one's inputs"):
        run.step(1)
        other.step(1)
        run.change(Fuse(other, "features"))
    other = make_net("mlp", seed=3, batch_size=12)
    other.step(5)
    for given, trains in ((other, True), (other.frozen_model(), False)):
        fused = run.change(Fuse(given, "features"))
        assert all(weight.requires_grad is trains for weight in fused.model[4].other.parameters())
    twin = fused.replay()
    twin.wait()
    assert same(twin, fused) and not any(weight.requires_grad for weight in twin.model[4].other.parameters())


@pytest.mark.parametrize("how", ["average", "features"])
def test_a_fused_run_is_opened_with_the_other_model_given_again(make_net, tmp_path, how):
    run, other = make_net("vgg", store=tmp_path), trained("vgg")
    run.step(3)
    fused = run.change(Fuse(other, how))
    with torch.no_grad():
        changed = copy.deepcopy(other)
        next(changed.parameters()).add_(1)
    fused.step(2)
    fused.edit(Deepen("1.2"))
    fused.step(2)
    model, data = NETS["vgg"]()
    with pytest.raises(ValueError, match=r"made with edits Sequential [0-9a-f]{8}: only you have it: .*edits="):
        nbopt.open(fused.id, model, data, store=tmp_path)
    with pytest.raises(ValueError, match=r"it was fused with Sequential .*, now there is Sequential"):
        nbopt.open(fused.id, model, data, store=tmp_path, edits=Fuse(changed))
    with pytest.raises(TypeError, match="edits must be edits"):
        nbopt.open(fused.id, model, data, store=tmp_path, edits=3)
    opened = nbopt.open(fused.id, model, data, store=tmp_path, edits=[Fuse(other)])
    assert same(opened, fused) and opened.exact is not False
    opened.step(2)
    twin = opened.replay()
    twin.wait()
    assert same(twin, opened) and losses(twin) == losses(opened)
    opened.rewind(4)
    opened.rewind(1)
    assert same(opened, run.branch(at=1))


def _other(kind):
    return {
        "outputs": nn.Linear(4, 5),
        "width": nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 9), nn.ReLU(), nn.Linear(9, 3)),
        "function": nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)),
        "softmax": nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)),
        "no head": nn.Sequential(nn.Conv1d(4, 3, 1), nn.Flatten()),
        "no bias": nn.Sequential(nn.Tanh(), nn.Linear(4, 3, bias=False)),
        "all head": nn.Linear(4, 3),
    }[kind]


REFUSED = {
    "outputs": ("features", "the model puts out 3, and the other one 5"),
    "width": ("average", "weight 2.weight is 8 x 16 float32 here, and 9 x 16 float32 in the other model.*features"),
    "function": ("average", r"layer 1 is Tanh\(\) here, and ReLU\(\) in the other model"),
    "softmax": ("features", "the outputs of the other model are not those of its last linear layer, 0"),
    "no head": ("features", "cannot be given this one's inputs"),
    "no bias": ("features", "has a bias and the other has none"),
    "all head": ("features", "is all of it"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_fused_is_refused_in_words(make_net, kind):
    how, words = REFUSED[kind]
    run, like = make_net("mlp"), make_net("mlp")
    run.step(2)
    like.step(2)
    with pytest.raises(CannotEdit, match=words):
        run.change(Fuse(_other(kind), how))
    with pytest.raises(CannotEdit, match="the other model is the run's own"):
        run.change(Fuse(run, how))
    run.step(2)
    like.step(2)
    assert same(run, like)


class Flipped(nn.Module):
    """Says in its own code what it does, which no comparison of layers shows."""

    def __init__(self, sign):
        super().__init__()
        self.first, self.head, self.sign = nn.Linear(4, 8), nn.Linear(8, 3), sign

    def forward(self, x):
        return self.sign * self.head(torch.relu(self.first(x)))


def test_what_own_code_makes_other_is_found_by_what_is_computed(make_run, blobs):
    run = make_run(Flipped(1.0), blobs, epochs=10**6, batch_size=20, store=None)
    run.step(2)
    with pytest.raises(CannotEdit, match="the run's computes something else"):
        run.change(Fuse(Flipped(-1.0)))
    with pytest.raises(CannotEdit, match="the outputs of the other model are not those of its last linear layer"):
        run.change(Fuse(Flipped(-1.0), "features"))


ILLEGAL = [
    (lambda: Fuse("best"), TypeError, "must be a torch.nn.Module, a run"),
    (lambda: Fuse(nn.Linear(2, 2), share=1), ValueError, "share must be"),
    (lambda: Fuse(nn.Linear(2, 2), how="mean"), ValueError, "way to fuse models"),
]


@pytest.mark.parametrize("number", range(len(ILLEGAL)))
def test_illegal_settings_are_refused_at_once(number):
    make, error, words = ILLEGAL[number]
    with pytest.raises(error, match=words):
        make()
