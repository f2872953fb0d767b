import collections
import dataclasses
import types
from typing import NamedTuple

import pytest
import torch
from torch import nn

from nbopt.data.tree import tensors, to_device, tree_map


class Pair(NamedTuple):
    x: torch.Tensor
    name: str


def test_a_function_reaches_every_tensor_and_the_shape_of_the_batch_stays():
    batch = {"a": torch.ones(2), "b": [torch.ones(1), (torch.ones(3), "text")], "c": Pair(torch.ones(4), "n"), "d": 5}
    doubled = tree_map(lambda tensor: tensor * 2, batch)
    assert doubled["a"].tolist() == [2, 2]
    assert doubled["b"][0].tolist() == [2]
    assert isinstance(doubled["b"], list) and isinstance(doubled["b"][1], tuple)
    assert doubled["b"][1][1] == "text"
    assert isinstance(doubled["c"], Pair) and doubled["c"].x.tolist() == [2] * 4
    assert doubled["d"] == 5


def test_the_tensors_of_a_batch_come_in_order():
    batch = ({"a": torch.ones(1), "b": [torch.ones(2)]}, torch.ones(3), "text", None)
    assert [len(tensor) for tensor in tensors(batch)] == [1, 2, 3]


@dataclasses.dataclass(frozen=True)
class Record:
    x: torch.Tensor
    name: str


CONTAINERS = {
    "tuple": lambda x: (x, 3),
    "list": lambda x: [x, "text"],
    "named tuple": lambda x: Pair(x, "n"),
    "dict": lambda x: {"x": x, 1: None},
    "ordered": lambda x: collections.OrderedDict(x=x),
    "default": lambda x: collections.defaultdict(list, x=x),
    "user dict": lambda x: collections.UserDict(x=x),
    "read only": lambda x: types.MappingProxyType({"x": x}),
    "dataclass": lambda x: Record(x, "n"),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_keep_their_class_and_the_one_given_stays_as_it_is(name):
    x = torch.ones(2)
    batch = CONTAINERS[name](x)
    doubled = tree_map(lambda tensor: tensor * 2, batch)
    assert type(doubled) is type(batch)
    assert [tensor.tolist() for tensor in tensors(doubled)] == [[2, 2]]
    assert next(tensors(batch)) is x


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_batch_that_is_on_the_device_is_returned_itself(name):
    batch = CONTAINERS[name](torch.ones(2))
    assert to_device([batch], torch.device("cpu"))[0] is batch


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_tensors_of_containers_are_moved(name):
    moved = to_device(CONTAINERS[name](torch.ones(2)), torch.device("meta"))
    assert [tensor.device.type for tensor in tensors(moved)] == ["meta"]


class Graph:
    """Moves in place, or returns another one."""

    def __init__(self, device="cpu", in_place=True):
        self.device, self.in_place = device, in_place

    def to(self, device):
        if not self.in_place:
            return Graph(device, False)
        self.device = device


@pytest.mark.parametrize("in_place", [True, False])
def test_objects_that_can_move_do_so_in_their_own_way(in_place):
    graph = Graph(in_place=in_place)
    moved = to_device({"graph": graph, "kind": Graph}, torch.device("meta"))
    assert moved["graph"].device == torch.device("meta")
    assert (moved["graph"] is graph) == in_place
    assert moved["kind"] is Graph


def test_packed_sequences_and_sparse_tensors_move():
    packed = nn.utils.rnn.pack_padded_sequence(torch.ones(2, 3, 1), [3, 2], batch_first=True)
    moved = to_device((packed, torch.eye(3).to_sparse()), torch.device("meta"))
    assert moved[0].data.device.type == "meta" and moved[0].batch_sizes.tolist() == [2, 2, 1]
    assert moved[1].is_sparse and moved[1].device.type == "meta"
