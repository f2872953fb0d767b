"""Weights of few bits, on a grid, while a model trains and at rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nbopt.hyperparams import Flag, Float, Hyperparam, variant
from nbopt.i18n import N_, _
from nbopt.techniques.compression.chosen import GROUP, LEAST, MOST, FewBits, conflict_of_weights
from nbopt.techniques.compression.grids import Grid, find_grid, find_highest, first_scale, round_learning
from nbopt.techniques.compression.norms import factor_of_rows, find_norms, is_norm
from nbopt.techniques.compression.odd_norms import tell_odd
from nbopt.techniques.compression.or_off import IntOrOff
from nbopt.techniques.context import Setting


class WeightBits(FewBits):
    """Compute with weights of few bits (Jacob et al. 2018, section 3), which is training for quantization.

    The weights themselves stay as they are, and gradients reach them as if nothing were rounded (Bengio et al. 2013).
    The steps between a grid's values follow from the largest weight, or are learned (Esser et al. 2020). A run at rest
    that is given bits is quantized after training: it is validated and predicts with them at once. Biases and the
    weights of normalization are left alone. With batch norms folded, a weight is rounded as it will be once its norm is
    one with its layer: times gamma over the running deviation, and divided by that again (Krishnamoorthi 2018, section
    3.2.2). It makes a difference where a layer has one grid: those of channels scale along.

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

    fold_batch_norm = Flag(
        False,
        label=N_("Fold batch norm"),
        group=GROUP,
        help=N_("Whether grids are those of weights with the batch norm right behind their layer folded into them."),
        needs="weight_bits",
        synonyms="fold_bn bn_folding fuse_bn",
    )

    of_weights = "weight_bits"
    weight_settings = ("bits_by_channel", "bits_symmetric")
    memory: ClassVar[tuple[str, ...]] = ("scales", "scales_of", "scales_at")

    scales: Sequence[Tensor] = ()
    scales_of: Sequence[Any] = ()
    scales_at = -2
    learning: Sequence[Tensor] = ()
    norms: dict[str, str] | None = None

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

    @classmethod
    def declared_for(cls, setting: Setting) -> dict[str, Hyperparam[Any]]:
        """Return the declarations; without batch norms, there are none to be folded."""
        declared = super().declared_for(setting)
        if any(map(is_norm, setting.model.modules())):
            return declared
        spec: Any = declared["fold_batch_norm"]
        return {**declared, "fold_batch_norm": variant(spec, refused=_("the model has no batch norm"))}

    @property
    def needs_outputs(self) -> bool:
        """For folding alone."""
        return self.fold_batch_norm

    def check_outputs(self, output: Any, batch: Any) -> None:
        """Look whether there is a batch norm that can be folded."""
        found = find_norms(self.context.model) if self.fold_batch_norm else {}
        if found and all(odd for _layer, odd in found.values()):
            told = "; ".join(f"{name}: {tell_odd(odd)}" for name, (_layer, odd) in found.items())
            raise ValueError(_("fold_batch_norm: no batch norm can be folded ({told}). Set it to False.", told=told))

    def train(self, weights: Sequence[nn.Parameter]) -> None:
        """Look for layers and norms anew: the model may be another."""
        self.weights = weights
        self.chosen = self.norms = None

    @property
    def acts(self) -> bool:
        """With any bits."""
        return self.weight_bits > 0

    def change_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Round those of the layers chosen."""
        bits = self.choose(self.weight_bits)[1]
        if self.step_size_rate > 0:
            return {**weights, **self.learn(weights, bits)}
        changed = dict(weights)
        for name, own in bits.items():
            weight = self.now(weights, name)
            changed[name] = self.find_grid(name, weight, own).round(weight)
        return changed

    @property
    def obstacle(self) -> str:
        """Grids that follow from weights alone are none."""
        if self.step_size_rate > 0:
            return _("step_size_rate: learned steps follow from gradients")
        return _("fold_batch_norm: grids follow from batch norms") if self.fold_batch_norm else ""

    @property
    def weight_operands(self) -> dict[str, Tensor]:
        """The highest whole number of each grid, so that other bits are other numbers alone."""
        bits, device = self.choose(self.weight_bits)[1], self.context.device
        highest = {name: find_highest(own, self.bits_symmetric) for name, own in bits.items()}
        return {name: torch.full((), float(high), device=device) for name, high in highest.items()}

    @staticmethod
    def apply_operand(
        weight: Tensor,
        operand: Tensor,
        *settings: Any,
    ) -> Tensor:
        """Round a weight to the grid of that number."""
        return find_grid(weight.detach(), operand, *settings).round(weight)

    def find_grid(self, name: str, weight: Tensor, bits: int) -> Grid:
        """Return the grid of a weight."""
        by_channel, symmetric = self.bits_by_channel, self.bits_symmetric
        factor, high = self.find_factor(name, weight), find_highest(bits, symmetric)
        return find_grid(weight.detach(), high, by_channel, symmetric, factor)

    def find_factor(self, name: str, weight: Tensor) -> Tensor | None:
        """Return what the norm behind a weight's layer multiplies each row by."""
        if not self.fold_batch_norm:
            return None
        if self.norms is None:
            pairs = find_norms(self.context.model).items()
            known = {f"{layer}.weight": norm for norm, (layer, odd) in pairs if not odd}
            self.norms = known
        if name not in self.norms:
            return None
        norm = self.context.model.get_submodule(self.norms[name])
        return factor_of_rows(norm, weight)

    def grids(self, weights: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor | None, int]]:
        """Return scale, zero point and bits of each weight that it rounds."""
        bits = self.choose(self.weight_bits)[1]
        now = {name: self.now(weights, name) for name in bits}
        if self.step_size_rate > 0:
            scales = self.find_scales(now, bits)
            pairs = zip(now.items(), scales, strict=True)
            return {name: (self.unfold(name, w, scale), None, bits[name]) for (name, w), scale in pairs}
        found = {name: self.find_grid(name, weight, bits[name]) for name, weight in now.items()}
        return {name: (grid.scale, grid.zero, bits[name]) for name, grid in found.items()}

    def fold(self, name: str, weight: Tensor) -> Tensor:
        """Return a weight with the norm behind its layer folded into it."""
        factor = self.find_factor(name, weight)
        return weight if factor is None else weight * factor

    def unfold(self, name: str, weight: Tensor, scale: Tensor) -> Tensor:
        """Return the steps of a weight's own grid, by those of the folded one."""
        factor = self.find_factor(name, weight)
        return scale if factor is None else scale / factor

    def learn(
        self,
        weights: dict[str, Tensor],
        bits: dict[str, int],
    ) -> dict[str, Tensor]:
        """Return weights on grids whose steps get gradients, too."""
        now = {name: self.now(weights, name) for name in bits}
        scales = self.find_scales(now, bits)
        pairs = zip(now.items(), scales, strict=True)
        steps = {n: self.unfold(n, w, scale) for (n, w), scale in pairs}
        return {n: round_learning(now[n], s, bits[n]) for n, s in steps.items()}

    def find_scales(
        self,
        weights: dict[str, Tensor],
        bits: dict[str, int],
    ) -> Sequence[Tensor]:
        """Return the steps that are learned, or those that learning begins with."""
        by_channel, step = self.bits_by_channel, self.context.step
        settings = [by_channel, list(bits.values()), self.fold_batch_norm]
        settings.append([len(w) if by_channel else 1 for w in weights.values()])
        scales = self.scales
        if step > self.scales_at + 1 or self.scales_of != settings:
            folded = {name: self.fold(name, w) for name, w in weights.items()}
            scales = [first_scale(w, bits[n], by_channel) for n, w in folded.items()]
        if not torch.is_grad_enabled():  # looks at rest leave no trace
            return scales
        self.scales, self.scales_of, self.scales_at = scales, settings, step
        if not self.learning:
            self.learning = [each.clone().requires_grad_() for each in scales]
        return self.learning

    def after_gradients(self) -> None:
        """Move the steps, each by a gradient scaled as in section 2.2 of that paper."""
        if not self.learning:
            return
        bits, moved = self.choose(self.weight_bits)[1], []
        for scale, name in zip(self.learning, bits, strict=True):
            weight = self.context.model.get_parameter(name)
            count = weight.numel() / scale.numel() * (2 ** (bits[name] - 1) - 1)
            slope = torch.zeros_like(scale) if scale.grad is None else scale.grad
            new = scale.detach() - self.step_size_rate / count**0.5 * slope
            moved.append(new.clamp_(min=1e-8))
        self.scales, self.learning = moved, []
