"""What a stored study was made with, and whether what it is given when it is opened again is the same."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.data import DataLoader, TensorDataset

from nbopt.data.columns import is_array
from nbopt.i18n import _
from nbopt.record.snapshots import Snapshot
from nbopt.run.stored.fingerprint import describe_model, differences
from nbopt.search.spaces.encoding import text_of
from nbopt.search.spaces.space import Space
from nbopt.search.spec import StudySpec
from nbopt.search.subjects.estimators import is_estimator
from nbopt.search.subjects.objectives import Objective
from nbopt.store import tensors
from nbopt.store.schema import StoreError

_SAMPLED = 64  # samples that tell one data set from another
_KEPT = ("seed", "trials", "cv", "repeats", "share", "loss", "optimizer", "metrics", "hyperparams")
_WORDS = {"share": "val"}


def describe(spec: StudySpec, space: Space, objectives: list[Objective]) -> dict[str, Any]:
    """Return what a study is made with, as JSON can hold it."""
    judged = [[each.name, each.direction] for each in objectives]
    given = {"data": {name: _tell_data(getattr(spec.run, name)) for name in ("train", "val")}}
    if isinstance(spec.build, nn.Module):
        given["model"] = describe_model(spec.build)
    elif is_estimator(spec.build):
        given["estimator"] = {"build": text_of(spec.build)}
    return {**spec.describe(space), "judged": judged, "given": given}


def check_unchanged(
    number: str, made: Mapping[str, Any], spec: StudySpec, space: Space, found: list[Objective]
) -> None:
    """Raise ValueError, in words, where a stored study is given anything else than it was made with.

    Parameters
    ----------
    number : str
        The study's id.
    made : mapping
        What its record holds.
    spec : StudySpec
        What is given now, completed by the record.
    space : Space
    found : list of Objective
    """
    now = json.loads(json.dumps(describe(spec.put(trials=spec.trials or made["trials"]), space, found)))
    changed = [name for name in _KEPT if name in made and now.get(name) is not None and now[name] != made[name]]
    then, given = ({_WORDS.get(name, name): told[name] for name in changed} for told in (made, now))
    differ = differences(then, given, _("study"))
    differ += differences(_by_name(made["space"]), _by_name(now["space"]), _("space"))
    own = "objective" in made["missing"]  # a function goes by whatever name
    judged = [{str(k) if own else name: way for k, (name, way) in enumerate(told["judged"])} for told in (made, now)]
    differ += differences(judged[0], judged[1], _("objective"))
    for what, before in made.get("given", {}).items():  # studies of before tell nothing of it
        described = now["given"].get(what, {})
        if what == "data":  # what was a share of the training data need not be said again
            described["val"] = described["val"] or before["val"]
        differ += differences(before, described, what)
    if differ:
        told = _("this is not what study {id} was made with: {found}", id=number, found="; ".join(differ))
        if changed == ["trials"]:
            way = _("leave it out, and set it then: study.set(trials={count})", count=now["trials"])
            told = _("{told}: {way}", told=told, way=way)
        raise ValueError(f"{told}.")


def keep_weights(path: Path | None, build: Any) -> None:
    """Write the weights that all trials begin with, if they were given."""
    if path is not None and isinstance(build, nn.Module):
        tensors.save(Snapshot(0, {name: tensor.detach().cpu().clone() for name, tensor in _weights(build)}, {}), path)


def put_weights(path: Path | None, build: Any) -> None:
    """Put a model that was given again to the weights that all trials begin with.

    Raises
    ------
    StoreError
        If the file is damaged.
    """
    if path is None or not isinstance(build, nn.Module) or not path.exists():  # studies of before have none
        return
    stored = tensors.load(path).tensors
    with torch.no_grad():
        for name, tensor in _weights(build):
            if name not in stored or stored[name].shape != tensor.shape:
                raise StoreError(_("{path} does not hold the weights of this model.", path=path))
            tensor.copy_(stored[name])


def _weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor) and not is_lazy(value):
            yield name, value


def _by_name(space: list[dict[str, Any]]) -> dict[str, Any]:
    return {each["name"]: each for each in space}


def _tell_data(given: Any) -> Any:
    """Return what tells data from other data: kinds, sizes, and a checksum of some of the samples."""
    if given is None or isinstance(given, float):
        return None
    given = given.dataset if isinstance(given, DataLoader) else given
    given = given.tensors if isinstance(given, TensorDataset) else given
    return {f"part {k + 1}": _tell_part(part) for k, part in enumerate(_parts_of(given))}


def _parts_of(given: Any) -> Iterator[Any]:
    if isinstance(given, (tuple, Mapping)):
        for part in given.values() if isinstance(given, Mapping) else given:
            yield from _parts_of(part)
    else:
        yield given


def _tell_part(part: Any) -> str:
    kind = type(part).__name__
    try:
        size = part.shape[0] if hasattr(part, "shape") else len(part)
    except (TypeError, IndexError):  # what is only iterated over
        return kind
    if not is_array(part) or not size:
        return _("{kind} of {size} samples", kind=kind, size=size)
    digest = 0
    for row in np.unique(np.linspace(0, size - 1, _SAMPLED).astype(int)).tolist():
        digest = zlib.crc32(_bytes_of(part.iloc[row] if hasattr(part, "iloc") else part[row]), digest)
    return _("{size} samples, checksum {digest:08x}", size=size, digest=digest)


def _bytes_of(value: Any) -> bytes:
    if isinstance(value, (tuple, list, Mapping)):
        return b"".join(map(_bytes_of, value.values() if isinstance(value, Mapping) else value))
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous().reshape(-1)
        return plain.view(torch.uint8).numpy().tobytes()
    array = np.asarray(value.toarray() if hasattr(value, "toarray") else value)
    return text_of(value).encode() if array.dtype.hasobject else array.tobytes()
