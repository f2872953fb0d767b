"""A snapshot as a file: its tensors and facts in one safetensors file, nothing in it that could be executed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
        save_file(tensors, draft, {"nbopt": json.dumps(head)})
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
    OSError, safetensors.SafetensorError
        If there is no such file, or it is damaged.
    """
    import torch
    from safetensors import safe_open

    from nbopt.record.snapshots import Snapshot

    with safe_open(path, framework="pt") as file:
        head: dict[str, Any] = json.loads(file.metadata()["nbopt"])
        tensors = {name: file.get_tensor(name) for name in head["names"]}
    for name, stride in head["strides"].items():
        flat = tensors[name]
        tensors[name] = torch.empty_strided(flat.shape, stride, dtype=flat.dtype).copy_(flat)
    return Snapshot(head["step"], tensors, head["facts"])
