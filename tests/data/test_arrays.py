"""Arrays, lists and columns by name as data."""

from collections import namedtuple

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import (
    DataLoader,
    StackDataset,
    TensorDataset,
)

from nbopt.data.sources import as_source
from nbopt.data.tensor_source import TensorSource
from tests.data.rows import TENSORS, X, Y, epoch


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
