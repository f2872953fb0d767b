import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler, TensorDataset

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
    with pytest.raises(ValueError, match=r"val=0.2 cannot be cut off 1 samples"):
        split(as_source((torch.zeros(1, 2), torch.zeros(1)), "train"), 0.2, 0)
