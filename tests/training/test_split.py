"""Batches in parts: each step is held against the same step on the whole batch, done by a plain loop."""

import copy
import dataclasses
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset

from nbopt import Run
from tests.training.parts import GENERATOR, RARE, X, Y, net, own_mean, own_sum

pytestmark = pytest.mark.usefixtures("one_torch_thread")
GONE = torch.where(torch.arange(32) < 8, -100, Y)  # nothing counts in the first part
WEIGHT = torch.tensor([1.0, 0.5, 20.0])


def step(micro_batch, loss, y, model=None, **settings):
    """Return the weights after one step, and the loss shown."""
    model = model or net()
    options = {"optimizer": "sgd", "lr": 0.1, "micro_batch": micro_batch, "batch_size": 32, "store": None, **settings}
    run = Run(model, options.pop("train", (X, y)), loss=loss, **options)
    run.step(1)
    run.training.flush()
    return torch.cat([weight.detach().flatten() for weight in model.parameters()]), run.history.last("loss"), run


def by_hand(loss, y, model=None):
    model = model or net()
    value = loss(model(X), y)
    value.backward()
    return torch.cat([(w - 0.1 * w.grad).detach().flatten() for w in model.parameters()]), value.item()


def own_mean_of_all(output, target):
    return functional.cross_entropy(output, target, reduction="none").mean()


LOSSES = [
    functional.cross_entropy,
    partial(functional.cross_entropy, weight=WEIGHT, label_smoothing=0.1),
    nn.CrossEntropyLoss(reduction="sum"),
    nn.CrossEntropyLoss(weight=WEIGHT),
    nn.CrossEntropyLoss(weight=WEIGHT, reduction="sum"),
    own_mean,
    own_mean_of_all,
    own_sum,
]


def test_a_loss_that_is_not_a_number_for_a_part_is_told():
    def mean_of_some(output, target):
        counts = target != 0
        return (functional.cross_entropy(output, target, reduction="none") * counts).sum() / counts.sum()

    with pytest.raises(ValueError, match="micro_batch: the gradient of a part is not finite"):
        step(8, mean_of_some, (torch.arange(32) == 8).long())


@pytest.mark.parametrize("y", [Y, RARE, GONE], ids=["all", "few", "none of a part"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("micro_batch", [8, 5])
def test_parts_learn_what_the_whole_batch_learns(loss, y, micro_batch):
    weights, value = by_hand(loss, y)
    ours, shown, _run = step(micro_batch, loss, y)
    assert torch.allclose(ours, weights, atol=1e-6)
    assert shown == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("optimizer", ["newton", "lbfgs"])
def test_so_do_steps_that_take_all_samples(optimizer):
    ours, theirs = (step(micro, "cross_entropy", RARE, optimizer=optimizer, lr=1.0)[0] for micro in (8, 0))
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_with_nothing_left_out_the_loss_is_not_changed_by_a_bit():
    first, second = (step(8, loss, Y) for loss in ("cross_entropy", own_mean_of_all))
    assert first[1] == second[1]


# -- what is cut


@dataclasses.dataclass
class Graphs:
    x: torch.Tensor
    y: torch.Tensor
    edges: torch.Tensor


def collate_mapping(items):
    return {"edges": torch.ones(2, 7), **dict(zip("xy", map(torch.stack, zip(*items, strict=True)), strict=True))}


def collate_object(items):
    return Graphs(*map(torch.stack, zip(*items, strict=True)), torch.ones(2, 7))


@pytest.mark.parametrize("collate", [collate_mapping, collate_object])
def test_only_what_is_as_long_as_the_target_is_cut(collate):
    fed = []

    def forward(model, batch):
        x, y, edges = (batch[name] if isinstance(batch, dict) else getattr(batch, name) for name in ("x", "y", "edges"))
        fed.append((len(x), len(y), len(edges)))
        return model(x), y

    loader = DataLoader(TensorDataset(X, Y), batch_size=32, collate_fn=collate)
    ours, _shown, _run = step(8, "cross_entropy", Y, train=loader, forward=forward)
    assert torch.allclose(ours, by_hand(functional.cross_entropy, Y)[0], atol=1e-6)
    assert fed[-4:] == [(8, 8, 2)] * 4
    assert fed[:-4] == [(32, 32, 2)] + [(8, 8, 2)] * 4  # whole and in parts, once, to compare


def test_it_is_compared_once():
    fed = []
    model = net()
    model.register_forward_hook(lambda _model, args, _output: fed.append(len(args[0])))
    _weights, _shown, run = step(8, "cross_entropy", Y, model)
    run.step(2)
    assert fed == [32] + [8] * 4 * 4
    run.set(micro_batch=16)
    run.step(1)
    assert fed[17:] == [32] + [16] * 4


def pairs(output, target):
    """Return a loss that compares all samples of a batch with each other."""
    near = output @ output.T
    return functional.cross_entropy(near - 9 * torch.eye(len(near)), torch.arange(len(near)).roll(1))


def first_axis_is_time(model, batch):
    return model(batch[0]).mean(0), batch[1]


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": pairs},
        {"loss": "cross_entropy", "forward": lambda m, b: (m(b[0] - b[0].mean(0)), b[1])},
        {"loss": "cross_entropy", "forward": lambda m, b: (m(b[0]), torch.cat([b[1], b[1][:3]])[3:])},
    ],
    ids=["pairs", "mean over the batch", "targets of others"],
)
def test_samples_that_are_not_independent_are_refused_before_the_step(settings):
    model = net()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"micro_batch: .*not independent.*Set micro_batch=0\."):
        step(8, y=Y, model=model, **settings)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


