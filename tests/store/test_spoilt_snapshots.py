"""Snapshots that are spoilt, or that somebody else made: nothing of them is put into a run unseen."""

import json
import struct

import pytest
import torch

import nbopt
from nbopt.record.snapshots import Snapshot
from nbopt.store import tensors
from nbopt.store.schema import StoreError
from tests.store.garbage import facts_of, ids_of
from tests.store.spoiling import material

# -- snapshots


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["resting"], 5),
        (["cursor"], ["x", 0, 0]),
        (["cursor"], [0, -1, 0]),
        (["seconds"], 10**400),
        (["moments", "counters"], {"param_groups": []}),
        (["moments", "groups", 0, "settings", "dict", 0, 0], "params"),
        (["parts", "EarlyStopping.judged"], None),
        (["parts", "Guard.state", "block"], ["x"]),
        (["validation_due"], 1),
        (["parts", "Dropout.rates"], [2.0]),
        (["parts"], {"x": 1}),
        (["split"], {"leaf": "x"}),
    ],
    ids=lambda item: ".".join(map(str, item)) if isinstance(item, list) and isinstance(item[0], str) else "",
)
def test_what_a_snapshot_holds_is_not_put_into_a_run_unseen(folder, path, value):
    run = ids_of(folder)[0]
    for file in (folder / "snapshots" / run).iterdir():
        facts, rewrite = facts_of(file)
        item = facts
        for key in path[:-1]:
            item = item[key]
        item[path[-1]] = value
        rewrite()
    with pytest.raises(StoreError, match="its snapshot of step"):
        nbopt.open(run, *material(), store=folder)


def test_a_bit_flipped_in_a_snapshot_is_found(tmp_path):
    path = tmp_path / "a.safetensors"
    held = {"weights": torch.arange(8.0), "turned": torch.randn(3, 4).t(), "none": torch.empty(0, 3)}
    tensors.save(Snapshot(7, held, {"lr": 0.1}), path)
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 7):
        spoilt = bytearray(whole)
        spoilt[bit // 8] ^= 1 << bit % 8
        path.write_bytes(spoilt)
        try:
            found = tensors.load(path)
        except StoreError:
            continue
        # Only the names of keys that nobody reads, and spaces, may differ.
        assert (found.step, found.facts) == (7, {"lr": 0.1})
        assert all(torch.equal(found.tensors[name], tensor) for name, tensor in held.items())


@pytest.mark.parametrize(
    "strides", [{"a": [10**12, 1]}, {"a": [0, 0]}, {"a": [-1, 1]}, {"a": ["x", 1]}, {"a": [1]}, {"b": [1]}, [1], 5]
)
def test_strides_that_ask_for_memory_are_refused(tmp_path, strides):
    from safetensors.torch import save_file

    head = {"step": 1, "facts": {}, "names": ["a"], "strides": strides}
    save_file({"a": torch.ones(3, 4)}, tmp_path / "a.safetensors", {"nbopt": json.dumps(head)})
    with pytest.raises(StoreError, match="damaged"):
        tensors.load(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 8) + b"x" * 8,
        struct.pack("<Q", 2) + b"{}",
        (lambda text: struct.pack("<Q", len(text)) + text)(
            b'{"a":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4]}}'
        )
        + b"1234",
    ],
)
def test_a_header_that_promises_what_is_not_there_is_refused(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        tensors.load(tmp_path / "a.safetensors")


def test_a_run_with_a_damaged_snapshot_goes_on_from_another_one(folder):
    run = ids_of(folder)[0]
    for path in (folder / "snapshots" / run).glob("latest-*"):
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    whole = nbopt.Run(*material(), loss="mse", epochs=100, batch_size=20, store=None)
    whole.step(10)
    whole.set(lr=0.01)
    whole.step(5)
    opened = nbopt.open(run, *material(), store=folder)
    assert opened.step_count == 15 and torch.equal(opened.model.weight, whole.model.weight)
