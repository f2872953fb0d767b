"""When an edit takes place among steps, validations and replays, and what looking ahead at one leaves."""

import random

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nbopt
from tests.training.edited import edits, losses, same


class Moody(nn.Module):
    """Counts its calls, draws noise, and depends on both."""

    def __init__(self):
        super().__init__()
        self.hidden, self.last, self.calls = nn.Linear(4, 16), nn.Linear(16, 3), 0
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, x):
        self.calls += 1
        self.seen += 1
        x = torch.relu(self.hidden(x)) * (1 + 0.01 * self.calls)
        return self.last(x + 0.1) + 0.1 * torch.rand(()) + random.random() + self.seen


@pytest.mark.parametrize("kind", ["tensors", "loader", "workers", "stream"])
def test_looking_at_what_an_edit_would_do_leaves_no_trace(make_run, blobs, kind):
    torch.manual_seed(0)
    given = {"tensors": {"train": blobs, "batch_size": 20}}
    loaders = {"loader": {}, "workers": {"num_workers": 1}}
    for name, settings_ in loaders.items():
        given[name] = {"train": DataLoader(TensorDataset(*blobs), batch_size=20, shuffle=True, **settings_)}
    batches = [(blobs[0][k : k + 20], blobs[1][k : k + 20]) for k in (0, 20, 40)]
    given["stream"] = {"train": DataLoader(batches, batch_size=None)}
    run = make_run(Moody(), epochs=10**6, store=None, **given[kind])
    run.step(4)
    branch = run.branch(at=4)
    with pytest.raises(ValueError, match="unknown layer"):
        branch.edit(nbopt.Widen("hiden", by=2))
    with pytest.raises(ValueError, match="its outputs are those of the model"):
        branch.edit(nbopt.Widen("last", by=2))
    branch.step(3)
    run.step(3)
    assert same(run, branch) and losses(run) == losses(branch)
    branch.edit(nbopt.Widen("hidden", by=2))
    branch.step(3)
    twin = branch.replay()
    twin.wait()
    assert same(twin, branch) and losses(twin) == losses(branch)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.digit, self.angle = nn.Linear(4, 16), nn.Linear(16, 3), nn.Linear(16, 1)

    def forward(self, x):
        hidden = torch.relu(self.body(x))
        return {"digit": self.digit(hidden), "angle": self.angle(hidden)[:, 0]}


def test_a_layer_that_several_outputs_take_is_widened_for_all_of_them(make_run, blobs):
    torch.manual_seed(0)
    data = (blobs[0], {"digit": blobs[1], "angle": blobs[0][:, 0]})
    run = make_run(Two(), data, loss={"digit": "cross_entropy", "angle": (0.3, "mse")}, epochs=99, store=None)
    run.step(3)
    before = run.predict(blobs[0])
    branch = run.branch(at=3, edit=nbopt.Widen("body", by=4))
    after = branch.predict(blobs[0])
    for name in ("digit", "angle"):
        torch.testing.assert_close(after[name], before[name], rtol=1e-5, atol=1e-5)
    assert branch.model.digit.in_features == branch.model.angle.in_features == 20
    branch.step(3)
    twin = branch.replay()
    twin.wait()
    assert same(twin, branch)
    with pytest.raises(ValueError, match="its outputs are those of the model"):
        run.branch(at=3, edit=nbopt.Widen("digit", by=4))


def test_an_edit_asked_for_ahead_of_a_validation_comes_after_it(make, blobs):
    run = make(val=blobs)
    run.step(1)
    branch = run.branch(at=1)
    branch.step(1)
    for event in branch.events():  # to the end of an epoch, whose validation is due
        if type(event).__name__ == "Stepped" and branch.training.validation_due:
            break
    branch.edit(nbopt.Widen("0", by=5))
    assert not edits(branch) and not branch.pending
    branch.step(4)
    assert [entry.step for entry in edits(branch)] == [3]
    twin = branch.replay()
    twin.wait()
    assert same(twin, branch)
    assert twin.history["val_loss"][1].tolist() == branch.history["val_loss"][1].tolist()


ACTIVATIONS = [
    nn.ReLU, nn.ReLU6, nn.GELU, nn.Tanh, nn.Sigmoid, nn.SiLU, nn.ELU, nn.SELU, nn.CELU, nn.LeakyReLU, nn.Hardtanh,
    nn.Hardswish, nn.Hardsigmoid, nn.Hardshrink, nn.Softshrink, nn.Softplus, nn.Softsign, nn.Mish, nn.LogSigmoid,
    nn.Tanhshrink, nn.PReLU, nn.Identity, nn.Dropout, nn.AlphaDropout,
]  # fmt: skip
JOINING = [nn.Softmax, nn.Softmin, nn.LogSoftmax, nn.LayerNorm, nn.GroupNorm, nn.GLU]


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_a_layer_is_widened_through_any_activation_function(make_run, blobs, kind):
    torch.manual_seed(0)
    run = make_run(nn.Sequential(nn.Linear(4, 8), kind(), nn.Linear(8, 3)), epochs=99, store=None)
    run.events()
    before = run.predict(blobs[0])
    branch = run.branch(at=0, edit=nbopt.Widen("0", by=3))
    torch.testing.assert_close(branch.predict(blobs[0]), before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", JOINING)
def test_a_layer_whose_units_are_joined_is_not_widened(make_run, kind):
    arguments = {nn.LayerNorm: (8,), nn.GroupNorm: (2, 8), nn.GLU: ()}.get(kind, (1,))
    width = 4 if kind is nn.GLU else 8
    run = make_run(nn.Sequential(nn.Linear(4, 8), kind(*arguments), nn.Linear(width, 3)), epochs=99, store=None)
    run.events()
    with pytest.raises(ValueError, match=r"its outputs go through .*, which may join units"):
        run.branch(at=0, edit=nbopt.Widen("0", by=3))


def test_an_edit_made_while_the_run_is_held_at_rest_stays(make):
    run = make()
    run.step(2)
    branch = run.branch(at=2)
    with branch.at_rest():
        branch.edit(nbopt.Widen("0", by=5))
    assert branch.model[0].out_features == 21 == branch.model[2].in_features
    branch.step(2)
    twin = branch.replay()
    twin.wait()
    assert same(twin, branch)


def test_a_replay_takes_changes_beside_the_edits_that_it_has_ahead(make):
    run = make()
    run.step(3)
    branch = run.branch(at=3)
    branch.step(300)
    branch.edit(nbopt.Widen("0", by=5))
    branch.step(300)
    twin = branch.replay()
    twin.set(precision="bfloat16", optimizer="sgd")
    twin.wait()
    assert twin.model[0].out_features == 21 and twin.hyperparams["precision"] == "bfloat16"
