"""Weights of few bits, on a grid, while a model trains and at rest."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nbopt.hyperparams import Choice, Flag
from nbopt.i18n import N_, _
from nbopt.techniques.base import Technique
from nbopt.techniques.compression.grids import find_grid
from nbopt.techniques.compression.layers import choose, find_layers
from nbopt.techniques.compression.or_off import IntOrOff
from nbopt.techniques.context import Setting


class WeightBits(Technique):
    """Compute with weights of few bits (Jacob et al. 2018, section 3), which is training for quantization.

    The weights themselves stay as they are, and gradients reach them as if nothing were rounded (Bengio et al. 2013). A
    run at rest that is given bits is quantized after training: it is validated and predicts with them at once. Biases
    and the weights of normalization are left alone.
    """

    weight_bits = IntOrOff(
        0,
        low=2,
        high=8,
        zero=True,
        ge=0,
        label=N_("Weight bits"),
        group=N_("Compression"),
        help=N_("Bits of each weight that the model computes with; 0 leaves weights as they are."),
        synonyms="bits n_bits num_bits w_bits wbits weight_bit_width quantize",
    )
    bits_by_channel = Flag(
        True,
        label=N_("By channel"),
        group=N_("Compression"),
        help=N_("Whether each output channel has a grid of its own; otherwise each layer has one."),
        needs="weight_bits",
        synonyms="per_channel channelwise",
    )
    bits_symmetric = Flag(
        True,
        label=N_("Symmetric"),
        group=N_("Compression"),
        help=N_("Whether grids reach as far below 0 as above; otherwise from the least weight to the largest."),
        needs="weight_bits",
        synonyms="symmetric affine",
    )
    bits_layers = Choice(
        "all",
        options=("all", "inner"),
        label=N_("Layers"),
        group=N_("Compression"),
        help=N_("Layers with few bits: all of them, or all but the first and the last."),
        needs="weight_bits",
    )

    chosen: tuple[str, Sequence[str]] | None = None

    @classmethod
    def unfit_for(cls, setting: Setting) -> str:
        """There has to be such a layer."""
        return "" if find_layers(setting.model) else _("the model has no layer with a matrix of weights")

    def train(self, weights: Sequence[nn.Parameter]) -> None:
        """Look for the layers anew: the model may be another."""
        super().train(weights)
        self.chosen = None

    @property
    def acts(self) -> bool:
        """With any bits."""
        return self.weight_bits > 0

    def change_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Round those of the layers chosen."""
        if self.chosen is None or self.chosen[0] != self.bits_layers:
            names = choose(find_layers(self.context.model), self.bits_layers)
            self.chosen = self.bits_layers, names
        changed = dict(weights)
        for name in self.chosen[1]:
            weight = weights.get(name)
            if weight is None:  # frozen
                weight = self.context.model.get_parameter(name)
            settings = self.weight_bits, self.bits_by_channel, self.bits_symmetric
            changed[name] = find_grid(weight.detach(), *settings).round(weight)
        return changed
