"""Pruning: a part of the weights is 0, however the run moves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from nbopt.data.noise import COMPRESSION, derive_seed
from nbopt.hyperparams import Choice, Flag, Float, Hyperparam, Int, variant
from nbopt.i18n import N_, _
from nbopt.techniques.base import Technique
from nbopt.techniques.compression.computed import tell_computed
from nbopt.techniques.compression.masks import Smallest, gather_units, keep_layers, note_gradients, spread_layers
from nbopt.techniques.compression.units import draw_units, find_refusals, find_units, measure_units
from nbopt.techniques.context import Setting
from nbopt.techniques.plan import Plan

_GROUP = N_("Pruning")
_PATTERNS = ("weights", "neurons", "heads", "n:4", "n:8")


class Sparsity(Technique):
    """Computes with the most important weights alone, the others being 0 (Han et al. 2015).

    What is pruned keeps its value, gets no gradient, as with ``torch.nn.utils.prune``, and comes back where the
    sparsity falls. Between ``sparsity_begin`` and ``sparsity_end``, parts of the run, the share that is pruned grows as
    ``s (1 - (1 - t)^3)`` (Zhu and Gupta 2017, eq. 1). Weights are pruned by their magnitude; by ``|w g|``, the first
    order of what the loss would change by (Molchanov et al. 2017, eq. 8), a running mean over steps; or at random.
    Biases and normalization scales stay unless their neuron or head is pruned. Neurons of the last layer, in the order
    in which the model has its layers, are its outputs, and stay.

    Attributes
    ----------
    names : list of str
        The parameters that have masks.
    masks : list of Tensor
        For each of them, shaped and typed as it is: 1 for what stays, 0 for what is pruned.
    made : list
        The settings that the masks were made by.
    reached : float
        Their share.
    scored : list of str
        The matrices that have scores.
    scores : list of Tensor
        Of each of them, the mean of ``|w g|``; of what is pruned, what it was before.
    """

    sparsity = Float(
        0.0,
        low=0.0,
        high=0.99,
        ge=0.0,
        lt=1.0,
        label=N_("Sparsity"),
        group=_GROUP,
        help=N_("Share of the weights that are pruned, 0 in every forward pass. Lower it, and they return."),
        synonyms="pruning prune prune_rate amount target_sparsity final_sparsity",
    )
    sparsity_method = Choice(
        "magnitude",
        options=("magnitude", "gradient", "random"),
        label=N_("Prune by"),
        group=_GROUP,
        help=N_("What decides which weights are pruned: magnitude, magnitude times gradient, or chance."),
        needs="sparsity",
    )
    sparsity_pattern = Choice(
        "weights",
        options=_PATTERNS,
        label=N_("What is pruned"),
        group=_GROUP,
        help=N_("Weights; neurons, channels; heads of attention; or equally many of 4 or 8 inputs: n:4 at 0.5 is 2:4."),
        needs="sparsity",
    )
    sparsity_scope = Choice(
        "global",
        options=("global", "layer"),
        label=N_("Compared in"),
        group=_GROUP,
        help=N_("Whether the share applies to all layers together or to each layer."),
        needs="sparsity",
    )
    sparsity_begin = Float(
        0.0,
        low=0.0,
        high=0.9,
        ge=0.0,
        lt=1.0,
        label=N_("Pruning begins"),
        group=_GROUP,
        help=N_("The part of the run after which pruning begins."),
        needs="sparsity",
    )
    sparsity_end = Float(
        0.0,
        low=0.0,
        high=0.9,
        ge=0.0,
        lt=1.0,
        label=N_("Pruning ends"),
        group=_GROUP,
        help=N_("The part of the run after which the full share is pruned; at or before the begin: all at once."),
        needs="sparsity",
    )
    sparsity_every = Int(
        20,
        low=1,
        high=1000,
        ge=1,
        label=N_("Prune every"),
        group=_GROUP,
        unit=N_("steps"),
        help=N_("Steps after which the pruned weights are chosen anew."),
        needs="sparsity",
    )
    sparsity_regrow = Flag(
        True,
        label=N_("Pruned may return"),
        group=_GROUP,
        help=N_("Whether pruned weights return when others matter less; else only when sparsity is lowered."),
        needs="sparsity",
    )

    at_once: ClassVar[Mapping[str, Any]] = {"sparsity_begin": 0.0, "sparsity_end": 0.0}
    memory: ClassVar[tuple[str, ...]] = ("names", "masks", "made", "reached", "scored", "scores")

    names: Sequence[str] = ()
    masks: Sequence[Tensor] = ()
    made: Sequence[Any] = ()
    reached = 0.0
    scored: Sequence[str] = ()
    scores: Sequence[Tensor] = ()
    smallest: Smallest | None = None

    def forget(self) -> None:
        """Let the next masks be the first."""
        self.names, self.masks, self.made, self.reached = [], [], [], 0.0

    @classmethod
    def declared_for(cls, setting: Setting) -> dict[str, Hyperparam[Any]]:
        """Return the patterns that the model has; no weight may be one that is computed."""
        declared, refused = dict(cls.declared()), find_refusals(setting.model, _PATTERNS)
        options = tuple(name for name in _PATTERNS if name not in refused)
        declared["sparsity_pattern"] = variant(declared["sparsity_pattern"], options=options, refused=refused)
        return {**declared, "sparsity": variant(declared["sparsity"], refused=tell_computed(setting.model))}

    @classmethod
    def unfit_for(cls, setting: Setting) -> str:
        """There has to be a matrix."""
        known = any(weight.ndim > 1 for weight in setting.model.parameters())
        return "" if known else _("the model has no weights of two dimensions or more")

    @classmethod
    def conflict(cls, values: Mapping[str, Any], chosen: Mapping[str, Any]) -> str:
        """Refuse a part of a run without an end."""
        name = max(("sparsity_begin", "sparsity_end"), key=lambda name: values[name])
        if not values["sparsity"] or not values[name] or Plan.of(values).has_end:
            return ""
        told = _("{name}={value} is a part of the run", name=name, value=values[name])
        return _("{told}: without an end there is none. Give epochs or steps", told=told)

    @property
    def acts(self) -> bool:
        """With any sparsity."""
        return self.sparsity > 0

    @property
    def obstacle(self) -> str:
        """Masks are none."""
        return _("pruning looks at gradients") if self.sparsity_method == "gradient" else ""

    @property
    def renews_every(self) -> int:
        """How often there may be other masks: in each step, where the last ones of a share that grows are near."""
        every = self.sparsity_every
        if self.reached == self.sparsity:
            return every if self.moves or self.share != self.reached else 0
        step, done = self.context.step, self.context.progress
        return 1 if (self.sparsity_end - done) * step <= 2 * every * done else every

    @property
    def facts(self) -> list[tuple[str, str]]:
        """The share that is pruned."""
        return [(_("pruned"), f"{self.reached:.1%}")] if self.acts and self.made else []

    def on_change(self, name: str) -> None:
        """Forget what belongs to another setting."""
        if name == "sparsity" and not self.sparsity:
            self.forget()
        if name == "sparsity_method":
            self.scored, self.scores = [], []

    def train(self, weights: Any) -> None:
        """Act on other weights from now on: masks of other shapes are gone."""
        self.weights = weights
        shapes = {name: w.shape for name, w in self.context.model.named_parameters()}
        if [shapes.get(name) for name in self.names] != [m.shape for m in self.masks]:
            self.forget()
        self.scored, self.scores = [], []
        self.made = self.made[:3]  # masks are made anew, of what is pruned already

    @property
    def wanted(self) -> list[Any]:
        """The settings that masks are made by; the first three say what is compared."""
        how = [self.sparsity_method, self.sparsity_pattern, self.sparsity_scope]
        return [*how, self.sparsity, self.sparsity_begin, self.sparsity_end]

    @property
    def share(self) -> float:
        """The share that is to be pruned now."""
        begin, end = self.sparsity_begin, self.sparsity_end
        done = self.context.progress if begin or end else 1.0
        if done < begin:
            return 0.0
        t = 1.0 if done >= end else (done - begin) / (end - begin)
        return self.sparsity * (1 - (1 - t) ** 3)

    @property
    def is_known(self) -> bool:
        """Whether it can be told which weights are to go."""
        return self.sparsity_method != "gradient" or bool(self.scores)

    @property
    def moves(self) -> bool:
        """Whether masks of the same share may be others later on."""
        return self.sparsity_regrow and self.sparsity_method != "random"

    def before_step(self) -> None:
        """Make other masks, where they are due."""
        share, due = self.share, self.context.step % self.sparsity_every == 0
        due = due and (self.moves or share != self.reached)
        due = due or share == self.sparsity != self.reached  # it has grown
        if (due or self.made != self.wanted) and self.is_known:
            found = self.find_masks(share)
            self.names, self.masks = list(found), list(found.values())
            self.made, self.reached = self.wanted, share

    @property
    def weight_operands(self) -> dict[str, Tensor]:
        """The masks."""
        return self.masks_now()

    def masks_now(self) -> dict[str, Tensor]:
        """Return the masks by name; at rest after a change, those of the next step."""
        if self.made != self.wanted and self.is_known:
            return self.find_masks(self.share)
        return dict(zip(self.names, self.masks, strict=True))

    def change_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights times their masks."""
        changed = dict(weights)
        for name, mask in self.masks_now().items():
            if name not in changed:  # it is frozen
                changed[name] = self.context.model.get_parameter(name)
            changed[name] = changed[name] * mask
        return changed

    @torch.no_grad()
    def after_gradients(self) -> None:
        """Note what the loss would change by without each weight."""
        if self.sparsity_method == "gradient":
            scores = dict(zip(self.scored, self.scores, strict=True))
            masks = dict(zip(self.names, self.masks, strict=True))
            note_gradients(self.context.named_weights, scores, masks)
            self.scored, self.scores = list(scores), list(scores.values())

    def find_masks(self, share: float) -> dict[str, Tensor]:
        """Return masks by the weights as they are now."""
        weights = self.context.named_weights
        before = zip(self.names, self.masks, strict=True)
        frozen = {name: mask for name, mask in before if name not in weights}
        how = self.sparsity_method, self.sparsity_pattern, self.sparsity_scope
        if self.sparsity_regrow and how == ("magnitude", "weights", "global"):
            self.smallest = self.smallest or Smallest()
            return frozen | self.smallest.prune(weights, share)
        return frozen | self.find_others(weights, share)

    @torch.no_grad()
    def find_others(self, weights: Any, share: float) -> dict[str, Tensor]:
        """Return masks by scores of units."""
        pattern, scope = self.sparsity_pattern, self.sparsity_scope
        layers = find_units(self.context.model, weights, pattern)
        if self.sparsity_method == "random":
            seed = derive_seed(self.context.seed, COMPRESSION)
            scores = draw_units(layers, torch.Generator().manual_seed(seed))
            scores = [each.to(self.context.device) for each in scores]
        elif self.sparsity_method == "gradient":
            by = {name: torch.zeros_like(w) for name, w in weights.items()}
            by |= zip(self.scored, self.scores, strict=True)
            scores = [measure_units(each, by, 1, False) for each in layers]
        else:
            scores = [measure_units(x, weights, 2, scope == "global") for x in layers]
        again = self.made[:3] == self.wanted[:3] and not self.sparsity_regrow
        before = dict(zip(self.names, self.masks, strict=True))
        kept = [gather_units(x, before, weights) for x in layers] if again else None
        stay = keep_layers(layers, scores, weights, pattern, scope, share, kept)
        return spread_layers(layers, stay, weights)
