import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, Subset, SubsetRandomSampler, TensorDataset

from nbopt.data.sources import DatasetSource, as_source
from nbopt.data.split import split
from nbopt.data.tensor_source import TensorSource


class Rows(Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, index):
        return torch.tensor([float(index)]), 0


def samples(source):
    return source.batch(0, source.size)[0][:, 0].int().tolist()


def labelled(counts):
    y = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    return as_source((torch.arange(len(y))[:, None].float(), y), "train")


@given(
    st.lists(st.integers(10, 60), min_size=2, max_size=6), st.sampled_from([0.1, 0.2, 0.3, 0.5]), st.integers(0, 2**64)
)
def test_the_parts_are_disjoint_complete_seeded_and_of_equal_class_shares(counts, fraction, seed):
    source = labelled(counts)
    train, val = split(source, fraction, seed)
    assert sorted(samples(train) + samples(val)) == list(range(sum(counts)))
    for label, count in enumerate(counts):
        assert abs(int((val.columns[1] == label).sum()) - fraction * count) < 1.01
    again = split(source, fraction, seed)
    assert samples(again[0]) == samples(train) and samples(again[1]) == samples(val)


def test_another_seed_is_another_split():
    assert samples(split(labelled([30, 30]), 0.2, 1)[1]) != samples(split(labelled([30, 30]), 0.2, 2)[1])


def test_a_class_with_a_single_sample_does_not_stand_in_the_way():
    train, val = split(labelled([30, 1]), 0.2, 0)
    assert train.size + val.size == 31


class Targets(Dataset):
    """As torchvision's: the labels stand in ``targets``; to fetch a sample to find one out is wrong."""

    def __init__(self, x, targets):
        self.x, self.targets = x, targets

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        raise AssertionError


def forms():
    """1,000 samples, of which 12 are of a rare class, in the forms that labels have."""
    x, y = torch.randn(1000, 4), torch.zeros(1000, dtype=torch.int64)
    y[:12] = 1
    return {
        "whole": (x, y),
        "floats": (x, y.float()),
        "booleans": (x, y.bool()),
        "a column": (x, y[:, None]),
        "one-hot": (x, torch.nn.functional.one_hot(y, 2).float()),
        "several labels": (x, torch.stack([y, 1 - y, torch.zeros_like(y)], 1)),
        "sparse inputs": (x.to_sparse(), y),
        "rows of tensors": TensorDataset(x, y),
        "list of pairs": list(zip(x, y, strict=True)),
        "pairs with numbers": list(zip(x, y.tolist(), strict=True)),
        "pairs in a loader": DataLoader(list(zip(x, y, strict=True)), batch_size=64),
        "subset": Subset(TensorDataset(x, y), range(1000)),
        "targets": Targets(x, y.tolist()),
    }, y


@pytest.mark.parametrize("form", forms()[0])
def test_a_rare_class_is_in_both_parts_whatever_form_labels_have(form):
    given, y = forms()
    data = given[form]
    for seed in range(4):
        train, val = split(as_source(data, "train"), 0.1, seed)
        assert (train.size, val.size) == (900, 100)
        if form == "targets":
            counts = [int(y[part.dataset.indices].sum()) for part in (train, val)]
        else:
            column = -1 if form == "one-hot" else 0
            labels = [part.batch(0, part.size)[1].reshape(part.size, -1)[:, column] for part in (train, val)]
            counts = [int(part.sum()) for part in labels]
        assert counts == [11, 1]


def test_more_classes_than_a_part_has_samples_are_split_at_random():
    y = torch.arange(30).repeat_interleave(2)
    train, val = split(as_source((torch.zeros(60, 1), y), "train"), 0.1, 0)
    assert (train.size, val.size) == (54, 6)


def test_what_is_cut_off_a_loader_is_evaluated_whole_and_in_order():
    data = TensorDataset(torch.arange(40)[:, None].float(), torch.zeros(40))
    loader = DataLoader(data, batch_size=7, shuffle=True, drop_last=True)
    train, val = split(as_source(loader, "train"), 0.25, 0)
    assert (train.drop_last, train.shuffle, train.batch_size) == (True, True, 7)
    assert (val.drop_last, val.shuffle, val.batch_size) == (False, False, 7)


@pytest.mark.parametrize("y", [torch.randn(40), torch.arange(40), torch.randn(40, 2)], ids=["floats", "ids", "columns"])
def test_what_is_no_class_label_is_split_at_random(y):
    train, val = split(as_source((torch.arange(40)[:, None].float(), y), "train"), 0.25, 0)
    assert (train.size, val.size) == (30, 10)
    assert samples(val) != sorted(samples(val))


def test_a_dataset_is_split_into_subsets():
    train, val = split(as_source(Rows(), "train"), 0.25, 0)
    assert isinstance(train, DatasetSource) and isinstance(val, DatasetSource)
    assert sorted(samples(train) + samples(val)) == list(range(40))


def test_the_parts_keep_the_loader_s_batch_size_and_order():
    loader = DataLoader(TensorDataset(torch.arange(40)[:, None].float(), torch.zeros(40)), batch_size=7)
    train, _val = split(as_source(loader, "train"), 0.25, 0)
    assert isinstance(train, TensorSource) and train.batch_size == 7
    before = samples(train)
    train.begin(5)
    assert samples(train) == before


@pytest.mark.parametrize(
    "data",
    [DataLoader(Rows(), batch_sampler=[[0, 1]]), DataLoader(Rows(), sampler=SubsetRandomSampler(range(9)))],
    ids=["stream", "sampler"],
)
def test_what_picks_its_own_samples_cannot_be_split(data):
    with pytest.raises(ValueError, match=r"val=0.2 needs train as arrays or a Dataset"):
        split(as_source(data, "train"), 0.2, 0)


def test_a_fraction_that_leaves_a_side_empty_is_told_with_the_size():
    with pytest.raises(ValueError, match=r"val=0.2 cannot be split off 1 samples"):
        split(as_source((torch.zeros(1, 2), torch.zeros(1)), "train"), 0.2, 0)