class Sequences(Dataset):
    def __len__(self):
        return 32

    def __getitem__(self, index):
        return X[index], Y[index]


def test_batches_whose_first_dimension_is_time_are_refused():
    def collate(items):
        x, y = (torch.stack(column) for column in zip(*items, strict=True))
        return x.expand(4, *x.shape).clone(), y

    loader = DataLoader(Sequences(), batch_size=32, collate_fn=collate)
    with pytest.raises(ValueError, match="micro_batch: a part alone fails"):
        step(8, "cross_entropy", Y, train=loader, forward=first_axis_is_time)


PLACES = torch.randn(32, 6, 5, generator=GENERATOR)
TAGS = torch.where(torch.rand(32, 6, generator=GENERATOR) < 0.3, -100, torch.arange(192).reshape(32, 6) % 3)


def flattened(model, batch):
    return model(batch[0]).flatten(0, 1), batch[1].flatten()


@pytest.mark.parametrize(
    "loss",
    ["cross_entropy", own_mean, own_sum, nn.CrossEntropyLoss(weight=WEIGHT)],
    ids=["named", "mean", "sum", "weights"],
)
def test_targets_joined_by_forward_are_cut_by_sample(loss):
    options = {"train": (PLACES, TAGS), "forward": flattened}
    whole, parts = (step(micro, loss, TAGS, **options) for micro in (0, 8))
    torch.testing.assert_close(parts[0], whole[0])
    assert parts[1] == pytest.approx(whole[1], rel=1e-5)


def test_targets_joined_by_forward_are_refused_where_the_first_dimension_is_time():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.cell, self.layer = nn.GRU(5, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.layer(self.cell(x)[0])

    loader = DataLoader([(PLACES.transpose(0, 1), TAGS.t())], batch_size=None)
    with pytest.raises(ValueError, match=r"micro_batch: .* not independent"):
        step(3, "cross_entropy", TAGS, Recurrent(), train=loader, forward=flattened)


def test_layers_that_draw_are_quiet_while_it_is_compared_and_others_are_told_of():
    with_layer = step(8, "cross_entropy", Y, net(nn.Dropout(0.5)))[2]
    assert not [entry for entry in with_layer.journal if entry.name == "note"]

    class Noisy(nn.Module):
        def forward(self, x):
            return functional.dropout(x, 0.5, self.training)

    with pytest.warns(UserWarning, match="micro_batch: the gradient of the parts differs .* draws noise"):
        step(8, "cross_entropy", Y, net(Noisy()))


def test_batch_normalization_is_told_of_and_left_as_it_was():
    model = net(nn.BatchNorm1d(3))
    with pytest.warns(UserWarning, match="batch normalization sees each part as its batch, of 8 samples"):
        step(8, "cross_entropy", Y, model)
    assert int(model[1].num_batches_tracked) == 4
