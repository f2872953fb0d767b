"""Files that `nbopt.load_compressed` is given and cannot load: what is said, and that the model stays as it is."""

import copy
import json
import os
import zlib

import pytest
import torch
from torch import nn

import nbopt
from nbopt.errors import InvalidHyperparam
from tests.techniques.compression.nets import data, make, net

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """Return a file with all that files hold: a grid, zeros left out, rounded inputs, a norm that was folded."""
    run = make(weight_bits=4, sparsity=0.5, activation_bits=6)
    run.step(5)
    path = tmp_path_factory.mktemp("whole") / "small.safetensors"
    assert run.export(path, fold=True).folding.folded
    return path.read_bytes()


def taken_apart(content):
    begin = 8 + int.from_bytes(content[:8], "little")
    end = begin + int(json.loads(content[8:begin])["__metadata__"]["compressed"])
    return json.loads(zlib.decompress(content[begin:end])), content[end:]


def put_together(own, rest):
    told = zlib.compress(json.dumps(own).encode())
    text = json.dumps({"__metadata__": {"compressed": str(len(told))}}).encode()
    return len(text).to_bytes(8, "little") + text + told + rest


def hold_refused(content, path, error, words, model=None):
    """Hold that a file is refused, and that nothing of it is in the model."""
    path.write_bytes(content)
    model = model or net()
    before, modules = copy.deepcopy(model.state_dict()), [*model.modules()]
    model.train()
    with pytest.raises(error, match=words):
        nbopt.load_compressed(path, model)
    assert [*model.modules()] == modules and model.training
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_file_cut_short_anywhere_is_refused(content, tmp_path):
    begin = len(content) - len(taken_apart(content)[1])  # of the tensors
    for end in [0, 3, 8, 20, begin - 20]:
        hold_refused(content[:end], tmp_path / "cut", ValueError, "cut was not written by run.export.*or is cut short")
    for end in [begin, begin + 1, len(content) - 1]:
        hold_refused(content[:end], tmp_path / "cut", ValueError, "cut is broken: it is cut short")
    hold_refused(content + b"more", tmp_path / "cut", ValueError, "cut is broken")


