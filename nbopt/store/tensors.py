"""A snapshot as a file: its tensors and facts in one safetensors file, nothing in it that could be executed."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbopt.i18n import _
from nbopt.store.schema import StoreError

if TYPE_CHECKING:
    from torch import Tensor

    from nbopt.record.snapshots import Snapshot


def save(snapshot: Snapshot, path: Path, sync: bool = True) -> int:
    """Write a snapshot; the file is there whole or not at all. Return its size in bytes.

    Parameters
    ----------
    sync : bool
        Wait until it is on the disk itself: it then outlives a loss of power, not only of the process.

    Raises
    ------
    OSError
        If it cannot be written.
    ValueError, TypeError
        If the snapshot holds what no such file can: a state of the optimizer that is neither tensor nor plain value.
    """
    from safetensors.torch import save_file

    head = {
        "step": snapshot.step,
        "facts": snapshot.facts,
        "names": list(snapshot.tensors),
        # Fused optimizers need running means laid out as their weights are, which may be channels last.
        "strides": {name: t.stride() for name, t in snapshot.tensors.items() if not t.is_contiguous()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    try:
        tensors = {name: tensor.contiguous() for name, tensor in snapshot.tensors.items()}
        text = json.dumps(head)
        save_file(tensors, draft, {"nbopt": text, "checksum": _checksum(text, tensors)})
        if sync:
            with open(draft, "rb+") as file:
                os.fsync(file.fileno())
        size = draft.stat().st_size
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return size


def load(path: Path) -> Snapshot:
    """Read a snapshot.

    Raises
    ------
    OSError
        If there is no such file.
    StoreError
        If it is damaged, or holds what `save` does not write.
    """
    from safetensors import SafetensorError, safe_open

    from nbopt.record.snapshots import Snapshot

    if path.is_symlink() or not path.is_file():
        raise FileNotFoundError(_("{path} is not a file.", path=path))
    try:
        with safe_open(path, framework="pt") as file:
            texts = file.metadata()
            head = json.loads(texts["nbopt"])
            names, strides, step, facts = (head[key] for key in ("names", "strides", "step", "facts"))
            if sorted(names) != sorted(file.keys()):
                raise ValueError(_("its tensors are not those it tells of"))
            tensors = {name: file.get_tensor(name) for name in names}
        if "checksum" in texts and texts["checksum"] != _checksum(texts["nbopt"], tensors):
            raise ValueError(_("its checksum is wrong"))
        for name, stride in strides.items():
            tensors[name] = _laid_out(tensors[name], stride)
        if not isinstance(step, int) or isinstance(step, bool) or step < 0 or not isinstance(facts, dict):
            raise ValueError(_("it tells no step"))
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StoreError(_("the snapshot {path} is damaged: {error}.", path=path, error=error)) from error
    return Snapshot(step, tensors, facts)


def _laid_out(flat: Tensor, stride: Any) -> Tensor:
    """Return a tensor of the same values with this stride, which takes no more room."""
    import torch

    if len(stride) != flat.ndim or not all(type(count) is int and count > 0 for count in stride):
        raise ValueError(_("its strides are none"))
    if sum((size - 1) * count for size, count in zip(flat.shape, stride, strict=True)) >= max(1, flat.numel()):
        raise ValueError(_("its strides are none"))
    return torch.empty_strided(flat.shape, stride, dtype=flat.dtype).copy_(flat)


def _checksum(head: str, tensors: Mapping[str, Tensor]) -> str:
    """Return a number that changes with any bit of a file."""
    import torch

    digest = zlib.crc32(head.encode())
    for tensor in tensors.values():
        digest = zlib.crc32(f"{tensor.dtype} {tuple(tensor.shape)}".encode(), digest)
        if tensor.numel():
            digest = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, digest)
    return str(digest)
