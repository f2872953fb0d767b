"""Loaders as people write them: a run gives the model what a plain loop over the loader would."""

import collections
import copy
import dataclasses
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from nbopt import RunState

X = torch.randn(65, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(65) % 3


class Rows(Dataset):
    def __init__(self, x=X, y=Y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]


class Counted(IterableDataset):
    """Tells how many samples it yields."""

    def __len__(self):
        return 320

    def __iter__(self):
        generator = torch.Generator().manual_seed(1)
        for _sample in range(320):
            x = torch.randn(4, generator=generator)
            yield x, x.sum().reshape(1)


def watched(take, seen):
    """Return a forward function that notes what ``take`` finds in each training batch."""

    def forward(model, batch):
        if model.training:
            seen.append(take(batch))
        return model(batch[0]), batch[1]

    return forward


def rows_of(batch):
    return batch[0].tolist()


def test_a_warm_up_rises_within_the_epoch_of_a_stream_whose_length_is_known(make_run):
    settings = {"loss": "mse", "optimizer": "sgd", "lr": 0.1, "warmup": 0.5, "epochs": 1}
    run = make_run(nn.Linear(4, 1), train=DataLoader(Counted(), batch_size=16), **settings).fit()
    right = [0.1 * (0.01 + 0.99 * min(1.0, step / 10)) for step in range(20)]
    assert run.history["lr"][1].tolist() == pytest.approx(right)


class Pairs(BatchSampler):
    """One's own way of putting samples together: by halves."""

    def __iter__(self):
        for k in range(0, 64, 8):
            yield [*range(k // 2, k // 2 + 4), *range(60 - k // 2, 64 - k // 2)]


IN_ORDER = {
    "drop_last": lambda data: DataLoader(data, batch_size=16, drop_last=True),
    "all": lambda data: DataLoader(data, batch_size=16),
    "batch sampler": lambda data: DataLoader(data, batch_sampler=BatchSampler(SequentialSampler(data), 16, True)),
    "own batch sampler": lambda data: DataLoader(data, batch_sampler=Pairs(SequentialSampler(data), 8, False)),
    "list of batches": lambda data: DataLoader(data, batch_sampler=[[0, 1, 5], [9], [2, 3]]),
    "own sampler": lambda data: DataLoader(data, batch_size=16, sampler=[5, 3, 3, 8, 60, *range(14)]),
    "own sampler, drop_last": lambda data: DataLoader(data, 16, sampler=[*range(40)], drop_last=True),
}


@pytest.mark.parametrize("loader", IN_ORDER)
@pytest.mark.parametrize("dataset", [TensorDataset(X, Y), Rows()], ids=["tensors", "dataset"])
def test_a_run_sees_the_batches_of_a_plain_loop(make_run, loader, dataset):
    loader, seen = IN_ORDER[loader](dataset), []
    make_run(train=loader, forward=watched(rows_of, seen), epochs=2).fit()
    assert seen == [rows_of(batch) for _epoch in range(2) for batch in loader]


def test_a_batch_sampler_that_draws_samples_is_followed(make_run):
    weights = (Y == 1).double()
    sampler = BatchSampler(WeightedRandomSampler(weights, 48), 16, False)
    seen = []
    run = make_run(
        train=DataLoader(TensorDataset(X, Y), batch_sampler=sampler),
        forward=watched(lambda batch: batch[1].tolist(), seen),
        epochs=2,
    ).fit()
    assert seen == [[1] * 16] * 6
    assert "batch_size" in run.inert


@pytest.mark.parametrize("dataset", [TensorDataset(X, Y), Rows()], ids=["tensors", "dataset"])
def test_drop_last_keeps_single_samples_from_batch_normalization_also_live(make_run, dataset):
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    seen = []
    loader = DataLoader(dataset, batch_size=16, shuffle=True, drop_last=True)
    run = make_run(model, train=loader, val=loader, forward=watched(lambda batch: len(batch[1]), seen), epochs=3)
    run.step(5)
    run.set(batch_size=32)
    run.fit()
    assert seen == [16] * 4 + [16, 32] + [32] * 2  # of the second epoch, 17 are left after 16 + 32
    assert run.epoch == 3


def test_a_batch_size_set_live_completes_an_epoch_of_which_it_drops_the_rest(make_run):
    loader = DataLoader(TensorDataset(X, Y), batch_size=16, drop_last=True)
    run = make_run(train=loader, val=loader, epochs=2)
    run.step(3)
    run.set(batch_size=32)
    assert run.epoch == 1  # 17 samples are left, no batch of 32
    run.fit()
    assert (run.epoch, run.step_count) == (2, 5)
    assert run.history["val_loss"][0].tolist() == [3, 5]
    replay = run.replay()
    replay.wait(30)
    assert replay.history["val_loss"][1].tolist() == run.history["val_loss"][1].tolist()
    assert replay.history["val_loss"][0].tolist() == [3, 5]


@pytest.mark.parametrize("role", ["train", "val"])
def test_a_loader_that_drops_all_is_told_before_the_first_step(make_run, blobs, role):
    data = {"train": blobs, role: DataLoader(TensorDataset(X, Y), batch_size=66, drop_last=True)}
    run = make_run(**data)
    with pytest.raises(ValueError, match=f"{role} is empty: of 65 samples, drop_last=True leaves no batch of 66"):
        run.step()


def normalized():
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))


def test_a_change_of_batch_size_leaves_no_single_sample_to_batch_normalization(make_run):
    x, y = torch.randn(124, 4), torch.arange(124) % 3
    sizes = []
    run = make_run(
        normalized(), train=(x, y), batch_size=43, epochs=2, forward=watched(lambda batch: len(batch[1]), sizes)
    )
    run.step(1)
    run.set(batch_size=16)
    run.fit()
    assert sizes[:7] == [43, 16, 16, 16, 16, 15, 2] and run.epoch == 2
    replay = run.replay()
    replay.wait(30)
    assert replay.history["loss"][1].tolist() == run.history["loss"][1].tolist()


def test_a_single_sample_that_a_plain_loop_would_fail_on_is_no_dead_end(make_run, weights):
    model = normalized()
    initial = copy.deepcopy(model)
    run = make_run(model, train=(X, Y), val=(X, Y), batch_size=16, epochs=2)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        run.fit()
    assert (run.state, run.step_count) == (RunState.FAILED, 4)
    with pytest.raises(ValueError, match="more than 1 value"):
        run.fit()  # the same size would leave it again
    run.set(batch_size=13)
    run.fit()
    assert run.state is RunState.FINISHED and run.epoch == 2
    assert [entry.step for entry in run.journal if entry.name == "leave_out"] == [4]
    assert run.history["val_loss"][0].tolist() == [4, 9]
    replay = run.replay()
    replay.wait(30)
    assert torch.equal(weights(replay), weights(run))
    assert replay.history["val_loss"][1].tolist() == run.history["val_loss"][1].tolist()
    namespace = {}
    exec(run.to_python(), namespace)
    history = namespace["train"](initial, (X, Y), (X, Y))
    assert history["val_loss"] == pytest.approx(run.history["val_loss"][1].tolist(), abs=1e-6)


# -- what a batch is


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


# -- validation


@pytest.mark.parametrize(
    "loader",
    [
        lambda data: DataLoader(data, batch_size=16),
        lambda data: DataLoader(data, batch_size=16, drop_last=True),
        lambda data: DataLoader(data, batch_sampler=[[0, 1, 2], [7, 9], [30]]),
    ],
    ids=["batch_size", "drop_last", "batch_sampler"],
)
@pytest.mark.parametrize("dataset", [TensorDataset(X, Y), Rows()], ids=["tensors", "dataset"])
def test_a_validation_goes_in_the_batches_of_its_loader(make_run, loader, dataset):
    seen = []

    def forward(model, batch):
        if not model.training:
            seen.append(rows_of(batch))
        return model(batch[0]), batch[1]

    loader = loader(dataset)
    make_run(train=(X, Y), val=loader, forward=forward, epochs=1).fit()
    assert seen == [rows_of(batch) for batch in loader]


@pytest.mark.parametrize("dataset", [TensorDataset(X, Y), Rows()], ids=["tensors", "dataset"])
def test_a_validation_that_shuffles_does_so_in_the_same_way_each_time(make_run, dataset):
    seen = []

    def forward(model, batch):
        if not model.training:
            seen.append(rows_of(batch))
        return model(batch[0]), batch[1]

    make_run(train=(X, Y), val=DataLoader(dataset, batch_size=40, shuffle=True), forward=forward, epochs=2).fit()
    assert seen[:2] == seen[2:]
    assert sorted(seen[0] + seen[1]) == sorted(X.tolist()) and seen[0] + seen[1] != X.tolist()


# -- scripts


VAL = {
    "drop_last": {"batch_size": 16, "drop_last": True},
    "shuffled": {"batch_size": 40, "shuffle": True},
    "both": {"batch_size": 16, "drop_last": True, "shuffle": True},
}


@pytest.mark.parametrize("val", VAL)
@pytest.mark.parametrize("sizes", [{}, {2: 32}, {3: 8}, {1: 60, 2: 7}], ids=str)
@pytest.mark.parametrize("dataset", [TensorDataset(X, Y), Rows()], ids=["tensors", "dataset"])
def test_a_script_deals_out_the_batches_of_such_loaders(make_run, mlp, dataset, sizes, val):
    train = DataLoader(dataset, batch_size=16, drop_last=True, shuffle=True)
    val = DataLoader(dataset, **VAL[val])
    run = make_run(mlp(), train=train, val=val, epochs=3)
    for step, size in sizes.items():
        run.step(step - run.step_count)
        run.set(batch_size=size)
    run.fit()
    namespace = {}
    exec(run.to_python(), namespace)
    history = namespace["train"](mlp(), train, val)
    assert history["val_loss"] == pytest.approx(run.history["val_loss"][1].tolist(), rel=1e-6)


# -- the batch size of a stream


def sizes_of(run):
    seen = []
    run.spec = dataclasses.replace(run.spec, forward=watched(lambda batch: len(batch[0]), seen))
    run.fit()
    return seen


@pytest.mark.parametrize("size", [None, 16, 100])
def test_a_stream_without_a_loader_comes_in_batches_of_the_size_asked_for(make_run, recwarn, size):
    settings = {} if size is None else {"batch_size": size}
    run = make_run(nn.Linear(4, 1), train=Counted(), val=Counted(), loss="mse", epochs=1, **settings)
    sizes = sizes_of(run)
    assert sizes == [len(x) for x, _y in DataLoader(Counted(), batch_size=size or 64)]
    assert run.hyperparams["batch_size"] == (size or 64)
    assert "batch_size" in run.inert
    assert not [warning for warning in recwarn if "batch" in str(warning.message)]
    branch = run.branch(at=2)
    assert not [warning for warning in recwarn if "batch" in str(warning.message)]
    assert branch.hyperparams["batch_size"] == (size or 64)


@pytest.mark.parametrize(
    "loader",
    [
        lambda: DataLoader(Counted(), batch_size=16),
        lambda: DataLoader(TensorDataset(X, Y), batch_sampler=[[0, 1], [2]]),
        lambda: type("Own", (), {"__iter__": lambda _: iter([(X, Y)])})(),
    ],
    ids=["stream", "batch sampler", "own loader"],
)
def test_a_batch_size_given_to_a_loader_that_makes_its_own_batches_is_warned_of(make_run, loader):
    with pytest.warns(UserWarning, match="batch_size: the DataLoader makes the batches"):
        run = make_run(train=loader(), batch_size=5)
    assert "batch_size" in run.inert


def test_a_value_set_that_cannot_act_is_warned_of(make_run, recwarn):
    run = make_run(nn.Linear(4, 1), train=DataLoader(Counted(), batch_size=16), loss="mse")
    for ready in (False, True):
        if ready:
            run.step(1)
        with pytest.warns(UserWarning, match="batch_size: the DataLoader makes the batches"):
            run.set(batch_size=5, lr=0.2)
    run.set(lr=0.1)
    assert not list(recwarn)


def test_the_batch_size_of_a_stream_given_without_a_loader_is_warned_of_once_it_began(make_run):
    run = make_run(nn.Linear(4, 1), train=Counted(), batch_size=5, loss="mse")
    run.step(1)
    with pytest.warns(UserWarning, match="batch_size: a stream keeps the batch size it started with"):
        run.set(batch_size=10)


def test_a_batch_size_given_to_a_loader_that_is_understood_is_live(make_run, recwarn):
    run = make_run(train=DataLoader(TensorDataset(X, Y), batch_size=16), batch_size=20, epochs=1)
    assert sizes_of(run) == [20, 20, 20, 5]
    assert "batch_size" not in run.inert and not list(recwarn)


@pytest.mark.parametrize(
    ("loader", "size"),
    [
        (lambda: DataLoader(Counted(), batch_size=16), 16),
        (lambda: DataLoader(Rows(), batch_sampler=BatchSampler(SequentialSampler(Rows()), 12, False)), 12),
        (lambda: DataLoader(Rows(), batch_sampler=[[0], [1]]), 64),
    ],
    ids=["stream", "batch sampler", "list"],
)
def test_the_batch_size_shown_is_the_loader_s_where_it_is_known(make_run, loader, size):
    assert make_run(train=loader()).hyperparams["batch_size"] == size


@pytest.mark.parametrize("drop_last", [True, False])
def test_compiled_steps_take_the_batches_that_eager_steps_take(compiled, make_tiered, mlp, weights, drop_last):
    def make(tier):
        loader = DataLoader(TensorDataset(X, Y), batch_size=4, shuffle=True, drop_last=drop_last)
        return make_tiered(mlp(), train=loader, val=loader, epochs=4, tier=tier)

    run, sizes = make("compiled"), iter([7, 4, 9, 4])
    for index, _event in enumerate(run.events()):
        if index % 11 == 10:
            run.set(batch_size=next(sizes, 4))
    eager = make("eager")
    eager.changes.plan(operation for operation in run.journal.schedule() if operation.name == "batch_size")
    for _event in eager.events():
        pass
    assert compiled and run.epoch == eager.epoch == 4
    assert run.step_count == eager.step_count
    assert torch.allclose(weights(run), weights(eager), atol=1e-5)
