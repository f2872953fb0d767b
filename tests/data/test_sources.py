from collections import namedtuple

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)

from nbopt.data import tensor_source
from nbopt.data.sources import DatasetSource, StreamSource, as_source, sample_count
from nbopt.data.tensor_source import TensorSource

N = 10
X = np.arange(2.0 * N).reshape(N, 2)
Y = np.arange(N) % 3


class Rows(Dataset):
    def __len__(self):
        return N

    def __getitem__(self, index):
        return torch.tensor([float(index)]), index % 3


class Noisy(Rows):
    """Augments: every sample draws."""

    def __getitem__(self, index):
        return torch.tensor([float(index)]) + torch.rand(1), index % 3


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(torch.tensor([float(i)]), i % 3) for i in range(N)])


def epoch(source, seed=1, size=4):
    source.begin(seed)
    return [source.batch(start, start + size) for start in range(0, source.size, size)]


def first_column(batches):
    return torch.cat([batch[0][:, 0] for batch in batches]).tolist()


TENSORS = torch.tensor(X), torch.tensor(Y)


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        [X, Y],
        (X.astype(np.float32), Y.astype(np.int8)),
        (X[::-1][::-1], Y),
        (X.tolist(), Y.tolist()),
        TENSORS,
        (pd.DataFrame(X), pd.Series(Y)),
        (pd.DataFrame(X), Y.tolist()),
    ],
    ids=lambda data: type(data).__name__,
)
def test_arrays_in_any_dress_become_tensors_a_network_takes(data):
    source = as_source(data, "train")
    assert isinstance(source, TensorSource)
    x, y = source.columns
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert x.tolist() == X.tolist() and y.tolist() == Y.tolist()


def test_booleans_and_images_of_bytes_stay_what_they_are():
    source = as_source((np.zeros((4, 3, 3), np.uint8), np.array([True, False] * 2)), "train")
    assert [column.dtype for column in source.columns] == [torch.uint8, torch.bool]


def test_half_precision_is_the_user_s_choice():
    assert (
        as_source((torch.zeros(3, 2, dtype=torch.bfloat16), torch.zeros(3)), "train").columns[0].dtype is torch.bfloat16
    )


def test_a_later_change_of_the_array_does_not_reach_the_run():
    x = X.astype(np.float32)
    source = as_source((x, Y), "train")
    x[:] = -1
    assert source.columns[0].tolist() == X.tolist()


def test_the_gradient_history_of_a_tensor_stays_outside():
    x = torch.ones(3, 2, requires_grad=True) * 2
    assert not as_source((x, torch.zeros(3)), "train").columns[0].requires_grad


def test_an_array_alone_is_dealt_out_alone():
    batches = epoch(as_source(X, "train"))
    assert all(isinstance(batch, torch.Tensor) for batch in batches)
    assert sorted(torch.cat(batches)[:, 0].tolist()) == X[:, 0].tolist()


@pytest.mark.parametrize(
    "data", [TENSORS, Rows(), DataLoader(Rows(), shuffle=True)], ids=["tensors", "dataset", "loader"]
)
def test_an_epoch_holds_every_sample_once_in_an_order_drawn_from_the_seed(data):
    source = as_source(data, "train")
    orders = [first_column(epoch(source, seed)) for seed in (1, 2, 1)]
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])
    assert len(set(orders[0])) == N


@pytest.mark.parametrize("dataset", [Rows(), TensorDataset(*TENSORS)], ids=["dataset", "tensors"])
def test_a_loader_that_does_not_shuffle_keeps_its_order(dataset):
    source = as_source(DataLoader(dataset, batch_size=4), "train")
    order = first_column(epoch(source, seed=1))
    assert order == sorted(order)
    assert order == first_column(epoch(source, seed=2))


def test_the_order_is_the_same_whatever_form_the_data_have():
    tensors = first_column(epoch(as_source((torch.arange(10.0)[:, None], Y), "train"), 5))
    assert tensors == first_column(epoch(as_source(Rows(), "train"), 5))


