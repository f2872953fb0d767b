"""What a batch of the user's own loader is."""

import collections
import copy
import dataclasses
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import (
    DataLoader,
    TensorDataset,
)

from tests.training.test_loaders import X, Y, rows_of, watched


@pytest.mark.parametrize("form", ["loader", "dataset"])
def test_a_loader_of_one_column_hands_over_a_list_of_one(make_run, form):
    data, kinds = TensorDataset(X), []

    def forward(model, batch):
        kinds.append((type(batch), len(batch), batch[0].shape[1:]))
        return model(batch[0]), batch[0]

    train = DataLoader(data, batch_size=16) if form == "loader" else data
    make_run(nn.Linear(4, 4), train=train, loss="mse", forward=forward, epochs=1).fit()
    assert set(kinds) == {(list, 1, (4,))}


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.uint8, torch.float16, torch.float64, torch.int16])
def test_tensors_of_a_loader_keep_their_type(make_run, dtype):
    kinds = set()

    def forward(model, batch):
        kinds.add(batch[2].dtype)
        return model(batch[0]), batch[1]

    data = TensorDataset(X, Y, (X > 0).to(dtype))
    make_run(train=DataLoader(data, batch_size=16), forward=forward, epochs=1).fit()
    assert kinds == {dtype}


def test_a_mask_marks_what_it_marks_in_a_plain_loop(make_run, weights):
    known = X > 0
    loader = DataLoader(TensorDataset(X, known), batch_size=16)

    def loss(output, target):
        inputs, mask = target
        return functional.mse_loss(output[mask], inputs[mask])

    def forward(model, batch):
        return model(batch[0]), tuple(batch)

    model = nn.Linear(4, 4)
    by_hand = copy.deepcopy(model)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.5)
    for _epoch in range(2):
        for batch in loader:
            optimizer.zero_grad()
            loss(*forward(by_hand, batch)).backward()
            optimizer.step()
    run = make_run(model, train=loader, loss=loss, forward=forward, optimizer="sgd", lr=0.5, epochs=2).fit()
    assert torch.equal(weights(run), nn.utils.parameters_to_vector(by_hand.parameters()))


def test_a_model_that_changes_its_input_changes_no_samples(make_run):
    class Clipping(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x):
            return self.layer(x.clamp_(0, 0.1))

    before = X.clone()
    make_run(Clipping(), train=DataLoader(TensorDataset(X, Y), batch_size=16), val=(X, Y), epochs=2).fit()
    assert torch.equal(X, before)


class Encoding(collections.UserDict):
    """Of tokenizers: a mapping that is no dict, and moves in place."""

    moves = 0

    def to(self, device):
        type(self).moves += 1
        self.data = {name: part.to(device) for name, part in self.data.items()}
        return self


class Graphs:
    """Opaque but for its method ``to``; the first tensor has another length than there are samples."""

    def __init__(self, x, y):
        self.edges = torch.zeros(2, 7)
        self.x, self.y = x, y

    def to(self, device):
        self.x, self.y = self.x.to(device), self.y.to(device)


@dataclasses.dataclass(frozen=True)
class Record:
    x: torch.Tensor
    y: torch.Tensor


