"""Mixed precision: forward pass and loss in 16 bits where that does no harm, all that is kept in 32."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from nbopt.data.tree import tree_map
from nbopt.hyperparams import Choice, Hyperparam, variant
from nbopt.i18n import N_, _
from nbopt.techniques.base import Technique
from nbopt.techniques.context import Setting
from nbopt.techniques.own_lines import OwnLines, Told
from nbopt.techniques.precision.scaled import Scaled

FULL, SCALED = "float32", "float16"
_DTYPES = {"bfloat16": torch.bfloat16, SCALED: torch.float16}


@dataclass(eq=False)
class PrecisionChoice(Choice):
    """One of the precisions, of which a run may be able to use only some.

    Attributes
    ----------
    missing : str
        Why it can use no others, in words; "" if it can use all.
    """

    missing: str = field(default="", kw_only=True)

    def check(self, value: Any) -> str:
        """Return ``value`` if the run can use it."""
        if isinstance(value, str) and value in _DTYPES and value not in self.options:
            raise self._refuse(value, f"{_(' or ').join(self.options)} ({self.missing})")
        return super().check(value)


class Precision(Technique):
    """Mixed precision (Micikevicius et al. 2018), torch's: autocast decides which operations take 16 bits.

    Weights and the optimizer's state stay float32, and so do outputs and losses as they are shown. In float16, small
    gradients would become 0: the loss is scaled for the backward pass, by a `torch.amp.GradScaler`, see
    `nbopt.techniques.precision.scaled`. A step whose gradients overflow is skipped; a loss that is no number stays a
    divergence.

    Attributes
    ----------
    scaler : GradScaler
        Once a step was done in float16.
    """

    precision = PrecisionChoice(
        FULL,
        options=(FULL, *_DTYPES),
        label=N_("Precision"),
        group=N_("Speed"),
        help=N_("Precision of forward pass and loss: 16 bits are faster on GPUs; weights and optimizer stay float32."),
        synonyms="amp fp16 bf16 mixed_precision autocast dtype",
    )
    memory: ClassVar[tuple[str, ...]] = ("scaling",)
    compiles = True

    def __init__(self) -> None:
        self.scaling = None

    @classmethod
    def declared_for(cls, setting: Setting) -> dict[str, Hyperparam[Any]]:
        """Return the declaration with what model and device can use."""
        return {"precision": precision_choice(setting.model, setting.device)}

    @classmethod
    def unfit_for(cls, setting: Setting) -> str:
        """Look whether there is more than float32."""
        choice = precision_choice(setting.model, setting.device)
        return choice.missing if len(choice.options) == 1 else ""

    @classmethod
    def conflict(cls, values: Mapping[str, Any], chosen: Mapping[str, Any]) -> str:
        """Scaled losses go with steps of one evaluation."""
        if values["precision"] != SCALED or not chosen["optimizer"].repeats:
            return ""
        name = values["optimizer"]
        rule = _("it needs torch's GradScaler, which does not support steps that evaluate the loss several times")
        way = _("use float32 or bfloat16, or another optimizer")
        return _("float16 does not work with {name}: {rule}; {way}", name=name, rule=rule, way=way)

    @property
    def obstacle(self) -> str:
        """The compiled step scales nothing."""
        return _("float16 scales the loss") if self.scales else ""

    @classmethod
    def own_lines(cls, told: Told) -> OwnLines:
        """Cast in a ``with`` block, if there is anything but float32; scale the loss in float16."""
        values = told.values_of("precision")
        known = {} if any(value != FULL for value in values) else {"cast_to": False}
        scales = {value == SCALED for value in values}
        return OwnLines({}, known | ({"scaled": scales.pop()} if len(scales) == 1 else {}))

    @property
    def is_coarse(self) -> bool:
        """In 16 bits."""
        return self.acts

    def replace_step(self, gradients: Any, optimizer: torch.optim.Optimizer, weights: Any) -> Scaled | None:
        """Scale the loss, in float16."""
        return Scaled(gradients, self, optimizer, weights) if self.scales else None

    @property
    def acts(self) -> bool:
        """In 16 bits."""
        return self.precision != FULL

    @property
    def scales(self) -> bool:
        """Whether losses are scaled for the backward pass."""
        return self.precision == SCALED

    @property
    def scaling(self) -> dict[str, Any] | None:
        """The scaler's state; None before there is one. Setting it makes a new scaler."""
        return None if self.scaler is None else self.scaler.state_dict()

    @scaling.setter
    def scaling(self, state: dict[str, Any] | None) -> None:
        self.scaler: GradScaler | None = None
        if state is not None:
            self.begin_scaling().load_state_dict(state)

    def begin_scaling(self) -> GradScaler:
        """Return the scaler; make it, if there is none yet."""
        if self.scaler is None:
            device = self.weights[0].device
            self.scaler = GradScaler(device.type)
            self.scaler.scale(torch.zeros((), device=device))  # it makes its tensors with the first loss
        return self.scaler

    def change_every_pass(self, do: Any, batch: Any) -> tuple[Any, Any, Tensor]:
        """Do forward pass and loss under autocast; outputs and loss are handed on in float32."""
        with cast_to(self.precision, self.weights[0].device):
            output, target, loss = do(batch)
        return tree_map(widen, output), target, widen(loss)


# Scripts hold this as it is written here, so in lines of 88 characters.
def cast_to(
    precision: str,
    device: torch.device,
) -> torch.autocast:
    """Return the ``with`` block in which torch computes in ``precision``."""
    low = precision != "float32"
    dtype = getattr(torch, precision) if low else None
    return torch.autocast(device.type, dtype, low)


def widen(tensor: Tensor) -> Tensor:
    """Return a tensor of 16-bit numbers in float32, any other one as it is."""
    return tensor.float() if tensor.dtype in _DTYPES.values() else tensor


def precision_choice(model: nn.Module, device: torch.device) -> PrecisionChoice:
    """Return the run's ``precision`` declaration: what its model and device can use."""
    options: list[str] = []
    if any(weight.dtype is not torch.float32 for weight in model.parameters() if weight.requires_grad):
        missing = _("mixed precision needs weights in float32")
    else:
        options = [name for name, dtype in _DTYPES.items() if _is_known(device.type, dtype)]
        missing = _('torch.autocast supports no others on "{device}": train on another device', device=device.type)
    changes = {"options": (FULL, *options), "missing": "" if len(options) == len(_DTYPES) else missing}
    choice = variant(Precision.declared()["precision"], **changes)
    assert isinstance(choice, PrecisionChoice)
    return choice


def _is_known(device_type: str, dtype: torch.dtype) -> bool:
    """Whether torch can compute in a dtype there; where it cannot, it warns or raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            torch.autocast(device_type, dtype)
    except (RuntimeError, Warning):
        return False
    return True
