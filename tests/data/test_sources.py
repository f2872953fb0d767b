import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)

from nbopt.data.sources import DatasetSource, StreamSource, as_source, sample_count
from tests.data.rows import TENSORS, N, Rows, Stream, X, Y, epoch


class Noisy(Rows):
    """Augments: every sample draws."""

    def __getitem__(self, index):
        return torch.tensor([float(index)]) + torch.rand(1), index % 3


def first_column(batches):
    return torch.cat([batch[0][:, 0] for batch in batches]).tolist()


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
