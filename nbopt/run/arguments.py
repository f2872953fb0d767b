"""What a run calls its model with, to call copies of it with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nbopt.data.tree import tensors, tree_map
from nbopt.training.snapshots.outside import unchanged
from nbopt.training.trial import first_batches

if TYPE_CHECKING:
    from nbopt.export.compressed.graphs import Arguments

MOST_SAMPLES = 1024
_MOST_BYTES = 2**28  # of what many batches are called with


def find_arguments(run: Any) -> Arguments:
    """Return what the model is called with for the next training batch; to be called between two steps."""
    return _find(run, [run.training.pass_.calibration.next_batch()])[0]


def find_many(run: Any) -> list[Arguments]:
    """Return the same for the epoch's first batches, until there are 1,024 samples or 256 MiB; of a stream, for one."""
    run.training.pass_.calibration.next_batch()  # which says so in words where there is none
    return _find(run, first_batches(run.training.cursor, MOST_SAMPLES))


def _find(run: Any, batches: Iterable[Any]) -> list[Arguments]:
    training = run.training
    seen: list[Arguments] = []
    found: list[Arguments] = []

    def note(_model: Any, given: Any, named: Any) -> None:
        seen.append(tree_map(lambda tensor: tensor.detach(), (given, named)))

    laid = run.model.register_forward_pre_hook(note, with_kwargs=True)
    evaluating, seeded = training.material.evaluating(), training.noise.seeded(training.evaluation_seed)
    try:
        with unchanged(training), evaluating, torch.no_grad(), training.noise.lock, seeded:
            for batch in batches:
                training.pass_.look(batch)
                found.append(seen[-1])
                if sum(tensor.nbytes for each in found for tensor in tensors(each)) > _MOST_BYTES:
                    break
    finally:
        laid.remove()
    return found


@torch.no_grad()
def call(arguments: Arguments, model: nn.Module) -> Any:
    """Return what a model puts out for arguments; what it draws is always the same."""
    given, named = arguments
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return model(*given, **named)
