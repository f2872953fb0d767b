from typing import NamedTuple

import torch

from nbopt.data.tree import tensors, tree_map


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
