"""Why a run's steps cannot be compiled."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nbopt.data.tensor_source import TensorSource
from nbopt.i18n import _
from nbopt.objects.layers import NOISY, leaves_out
from nbopt.techniques.optimizers.formulas import FORMULAS
from nbopt.techniques.optimizers.groups import is_altered
from nbopt.training.compile.captured import RECORDERS
from nbopt.training.compile.marks import find_hooks
from nbopt.training.core import Core
from nbopt.training.step.passes import call_on_pair
from nbopt.training.user_code.modes import find_modes


def find_obstacle(training: Core) -> str:
    """Return why the run as it is now cannot be compiled; "" if it can."""
    optimizer, source, model = training.torch_optimizer, training.cursor.source, training.model
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    group = optimizer.param_groups[0]
    odd = ("maximize", "dampening", "amsgrad", "differentiable", "capturable")
    modes = find_modes()
    checks: Mapping[str, bool] = {
        _("{modes} is on", modes=", ".join(modes)): bool(modes),
        _("steps on {device} are not compiled", device=training.device.type): training.device.type
        not in ("cpu", *RECORDERS),
        _("the forward function is your own"): training.pass_.forward is not call_on_pair,
        _("the loss is of several outputs"): bool(training.loss.measures),
        _("the data are not a pair of tensors in memory"): not isinstance(source, TensorSource)
        or not source.resident
        or source.structure is not None
        or len(source.columns) != 2,
        _("the loss is your own"): training.loss.draws,
        _("the loss has settings of its own"): training.loss.has_settings,
        training.acting.obstacle: bool(training.acting.obstacle),
        _("no formula for this optimizer"): type(optimizer) not in FORMULAS,
        _("the optimizer is set up in an unusual way"): is_altered(optimizer)
        or len(optimizer.param_groups) > 1
        or any(group.get(key) for key in odd)
        or isinstance(group.get("lr"), Tensor)
        or {id(weight) for weight in group["params"] if weight.requires_grad} != {id(weight) for weight in weights},
        _("not all weights have done as many updates"): "betas" in group and _counts_differ(optimizer, weights),
        _("not all weights are float32"): any(weight.dtype is not torch.float32 for weight in weights),
    }
    found = next((reason for reason, holds in checks.items() if holds), "")
    if not found and (hooked_on := find_hooks(model)):
        found = _("hooks on {name}", name=hooked_on)
    return found or next(filter(None, map(_obstacle_in, model.modules())), "") or training.tiers.reads().obstacle


def _counts_differ(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter]) -> bool:
    """Whether weights were thawed later than others, or what was remembered of some was cleared by hand."""
    counts = [optimizer.state.get(weight, {}).get("step") for weight in weights]
    return any(count is None for count in counts) or len(set(map(float, counts))) > 1


def _obstacle_in(module: nn.Module) -> str:
    fed = type(module) is nn.Dropout
    if (leaves_out(module) and not fed) or isinstance(module, NOISY):
        return _("the noise of {name} cannot be fed from outside", name=type(module).__name__)
    return ""
