"""Samples that are in memory: gathered ahead, a stretch at a time, and moved where they train."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from nbopt.data import tensor_source
from nbopt.data.sources import StreamSource, as_source
from nbopt.data.tensor_source import TensorSource
from tests.data.rows import TENSORS, Rows, Stream, epoch


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
    source = TensorSource((torch.arange(12),), sampler=[99] * 12)
    source.stay(torch.device("cpu"))
    source.begin(0)
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