@pytest.mark.parametrize(
    "bytes_",
    [b"", b"PK\3\4 and more", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0[]", (2**62).to_bytes(8, "little") + b"{}"],
    ids=["empty", "zip", "ones", "list", "endless"],
)
def test_what_is_no_such_file_is_refused(bytes_, tmp_path):
    hold_refused(bytes_, tmp_path / "other", ValueError, r"other was not written by run\.export")


def _entry(own, name="6.weight"):
    return next(entry for entry in own["layout"] if entry["name"] == name)


def _spoil(**changes):
    return lambda own: _entry(own).update(changes)


BROKEN = {
    "shape of text": _spoil(shape="all"),
    "shape below 0": _spoil(shape=[-1, 9]),
    "no type": _spoil(dtype="nothing"),
    "no type but a function": _spoil(dtype="load"),
    "way": _spoil(way="backwards"),
    "bits": _spoil(bits=10**9),
    "gaps": _spoil(sparse=True, gaps=10**12, gap_bits=4),
    "fewer parts": _spoil(parts=[]),
    "part below 0": _spoil(parts=[-5]),
    "part of text": _spoil(parts=["1"]),
    "no name": lambda own: _entry(own).pop("name"),
    "another name's": lambda own: own["layout"].append({"name": "8.weight", "same": "9.weight"}),
    "no list": lambda own: own.update(layout=5),
    "list of numbers": lambda own: own.update(layout=[5]),
}
OTHERS = {
    "other name": (_spoil(name="../weight"), r"Unexpected key\(s\) in state_dict: \"\.\./weight\""),
    "other shape": (_spoil(shape=[9, 3]), "size mismatch for 6.weight"),
    "huge": (_spoil(shape=[10**6, 10**6]), "size mismatch for 6.weight"),
    "name of no text": (_spoil(name=[7]), r"Unexpected key\(s\) in state_dict: \"\[7\]\""),
    "missing": (lambda own: own["layout"].append({**_entry(own), "name": "9", "parts": []}), "Unexpected key"),
    "rounds another layer": (lambda own: own["inputs"].update({"../4": [0, 1, 4]}), r"its '\.\./4' is none"),
    "rounds to many bits": (lambda own: own["inputs"].update({"4": [0, 1, 10**9]}), "no numbers of 1000000000 bits"),
    "rounds to text": (lambda own: own["inputs"].update({"4": "abc"}), "does not fit the model"),
    "folds no norm": (lambda own: own["folded"].update({"4": "0"}), "its '4' is a Linear"),
    "folds into nothing": (lambda own: own["folded"].update({"1": "7"}), "its '7' is none"),
    "folds into an activation": (lambda own: own["folded"].update({"1": "2"}), "does not fit the model"),
    "rounds by a list": (lambda own: own.update(inputs=[1]), "does not fit the model"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_refused_as_a_whole(kind, content, tmp_path):
    own, rest = taken_apart(content)
    BROKEN[kind](own)
    hold_refused(put_together(own, rest), tmp_path / "file", ValueError, "file is broken")


@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_of_another_model_is_refused_as_a_whole(kind, content, tmp_path):
    own, rest = taken_apart(content)
    spoil, words = OTHERS[kind]
    spoil(own)
    hold_refused(put_together(own, rest), tmp_path / "file", RuntimeError, words)


def test_bytes_that_grow_are_not_unpacked_beyond_what_the_model_holds(content, tmp_path):
    own, _rest = taken_apart(content)
    bomb = b"\1" + zlib.compress(bytes(10**8))
    own["layout"] = [{**_entry(own), "way": "table", "sparse": False, "bits": 4, "parts": [4, len(bomb)]}]
    model = nn.Sequential(*[nn.Identity()] * 6, nn.Linear(9, 3, bias=False))
    own.update(inputs={}, folded={})
    hold_refused(put_together(own, b"\0\0\x80\x3f" + bomb), tmp_path / "file", ValueError, "is broken", model)


def test_another_model_is_named(content, tmp_path):
    hold_refused(
        content,
        tmp_path / "file",
        RuntimeError,
        "does not fit the model: its '1' is a Tanh",
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh()),
    )


def test_the_last_file_loaded_counts(content, tmp_path):
    run = make(activation_bits=3)
    run.step(5)
    for path, written in ((tmp_path / "first", content), (tmp_path / "again", content)):
        path.write_bytes(written)
    model = nbopt.load_compressed(tmp_path / "first", net())
    with torch.no_grad():
        expected = model(data()[0])
        assert torch.equal(nbopt.load_compressed(tmp_path / "again", model)(data()[0]), expected)
        exported = run.export(tmp_path / "other.safetensors")
        other = nbopt.load_compressed(exported.path, net())
        again = nbopt.load_compressed(exported.path, other)
        assert torch.equal(again(data()[0]), run.predict(data()[0]))
    assert [len(module._forward_pre_hooks) for module in again.children()] == [1, 0, 0, 0, 1, 0, 1]


@pytest.mark.parametrize("place", ["missing/small.safetensors", "missing/small.onnx", "small.onnx/small.pt2"])
def test_a_place_that_cannot_be_written_to_is_named(place, tmp_path):
    (tmp_path / "small.onnx").write_text("mine")
    run = make()
    run.step(1)
    with pytest.raises(OSError, match=r"(missing|small\.onnx)"):
        run.export(tmp_path / place)
    assert os.listdir(tmp_path) == ["small.onnx"] and (tmp_path / "small.onnx").read_text() == "mine"


def test_what_is_no_path_or_no_model_is_refused_in_words(tmp_path):
    run = make()
    run.step(1)
    with pytest.raises(InvalidHyperparam, match=r"a file that ends in \.safetensors, .*got None"):
        run.export(None)
    path = run.export(tmp_path / "small.safetensors").path
    for given in ((path, None), (None, net())):
        with pytest.raises(TypeError, match=r"takes the path of a file and a torch\.nn\.Module"):
            nbopt.load_compressed(*given)