class Pair(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


KINDS = {
    "dict": (lambda x, y: {"x": x, "y": y}, lambda batch: (batch["x"], batch["y"])),
    "ordered": (lambda x, y: collections.OrderedDict(x=x, y=y), lambda batch: (batch["x"], batch["y"])),
    "user dict": (lambda x, y: collections.UserDict(x=x, y=y), lambda batch: (batch["x"], batch["y"])),
    "encoding": (lambda x, y: Encoding(x=x, y=y), lambda batch: (batch["x"], batch["y"])),
    "dataclass": (Record, lambda batch: (batch.x, batch.y)),
    "named tuple": (Pair, lambda batch: (batch.x, batch.y)),
    "packed": (
        lambda x, y: (nn.utils.rnn.pack_padded_sequence(x[:, None], [1] * len(x), batch_first=True), y),
        lambda batch: (batch[0].data, batch[1]),
    ),
    "sparse": (lambda x, y: (x.to_sparse(), y), lambda batch: (batch[0].to_dense(), batch[1])),
    "other length first": (
        lambda x, y: {"edges": torch.zeros(2, 7), "x": x, "y": y},
        lambda batch: (batch["x"], batch["y"]),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_batches_of_any_kind_reach_the_model_as_the_loader_makes_them(make_run, mlp, weights, kind):
    make, take = KINDS[kind]

    def collate(samples):
        return make(torch.stack([x for x, _y in samples]), torch.stack([y for _x, y in samples]))

    def forward(model, batch):
        kinds.add(type(batch))
        x, y = take(batch)
        return model(x), y

    loader, kinds = DataLoader(TensorDataset(X, Y), batch_size=13, collate_fn=collate), set()
    run = make_run(train=loader, val=loader, forward=forward, epochs=2).fit()
    assert kinds == {type(next(iter(loader)))}
    plain = DataLoader(TensorDataset(X, Y), batch_size=13)
    expected = make_run(train=plain, val=plain, epochs=2).fit()
    assert torch.equal(weights(run), weights(expected))
    assert run.history.last("val_loss") == pytest.approx(expected.history.last("val_loss"))
    assert kind != "encoding" or Encoding.moves


def test_an_object_with_a_method_to_is_moved_in_place(make_run, weights):
    def collate(samples):
        return Graphs(torch.stack([x for x, _y in samples]), torch.stack([y for _x, y in samples]))

    loader = DataLoader(TensorDataset(X, Y), batch_size=13, collate_fn=collate)
    run = make_run(train=loader, forward=lambda model, batch: (model(batch.x), batch.y), epochs=2).fit()
    expected = make_run(train=DataLoader(TensorDataset(X, Y), batch_size=13), epochs=2).fit()
    assert torch.equal(weights(run), weights(expected))


SAMPLES = {
    "list of pairs": lambda: list(zip(X, Y, strict=True)),
    "list in a loader": lambda: DataLoader(list(zip(X, Y, strict=True)), batch_size=64, shuffle=True),
    "no Dataset": lambda: type("Own", (), {"__len__": lambda _: 65, "__getitem__": lambda _, k: (X[k], Y[k])})(),
}


@pytest.mark.parametrize("form", SAMPLES)
def test_samples_in_any_list_are_a_dataset(make_run, weights, form):
    run = make_run(train=SAMPLES[form](), epochs=2).fit()
    assert torch.equal(weights(run), weights(make_run(train=(X, Y), epochs=2).fit()))


def test_samples_that_are_mappings_make_batches_that_are(make_run, weights):
    samples = [{"x": x, "y": y} for x, y in zip(X, Y, strict=True)]
    run = make_run(train=samples, forward=lambda model, batch: (model(batch["x"]), batch["y"]), epochs=2).fit()
    assert torch.equal(weights(run), weights(make_run(train=(X, Y), epochs=2).fit()))


def test_an_iterable_of_batches_is_iterated_as_it_is(make_run):
    class Loader:
        """Of another library."""

        def __len__(self):
            return 3

        def __iter__(self):
            return iter([(X[k : k + 20], Y[k : k + 20]) for k in (0, 20, 40)])

    seen = []
    run = make_run(train=Loader(), val=Loader(), forward=watched(rows_of, seen), epochs=2).fit()
    assert seen == [x.tolist() for x, _y in Loader()] * 2
    assert "batch_size" in run.inert


def test_a_loader_of_a_class_that_iterates_in_its_own_way_is_iterated_so(make_run):
    class Twice(DataLoader):
        def __iter__(self):
            for batch in super().__iter__():
                yield batch
                yield batch

    seen = []
    make_run(train=Twice(TensorDataset(X, Y), batch_size=30), forward=watched(rows_of, seen), epochs=1).fit()
    assert seen == [rows_of(batch) for batch in Twice(TensorDataset(X, Y), batch_size=30)]
