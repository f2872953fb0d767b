"""Activations of few bits, while a model trains and at rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from nbopt.i18n import N_
from nbopt.techniques.compression.chosen import GROUP, LEAST, MOST, FewBits
from nbopt.techniques.compression.grids import round_between
from nbopt.techniques.compression.or_off import IntOrOff


class ActivationBits(FewBits):
    """Compute with few bits in what layers get (Jacob et al. 2018, section 3).

    The inputs of each layer are rounded to a grid between the least and the largest that training saw, running means
    over its steps; what lies beyond is cut off, and gets no gradient. A run at rest that is given bits finds these ends
    on the next training batch, and is validated and predicts so at once.

    Attributes
    ----------
    ends : list of Tensor
        The least and the largest input of each layer, (2,); not a number where a layer was not seen.
    ends_of : list of str
        The layers.
    ends_at : int
        The last step that they were found in: what did not act meanwhile begins anew.
    """

    activation_bits = IntOrOff(
        0,
        low=LEAST,
        high=MOST,
        zero=True,
        ge=0,
        label=N_("Activation bits"),
        group=GROUP,
        help=N_("Bits of the inputs of each layer with weights; 0: not rounded."),
        synonyms="a_bits abits act_bits activation_bit_width",
    )

    memory: ClassVar[tuple[str, ...]] = ("ends", "ends_of", "ends_at")

    ends: Sequence[Tensor] = ()
    ends_of: Sequence[str] = ()
    ends_at = -2
    looked: Sequence[Tensor] = ()
    looking: Sequence[Tensor] | None = None

    @property
    def acts(self) -> bool:
        """With any bits."""
        return self.activation_bits > 0

    def change_activations(self, layer: str, x: Tensor) -> Tensor:
        """Round what a layer gets."""
        bits = self.bits_now
        if layer not in bits:
            return x
        place = list(bits).index(layer)
        if self.looking is not None:
            self.looking = note(self.looking, place, x)
            return x
        if torch.is_grad_enabled():
            if self.is_behind:
                self.ends_of = list(bits)
                self.ends = [x.new_full((2,), torch.nan)] * len(bits)
            self.ends_at = self.context.step
            self.ends = note(self.ends, place, x)
        return round_between(x, self.ends_now[place], bits[layer])

    @property
    def bits_now(self) -> dict[str, int]:
        """The bits of each layer that has few."""
        return self.choose(self.activation_bits)[0]

    @property
    def ends_now(self) -> Sequence[Tensor]:
        """The ends that the next pass uses."""
        return self.looked if self.is_behind else self.ends

    @property
    def is_behind(self) -> bool:
        """Whether the ends are those of a time before, or of other layers."""
        layers = list(self.bits_now)
        return self.context.step > self.ends_at + 1 or list(self.ends_of) != layers

    def calibrate(self, look: Callable[[], Any]) -> None:
        """Find the ends on a batch, for passes at rest; nothing of it is kept."""
        if not self.is_behind:
            return
        weight = self.weights[0]
        self.looking = [weight.new_full((2,), torch.nan)] * len(self.bits_now)
        try:
            look()
        finally:
            ends, self.looking = self.looking, None
        self.looked = ends


def note(ends: Sequence[Tensor], place: int, x: Tensor) -> list[Tensor]:
    """Return the ends with those of one more batch of a layer's inputs."""
    found = torch.stack(x.detach().aminmax()).to(ends[place])
    before = ends[place]
    moved = torch.where(before.isnan(), found, before.lerp(found, 0.1))
    return [*ends[:place], moved, *ends[place + 1 :]]
