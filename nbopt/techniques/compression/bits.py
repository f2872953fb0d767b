"""Weights of few bits, on a grid, while a model trains and at rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from nbopt.hyperparams import Flag, Float
from nbopt.i18n import N_, _
from nbopt.techniques.compression.chosen import GROUP, LEAST, MOST, FewBits, conflict_of_weights
from nbopt.techniques.compression.grids import find_grid, first_scale, round_learning
from nbopt.techniques.compression.or_off import IntOrOff


class WeightBits(FewBits):
    """Compute with weights of few bits (Jacob et al. 2018, section 3), which is training for quantization.

    The weights themselves stay as they are, and gradients reach them as if nothing were rounded (Bengio et al. 2013).
    The steps between a grid's values follow from the largest weight, or are learned (Esser et al. 2020). A run at rest
    that is given bits is quantized after training: it is validated and predicts with them at once. Biases and the
    weights of normalization are left alone.

    Attributes
    ----------
    scales : list of Tensor
        The learned steps of each weight; none while they are not learned.
    scales_of : list
        The settings that they were begun with.
    scales_at : int
        The last step that they were used in: what did not act meanwhile begins anew.
    """

    weight_bits = IntOrOff(
        0,
        low=LEAST,
        high=MOST,
        zero=True,
        ge=0,
        label=N_("Weight bits"),
        group=GROUP,
        help=N_("Bits of each weight in the forward pass; 0: not rounded."),
        synonyms="bits n_bits num_bits w_bits wbits weight_bit_width quantize",
    )
    bits_by_channel = Flag(
        True,
        label=N_("By channel"),
        group=GROUP,
        help=N_("Whether each output channel has its own scale; otherwise there is one per layer."),
        needs="weight_bits",
        synonyms="per_channel channelwise",
    )
    bits_symmetric = Flag(
        True,
        label=N_("Symmetric"),
        group=GROUP,
        help=N_("Whether the grid is symmetric about 0; otherwise it reaches from the smallest weight to the largest."),
        needs="weight_bits",
        synonyms="symmetric affine",
    )
    step_size_rate = Float(
        0.0,
        low=1e-5,
        high=1.0,
        log=True,
        zero=True,
        ge=0.0,
        label=N_("Rate of learned steps"),
        group=GROUP,
        help=N_("Learning rate of the step sizes of symmetric grids; 0: the largest weight decides them."),
        needs="weight_bits",
        synonyms="lsq learned_step_size",
    )

    of_weights = "weight_bits"
    memory: ClassVar[tuple[str, ...]] = ("scales", "scales_of", "scales_at")

    scales: Sequence[Tensor] = ()
    scales_of: Sequence[Any] = ()
    scales_at = -2
    learning: Sequence[Tensor] = ()

    @classmethod
    def conflict(cls, values: Mapping[str, Any], chosen: Mapping[str, Any]) -> str:
        """Learn steps beside the weights, by gradients as they are."""
        if several := conflict_of_weights(values):
            return several
        if not values["weight_bits"] or not values["step_size_rate"]:
            return ""
        if not values["bits_symmetric"]:
            return _("step_size_rate: learned steps are those of symmetric grids: set bits_symmetric to True")
        if chosen["optimizer"].repeats:
            return _("step_size_rate: {name} evaluates the loss several times a step", name=values["optimizer"])
        if "float16" in values.values():
            return _("step_size_rate: float16 scales gradients: use bfloat16 or float32")
        return ""

    @property
    def acts(self) -> bool:
        """With any bits."""
        return self.weight_bits > 0

    def change_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Round those of the layers chosen."""
        bits = self.choose(self.weight_bits)[1]
        if self.step_size_rate > 0:
            return {**weights, **self.learn(weights, bits)}
        by_channel, symmetric = self.bits_by_channel, self.bits_symmetric
        changed = dict(weights)
        for name, own in bits.items():
            weight = self.now(weights, name)
            grid = find_grid(weight.detach(), own, by_channel, symmetric)
            changed[name] = grid.round(weight)
        return changed

    def grids(self, weights: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor | None, int]]:
        """Return scale, zero point and bits of each weight that it rounds."""
        bits = self.choose(self.weight_bits)[1]
        now = {name: self.now(weights, name) for name in bits}
        if self.step_size_rate > 0:
            scales = self.find_scales(now, bits)
            return {name: (scale, None, bits[name]) for name, scale in zip(now, scales, strict=True)}
        settings = self.bits_by_channel, self.bits_symmetric
        found = {name: find_grid(weight.detach(), bits[name], *settings) for name, weight in now.items()}
        return {name: (grid.scale, grid.zero, bits[name]) for name, grid in found.items()}

    def learn(
        self,
        weights: dict[str, Tensor],
        bits: dict[str, int],
    ) -> dict[str, Tensor]:
        """Return weights on grids whose steps get gradients, too."""
        now = {name: self.now(weights, name) for name in bits}
        scales = self.find_scales(now, bits)
        pairs = zip(now.items(), scales, strict=True)
        return {n: round_learning(w, s, bits[n]) for (n, w), s in pairs}

    def find_scales(
        self,
        weights: dict[str, Tensor],
        bits: dict[str, int],
    ) -> Sequence[Tensor]:
        """Return the steps that are learned, or those that learning begins with."""
        by_channel, step = self.bits_by_channel, self.context.step
        settings = [by_channel, list(bits.values())]
        settings.append([len(w) if by_channel else 1 for w in weights.values()])
        scales = self.scales
        if step > self.scales_at + 1 or self.scales_of != settings:
            scales = [first_scale(w, bits[n], by_channel) for n, w in weights.items()]
        if not torch.is_grad_enabled():  # looks at rest leave no trace
            return scales
        self.scales, self.scales_of, self.scales_at = scales, settings, step
        if not self.learning:
            self.learning = [each.clone().requires_grad_() for each in scales]
        return self.learning

    @torch.no_grad()
    def after_gradients(self) -> None:
        """Move the steps, each by a gradient scaled as in section 2.2 of that paper."""
        bits, moved = self.choose(self.weight_bits)[1], []
        for scale, name in zip(self.learning, bits, strict=bool(self.learning)):
            weight = self.context.model.get_parameter(name)
            count = weight.numel() / scale.numel() * (2 ** (bits[name] - 1) - 1)
            slope = torch.zeros_like(scale) if scale.grad is None else scale.grad
            new = scale.detach() - self.step_size_rate / count**0.5 * slope
            moved.append(new.clamp_(min=1e-8))
        if moved:
            self.scales, self.learning = moved, []