def test_x_and_y_stay_together():
    for x, y in epoch(as_source(TENSORS, "train")):
        assert (x[:, 0] // 2 % 3).tolist() == y.tolist()


def test_a_loader_brings_its_batch_size_and_how_it_collates():
    def collate(samples):
        return {"x": torch.stack([x for x, _y in samples]), "n": len(samples)}

    source = as_source(DataLoader(Rows(), batch_size=3, collate_fn=collate), "train")
    source.begin(0)
    assert isinstance(source, DatasetSource)
    assert (source.batch_size, source.batch(0, 4)["n"], source.batch(8, 12)["n"]) == (3, 4, 2)


def test_a_dataset_that_fetches_many_at_once_is_asked_once_a_batch():
    calls = []

    class Bulk(Rows):
        def __getitems__(self, indices):
            calls.append(len(indices))
            return [self[index] for index in indices]

    epoch(as_source(Bulk(), "train"))
    assert calls == [4, 4, 2]


def test_a_subset_is_only_its_samples():
    assert sorted(first_column(epoch(as_source(Subset(Rows(), [7, 2, 5]), "train")))) == [2, 5, 7]
    part, _rest = random_split(TensorDataset(*TENSORS), [4, 6], torch.Generator().manual_seed(0))
    assert len(first_column(epoch(as_source(part, "train")))) == 4


def test_a_subclass_of_tensor_dataset_makes_its_own_samples():
    class Negated(TensorDataset):
        def __getitem__(self, index):
            x, y = super().__getitem__(index)
            return -x, y

    for data in (Negated(*TENSORS), DataLoader(Negated(*TENSORS))):
        assert max(first_column(epoch(as_source(data, "train")))) == 0


def test_a_weighted_sampler_is_followed_and_its_draw_follows_from_the_seed():
    sampler = WeightedRandomSampler([0.0] * 5 + [1.0] * 5, 20)
    source = as_source(DataLoader(Rows(), batch_size=4, sampler=sampler), "train")
    orders = [first_column(epoch(source, seed)) for seed in (1, 2, 1)]
    assert source.size == len(orders[0]) == 20
    assert min(orders[0]) == 5
    assert orders[0] == orders[2] != orders[1]


def test_a_sampler_of_some_samples_deals_out_those_only():
    source = as_source(DataLoader(Rows(), sampler=SubsetRandomSampler([7, 8, 9])), "val")
    assert sorted(first_column(epoch(source))) == [7, 8, 9]


def test_sampling_with_replacement_stays_so():
    source = as_source(DataLoader(Rows(), sampler=RandomSampler(Rows(), replacement=True, num_samples=40)), "train")
    order = first_column(epoch(source))
    assert len(order) == 40 and len(set(order)) <= N


def test_augmentation_follows_from_the_seed_whoever_draws_meanwhile():
    source = as_source(Noisy(), "train")
    first = first_column(epoch(source, 3))
    torch.rand(5)
    assert first_column(epoch(source, 3)) == first
    assert first_column(epoch(source, 4)) != first


def test_drawing_an_epoch_leaves_the_user_s_generator_alone():
    loaders = [DataLoader(Noisy(), sampler=WeightedRandomSampler([1.0] * N, N)), DataLoader(Stream(), batch_size=3)]
    before = torch.random.get_rng_state()
    epoch(as_source(loaders[0], "train"))
    list(as_source(loaders[1], "train").batches(0))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    "data",
    [
        Stream(),
        DataLoader(Stream(), batch_size=3),
        DataLoader(Rows(), batch_size=None),
        DataLoader(Rows(), batch_sampler=[[0, 1], [5], [2, 3, 4]]),
        DataLoader(Rows(), batch_sampler=type("Own", (BatchSampler,), {})(SequentialSampler(Rows()), 4, False)),
    ],
    ids=["iterable", "iterable loader", "unbatched", "list of batches", "own batch sampler"],
)
def test_what_makes_its_own_batches_is_a_stream(data):
    source = as_source(data, "train")
    assert isinstance(source, StreamSource)
    assert source.size is None
    seen = torch.cat([batch[0].reshape(-1) for batch in source.batches(0)]).tolist()
    assert seen == [0, 1, 5, 2, 3, 4] if isinstance(getattr(data, "batch_sampler", None), list) else len(seen) == N


def test_the_draws_of_a_stream_follow_from_the_seed():
    class Shuffled(BatchSampler):
        def __iter__(self):
            for _ in range(3):
                yield torch.randint(N, (4,)).tolist()

    source = as_source(DataLoader(Noisy(), batch_sampler=Shuffled(SequentialSampler(Rows()), 4, False)), "train")
    draws = []
    for seed in (1, 2, 1):
        batches = []
        for batch in source.batches(seed):
            torch.rand(3)
            batches.append(batch)
        draws.append(first_column(batches))
    assert draws[0] == draws[2] != draws[1]


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ("iris", TypeError, r"train must be \(X, y\) as arrays .* got str"),
        (None, TypeError, "got NoneType"),
        ((), TypeError, "got tuple"),
        (([], []), TypeError, "got tuple"),
        ((X, Y[:4]), ValueError, "the parts of train differ in length: 10 / 4 samples"),
        ((X[:0], Y[:0]), ValueError, "train is empty"),
        (Subset(Rows(), []), ValueError, "train is empty"),
        (np.float32(3), ValueError, "train holds a single number"),
        ((X, np.array(list("abcdefghij"))), TypeError, "train holds <U1.*LabelEncoder"),
        ((X, pd.Series(["a"] * N)), TypeError, "LabelEncoder"),
        ((pd.DataFrame({"a": [1.0, None], "b": ["x", "y"]}), [0, 1]), TypeError, "encode it as numbers"),
        ((pd.Series(pd.to_datetime(["2020-01-01"] * N)), Y), TypeError, "encode it as numbers"),
    ],
    ids=lambda value: None if not isinstance(value, str) else value[:20],
)
def test_what_is_no_data_is_told_in_words(data, error, message):
    with pytest.raises(error, match=message):
        as_source(data, "train")


