"""Which layers of a model have few bits, and how many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from torch import Tensor, nn

from nbopt.errors import InvalidHyperparam, unknown
from nbopt.hyperparams import Flag, Hyperparam, Text, variant
from nbopt.i18n import N_, _
from nbopt.techniques.base import Technique
from nbopt.techniques.compression.computed import tell_computed
from nbopt.techniques.compression.layers import choose_layers, find_layers, read_patterns
from nbopt.techniques.context import Setting

GROUP = N_("Quantization")
LEAST, MOST = 2, 8  # bits


@dataclass(eq=False)
class LayerPatterns(Text):
    """Names of layers, with ``*`` for any part of a name and commas in between, each with bits of its own: ``head=8``.

    The last that a layer's name matches counts; with ``=0``, and where none does, a layer is left alone.

    Attributes
    ----------
    layers : tuple of str
        The names that the model's layers have; none where that is not known.

    Examples
    --------
    >>> patterns = LayerPatterns("*", layers=("conv", "head"))
    >>> patterns.check("*, head=8")
    '*, head=8'
    """

    layers: tuple[str, ...] = field(default=(), kw_only=True)

    def check(self, value: Any) -> str:
        """Return ``value``, if each pattern matches a layer, and its bits are some."""
        text = super().check(value)
        for pattern, bits in read_patterns(text):
            if bits and bits != "0" and not (bits.isdecimal() and LEAST <= int(bits) <= MOST):
                rule = _("bits of a layer are a whole number from {low} to {high}, or 0", low=LEAST, high=MOST)
                raise InvalidHyperparam(
                    _(
                        "{name}: {rule}; got {bits!r} for {pattern!r}.",
                        name=self.name,
                        rule=rule,
                        bits=bits,
                        pattern=pattern,
                    )
                )
            if self.layers and not any(fnmatchcase(layer, pattern) for layer in self.layers):
                raise unknown(_("{name}: layer with weights", name=self.name), pattern, self.layers)
        return text

    @property
    def legal(self) -> str:
        """What it may be."""
        return _("names of layers with * for any part, and commas in between; each with =bits, if it has its own")


class FewBits(Technique):
    """Base of what gives some of the layers few bits.

    Attributes
    ----------
    of_weights : str
        The hyperparameter by which it makes weights others; "" if it does not.
    chosen : tuple, or None
        By which settings layers were chosen, and the bits of each by layers and by weights.
    """

    bits_layers = LayerPatterns(
        "*",
        label=N_("Layers"),
        group=GROUP,
        help=N_('Layers to quantize, as "conv*, head=8": * matches any part of a name, =8 gives a layer its own bits.'),
        synonyms="layers quantized_layers target_modules",
    )
    bits_ends = Flag(
        True,
        label=N_("First and last layer too"),
        group=GROUP,
        help=N_("Whether the first and the last layer are quantized too."),
    )

    of_weights: ClassVar[str] = ""
    chosen: tuple[Any, dict[str, int], dict[str, int]] | None = None

    @classmethod
    def declared_for(cls, setting: Setting) -> dict[str, Hyperparam[Any]]:
        """Return the declarations, with the names of the model's layers; no weight may be one that is computed."""
        declared: dict[str, Any] = dict(cls.declared())
        declared["bits_layers"] = variant(declared["bits_layers"], layers=tuple(find_layers(setting.model)))
        if cls.of_weights:
            declared[cls.of_weights] = variant(declared[cls.of_weights], refused=tell_computed(setting.model))
        return declared

    @classmethod
    def unfit_for(cls, setting: Setting) -> str:
        """There has to be such a layer."""
        return "" if find_layers(setting.model) else _("the model has no layer with a matrix of weights")

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Say so where no layer is chosen: nothing would show it else."""
        if not self.acts or self.choose(MOST)[0]:
            return []
        return [(_("few bits"), _("no layer: see bits_layers and bits_ends"))]

    def train(self, weights: Sequence[nn.Parameter]) -> None:
        """Look for the layers anew: the model may be another."""
        self.weights = weights
        self.chosen = None

    def choose(self, bits: int) -> tuple[dict[str, int], dict[str, int]]:
        """Return the bits of each layer chosen, ``bits`` unless it has its own.

        They are given by the names of layers, and by those of their weights.
        """
        settings = self.bits_layers, bits, self.bits_ends
        if self.chosen is None or self.chosen[0] != settings:
            layers = find_layers(self.context.model)
            found = choose_layers(layers, *settings)
            pairs = [(name, found[layer]) for layer in found for name in layers[layer]]
            self.chosen = settings, found, dict(pairs)
        return self.chosen[1:]

    def now(self, weights: Mapping[str, Tensor], name: str) -> Tensor:
        """Return one of the weights as others changed it; it may be frozen."""
        weight = weights.get(name)
        return self.context.model.get_parameter(name) if weight is None else weight


def conflict_of_weights(values: Mapping[str, Any]) -> str:
    """Return why weights would be made others in two ways, in words; "" if they are not."""
    names = [kind.of_weights for kind in FewBits.__subclasses__() if kind.of_weights]
    on = [name for name in names if values.get(name)]
    if len(on) < 2:
        return ""
    return _("{names}: weights can be quantized in one way at a time: set the others to 0", names=", ".join(on))
