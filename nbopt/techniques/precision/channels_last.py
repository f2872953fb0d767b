"""Channels-last memory format: where the numbers of images and of convolutions' weights stand in memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nbopt.data.tensor_source import TensorSource
from nbopt.data.tree import tree_map
from nbopt.hyperparams import Flag
from nbopt.i18n import N_, _
from nbopt.techniques.base import Technique
from nbopt.techniques.context import Setting
from nbopt.techniques.own_lines import OwnLines, Told


class ChannelsLast(Technique):
    """Images and weights of convolutions with channels side by side in memory, torch.channels_last (Li et al. 2016).

    Shapes and values stay; kernels made for this order are faster.
    """

    channels_last = Flag(
        False,
        label=N_("Channels last"),
        group=N_("Speed"),
        help=N_("Stores images and the weights of convolutions with channels last in memory: faster on GPUs."),
        synonyms="memory_format",
    )
    compiles = True

    @classmethod
    def bring(cls, setting: Setting) -> dict[str, Any]:
        """Leave a model as it is."""
        return {"channels_last": is_channels_last(setting.model)}

    @classmethod
    def unfit_for(cls, setting: Setting) -> str:
        """There have to be weights of images."""
        known = has_images(setting.model)
        return "" if known else _("the model has no weights of four dimensions, as convolutions of images have")

    def lay_out(self, optimizer: torch.optim.Optimizer) -> None:
        """Put model and optimizer in the order that the flag alone says, whatever led there."""
        lay_out(self.context.model, optimizer, self.channels_last)

    @classmethod
    def own_lines(cls, told: Told) -> OwnLines:
        """Lay out the model, and the inputs of each pass."""
        if "channels_last" in told.inert:
            return OwnLines()
        if not any(told.values_of("channels_last")):  # a run lays out what it is given
            return OwnLines({"begin": "model.to(memory_format=torch.contiguous_format)"})
        lay_out = "lay_out(model, optimizer, hyper.channels_last)"
        columns = isinstance(told.train, TensorSource) and told.train.structure is None
        laid = "tuple(map(lay_channels_last, batch))" if columns else "tree_map(lay_channels_last, batch)"
        lines = {
            "begin": lay_out,
            "changed": f'if "channels_last" in changes or "edits" in changes:\n    {lay_out}',
            "shape_batch": f"if hyper.channels_last:\n    batch = {laid}",
        }
        return OwnLines(lines)

    @property
    def acts(self) -> bool:
        """Where it is on."""
        return self.channels_last

    def change_every_pass(self, do: Any, batch: Any) -> tuple[Any, Any, Tensor]:
        """Do the pass on inputs in this order."""
        return do(tree_map(lay_channels_last, batch))  # type: ignore[no-any-return]


# Scripts hold this and `lay_out` as they are written here, so in lines of 88 characters.
def lay_channels_last(tensor: Tensor) -> Tensor:
    """Return a tensor of four dimensions with channels last, any other as it is."""
    return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def has_images(model: nn.Module) -> bool:
    """Whether a model has weights of four dimensions, as convolutions of images have."""
    return any(weight.ndim == 4 for weight in model.parameters())


def is_channels_last(model: nn.Module) -> bool:
    """Whether all weights of four dimensions are in this order already."""
    weights = [weight for weight in model.parameters() if weight.ndim == 4]
    ordered = all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    return ordered and not all(weight.is_contiguous() for weight in weights)


def lay_out(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    channels_last: bool,
) -> None:
    """Put a model's tensors of four dimensions in order, and what is kept of them.

    The optimizer's state has to follow: torch's fused kernels take it for laid out as
    its weight is, and pair the wrong numbers where it is not.
    """
    order = torch.channels_last if channels_last else torch.contiguous_format
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.to(memory_format=order)
    for weight, state in optimizer.state.items():
        for key, value in state.items():
            shape = getattr(weight, "shape", ())  # some keep more than that of weights
            if len(shape) == 4 and getattr(value, "shape", None) == shape:
                state[key] = value.to(memory_format=order)