def test_a_batch_counts_the_samples_of_its_first_tensor():
    assert sample_count((torch.zeros(5, 2), torch.zeros(5))) == 5
    assert sample_count({"ids": torch.zeros(3)}) == 3
    assert sample_count((torch.tensor(1.0),)) == 1
    assert sample_count("text") == 0


def test_samples_that_do_not_fit_the_device_are_moved_as_they_are_used():
    source = as_source(TENSORS, "train")
    source.stay(torch.device("meta"))
    assert {tensor.device.type for tensor in epoch(source)[0]} == {"meta"}
    assert source.columns[0].device.type == "cpu"


@pytest.mark.parametrize("stretch", [1, 40, 10**6])  # bytes: a batch, some batches, all
@pytest.mark.parametrize("shuffle", [True, False])
@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=12))
def test_samples_fetched_ahead_are_those_of_the_device(shuffle, stretch, sizes):
    columns = torch.arange(90.0).view(45, 2), torch.arange(45)
    here, fetched = TensorSource(columns, shuffle), TensorSource(columns, shuffle)
    fetched.stay(torch.device("cpu"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensor_source, "_STRETCH_BYTES", stretch)
        for seed in range(2):
            here.begin(seed)
            fetched.begin(seed)
            place = 0
            for size in sizes:
                for _batch in range(2):
                    if place < 45:
                        expected, got = here.batch(place, place + size), fetched.batch(place, place + size)
                        assert all(map(torch.equal, expected, got))
                        place += size


def test_the_next_samples_are_on_their_way_before_they_are_asked_for(monkeypatch):
    monkeypatch.setattr(tensor_source, "_STRETCH_BYTES", 1)
    source = TensorSource((torch.arange(12),), shuffle=False)
    source.stay(torch.device("cpu"))
    source.begin(0)
    assert source.batch(0, 4).tolist() == [0, 1, 2, 3]
    index, coming = source._ahead._coming
    assert (index, coming.result()[0].tolist()) == (slice(4, 8), [4, 5, 6, 7])
    assert source.batch(4, 8).tolist() == [4, 5, 6, 7]
    assert source.batch(8, 12).tolist() == [8, 9, 10, 11]
    assert source._ahead._coming is None  # an epoch is over, and the order of the next one not known


def test_an_error_in_gathering_reaches_the_run():
    source = TensorSource((torch.arange(12),))
    source.stay(torch.device("cpu"))
    source.begin(0)
    source._order = torch.full((12,), 99)
    with pytest.raises((IndexError, RuntimeError), match="index"):
        source.batch(0, 4)


def test_no_more_than_a_stretch_of_samples_is_gathered_at_once():
    source = TensorSource((torch.zeros(1_000_000, 50),))
    source.begin(0)
    batch = source.batch(0, 1000)
    assert batch.untyped_storage().nbytes() <= tensor_source._STRETCH_BYTES < source.nbytes()


def test_batches_of_changing_sizes_are_cut_from_one_stretch(monkeypatch):
    monkeypatch.setattr(tensor_source, "_BATCHES", 4)
    source, gathered = TensorSource((torch.arange(103),)), []
    rows = source.rows
    source.rows = lambda index: gathered.append(len(index)) or rows(index)
    source.begin(0)
    start, seen = 0, []
    for size in (
        10,
        10,
        5,
        3,
        20,
        30,
        10,
        40,
    ):  # 10 to 40 from one stretch, 20 to 100 from the next, then three are left
        seen += source.batch(start, start + size).tolist()
        start += size
    assert seen == source._order[:103].tolist()
    assert gathered == [40, 75]
    first = source.batch(0, 10)
    first.zero_()  # by the model
    assert source.batch(0, 10).tolist() == seen[:10]


@pytest.mark.parametrize(
    "data", [TENSORS, Rows(), DataLoader(Stream(), batch_size=3)], ids=["tensors", "dataset", "stream"]
)
def test_batches_arrive_on_the_device(data):
    source = as_source(data, "train")
    source.to(torch.device("meta"))
    batch = next(source.batches(0)) if isinstance(source, StreamSource) else epoch(source)[0]
    assert {tensor.device.type for tensor in batch} == {"meta"}


def test_a_sampler_is_enough_where_the_dataset_has_no_length():
    class Unsized(Dataset):
        def __getitem__(self, index):
            return torch.tensor([float(index)]), index

    source = as_source(DataLoader(Unsized(), sampler=[4, 7, 2]), "train")
    assert first_column(epoch(source)) == [4, 7, 2]


@pytest.mark.parametrize("count", [4, 25])
def test_a_random_sampler_of_another_number_of_samples_is_followed(count):
    source = as_source(DataLoader(Rows(), sampler=RandomSampler(Rows(), num_samples=count)), "train")
    order = first_column(epoch(source))
    assert len(order) == count and len(set(order)) == min(count, N)


def test_tensors_that_get_gradients_are_collated_as_in_a_loader():
    x = torch.ones(N, 2, requires_grad=True)
    batch = epoch(as_source(DataLoader(TensorDataset(x, torch.arange(N)), batch_size=4), "train"))[0]
    batch[0].sum().backward()
    assert int((x.grad[:, 0] == 1).sum()) == 4


PARTS = torch.zeros(4, 2), torch.zeros(4)


@pytest.mark.parametrize(
    "data",
    [
        [PARTS, PARTS],
        (PARTS, PARTS),
        [list(PARTS), [torch.zeros(3, 2), torch.zeros(3)]],
        [{"x": PARTS[0], "y": PARTS[1]}],
        [tuple(part.numpy() for part in PARTS)],
        list(DataLoader(TensorDataset(torch.zeros(10, 2), torch.zeros(10)), batch_size=4)),
    ],
    ids=["list", "tuple", "uneven", "mappings", "numpy", "of a loader"],
)
def test_lists_whose_items_may_be_batches_or_samples_are_refused_with_the_way_to_give_either(data):
    with pytest.raises(TypeError, match=r"may be a batch or a sample: .*batch_size=None\), samples as DataLoader"):
        as_source(data, "train")


def test_batches_in_a_list_are_dealt_as_they_are_by_the_way_told():
    data = [PARTS, (torch.ones(3, 2), torch.ones(3))]
    batches = list(as_source(DataLoader(data, batch_size=None), "train").batches(0))
    assert [len(batch[0]) for batch in batches] == [4, 3]


@pytest.mark.parametrize("data", [[{"a": X}, Y], ({"a": "text"}, Y)], ids=["list", "texts"])
def test_columns_by_name_that_are_no_arrays_are_refused_with_the_way_to_give_them(data):
    with pytest.raises(TypeError, match=r"got a dict: columns by name are a StackDataset\(\*\*columns\)"):
        as_source(data, "train")


Pair = namedtuple("Pair", "label size")


@pytest.mark.parametrize(
    "data",
    [
        {"x": X, "y": Y},
        ({"a": X, "b": X}, Y),
        (X, {"label": Y, "size": X[:, 0]}),
        (X, (Y, X[:, 0])),
        (X, Pair(Y, X[:, 0])),
        (X, {"all": {"label": Y}, "size": X[:, 0]}),
    ],
    ids=["mapping", "inputs", "targets", "tuple", "named tuple", "nested"],
)
def test_arrays_by_name_are_dealt_in_the_mappings_and_tuples_they_were_given_in(data):
    batch = epoch(as_source(data, "val"))[0]
    given, dealt = list(walked(data)), list(walked(batch))
    assert [place for place, _array in dealt] == [place for place, _array in given]
    for (_place, array), (_same, tensor) in zip(given, dealt, strict=True):
        assert torch.equal(tensor, torch.as_tensor(np.asarray(array)).to(tensor.dtype)[: len(tensor)])


def walked(tree, place=()):
    """Yield arrays with the way to them, classes of tuples included."""
    if not isinstance(tree, (dict, tuple)):
        yield place, tree
        return
    for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield from walked(part, (*place, type(tree).__name__, key))


def test_arrays_by_name_differ_in_length_as_others_do():
    with pytest.raises(ValueError, match="the parts of train differ in length"):
        as_source((X, {"label": Y[:-1]}), "train")


def test_columns_by_name_are_dealt_by_the_way_told():
    data = StackDataset(**{"x": TENSORS[0], "y": TENSORS[1]})
    batch = epoch(as_source(DataLoader(data, batch_size=4), "val"))[0]
    assert torch.equal(batch["x"], TENSORS[0][:4]) and torch.equal(batch["y"], TENSORS[1][:4])
