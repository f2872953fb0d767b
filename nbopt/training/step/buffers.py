"""Buffers that steps change, as batch normalization's means: put back where a step breaks off in the middle."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nbopt.objects.buffers import put_tensors_back
from nbopt.torch_private import NormBase, foreach_copy_


class Buffers:
    """Keeps the buffers that change as they were before the step.

    Which of them change is found by watching: at first all of them are kept. One that begins to change later is kept
    from the next look on. Those of normalization layers are always kept: torch's kernels change them unseen.

    Parameters
    ----------
    modules : list of torch.nn.Module

    Attributes
    ----------
    moving : list of Tensor
        Those that change.
    """

    def __init__(self, modules: list[nn.Module]) -> None:
        self._modules = modules
        self._versions: dict[int, int] = {}
        self.moving: Sequence[Tensor] = ()
        self._groups: Sequence[tuple[list[Tensor], list[Tensor]]] = ()
        self._sizes: Sequence[tuple[Tensor, torch.Size]] = ()

    def renew(self) -> None:
        """Keep all buffers that there are now, until the next look."""
        self._take([buffer for module in self._modules for buffer in module.buffers()])

    def look(self) -> None:
        """Find out which buffers changed since this last looked."""
        if not self._versions and not self.moving:
            return
        buffers = [buffer for module in self._modules for buffer in module.buffers()]
        always = self._means()
        moving = [b for b in buffers if id(b) in always or self._versions.get(id(b)) != b._version]
        if list(map(id, moving)) != list(map(id, self.moving)):
            self._take(moving)
        self._versions = {id(buffer): buffer._version for buffer in buffers}

    def _take(self, moving: Sequence[Tensor]) -> None:
        self.moving = moving = tuple(buffer for buffer in moving if not buffer.requires_grad)
        self._versions = self._versions or {id(buffer): buffer._version for buffer in moving}
        groups: dict[torch.dtype, list[Tensor]] = {}
        for buffer in moving:
            groups.setdefault(buffer.dtype, []).append(buffer)
        self._groups = tuple((group, [buffer.clone() for buffer in group]) for group in groups.values())
        fixed = self._means() if moving else ()
        self._sizes = tuple((buffer, buffer.shape) for buffer in moving if id(buffer) not in fixed)

    def _means(self) -> set[int]:
        """Return the ids of what normalization layers keep."""
        parts = [part for module in self._modules for part in module.modules() if isinstance(part, NormBase)]
        return {id(buffer) for part in parts for buffer in part.buffers(recurse=False)}

    def keep(self) -> None:
        """Keep what changes, before a step."""
        if any(buffer.shape != size for buffer, size in self._sizes):  # as observers of quantization make theirs
            self._take(self.moving)
            return
        for group, kept in self._groups:
            foreach_copy_(kept, group)

    def put_back(self) -> None:
        """Undo what a step did."""
        for group, kept in self._groups:
            put_tensors_back(zip(group, kept, strict=True))
