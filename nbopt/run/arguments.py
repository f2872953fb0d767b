"""What a run calls its model with, to call copies of it with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nbopt.data.tree import tree_map
from nbopt.training.outside import unchanged

if TYPE_CHECKING:
    from nbopt.export.compressed.graphs import Arguments


def find_arguments(run: Any) -> Arguments:
    """Return what the model is called with for the next training batch; to be called between two steps."""
    training = run.training
    seen: list[Arguments] = []

    def note(_model: Any, given: Any, named: Any) -> None:
        seen.append(tree_map(lambda tensor: tensor.detach(), (given, named)))

    laid = run.model.register_forward_pre_hook(note, with_kwargs=True)
    evaluating, seeded = training.material.evaluating(), training.noise.seeded(training.evaluation_seed)
    try:
        with unchanged(training), evaluating, torch.no_grad(), training.noise.lock, seeded:
            training.pass_.look()
    finally:
        laid.remove()
    return seen[-1]


@torch.no_grad()
def call(arguments: Arguments, model: nn.Module) -> Any:
    """Return what a model puts out for arguments; what it draws is always the same."""
    given, named = arguments
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return model(*given, **named)
