"""A run's model as it computes: a copy that nothing trains, with masks and few bits in its weights."""

from __future__ import annotations

import warnings
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import nn

from nbopt.export.compressed.folding import fold
from nbopt.i18n import _
from nbopt.run.arguments import call, find_arguments


def frozen_model(run: Any, at: str, folds: bool = False) -> nn.Module:
    """See `nbopt.Run.frozen_model`; ``run`` has a model and a training."""
    if at not in ("now", "best"):
        way = _("of another step, give run.branch(at=...).frozen_model()")
        raise ValueError(_("at must be 'now' or 'best'; got {given!r}: {way}.", given=at, way=way))
    training = run.training
    if training.acting.change_activations:
        way = _("turn that off for the time, or use run.predict or run.export")
        raise ValueError(_("a copy of the model cannot round activations, as this run does: {way}.", way=way))
    best = training.best_weights if at == "best" else None
    if best is not None and not best:
        raise ValueError(_("there are no best weights before the first validation."))
    model, held = run.model, None
    with torch.no_grad():
        if best is not None:
            held = deepcopy(model.state_dict())
            model.load_state_dict(best)
        try:
            copy: nn.Module = deepcopy(model)
            for name, weight in training.acting.weights().items():
                copy.get_parameter(name).copy_(weight)
        finally:
            if held is not None:
                model.load_state_dict(held)
    copy.requires_grad_(False).eval()
    if folds:
        folding = fold(copy, partial(call, find_arguments(run)))
        for name, why in folding.stays.items():
            warnings.warn(_("batch norm {name} stays: {why}.", name=name, why=why), stacklevel=2)
    return copy
