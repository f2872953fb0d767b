"""Gradient descent on hyperparameters while a run trains, through the steps to come."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from nbopt.hyperparams import Choice, Float, Int, Tunable
from nbopt.hyperparams.declarations import give_values
from nbopt.i18n import N_, _
from nbopt.techniques.base import Technique, defines, hooks_of
from nbopt.techniques.context import Setting, Slope
from nbopt.techniques.optimizers.unrolled import STEPS, may_move_weights
from nbopt.techniques.own_lines import OwnLines, Told

_GROUP = N_("Hypergradient descent")
_NAMES: Mapping[str, tuple[str, ...]] = {
    "off": (),
    "lr": ("lr",),
    "weight_decay": ("weight_decay",),
    "lr and weight_decay": ("lr", "weight_decay"),
}
# The hooks whose work is not written out as a function of weights, batches and gradients.
_ODD = {
    *("change_weights", "change_activations", "change_pass", "change_every_pass", "change_loss", "replace_step"),
    *("largest_part", "after_gradients", "change_batch", "change_inputs"),
}
_FACTOR = math.log(2.0)  # the furthest that a value goes at once: half or twice as much,
_PART = 0.1  # ... or, where its control is not logarithmic, a tenth of the range


class HyperDescent(Technique):
    """Moves hyperparameters down the slope of the validation loss after the next steps (Franceschi et al. 2017).

    The derivative goes through the steps themselves (Maclaurin et al. 2015), done on a copy with the run's next
    batches. What looks few steps ahead prefers lower learning rates than the whole run would (Wu et al. 2018): the more
    steps, the less. Each move is a change like one made by hand: what follows from it is the run's own training.
    """

    hyperdescent = Choice(
        "off",
        options=tuple(_NAMES),
        label=N_("Descend on"),
        group=_GROUP,
        help=N_("Hyperparameters that follow the slope of the validation loss while the run trains."),
        synonyms="hypergradient_descent meta_learning",
    )
    hyperdescent_every = Int(
        100,
        low=10,
        high=1000,
        ge=1,
        label=N_("Move every"),
        group=_GROUP,
        unit=N_("steps"),
        needs="hyperdescent",
        help=N_("Steps between two moves, counted from the run's beginning."),
    )
    hyperdescent_steps = Int(
        20,
        low=1,
        high=100,
        ge=1,
        label=N_("Look ahead"),
        group=_GROUP,
        unit=N_("steps"),
        needs="hyperdescent",
        help=N_("Steps that the derivative is taken through; a move takes about as long as ten times as many steps."),
    )
    hyperdescent_rate = Float(
        0.2,
        low=0.01,
        high=0.5,
        log=True,
        ge=0.0,
        label=N_("Step size"),
        group=_GROUP,
        needs="hyperdescent",
        help=N_(
            "The share by which a value moves where all that the loss gains ahead, or more, depends on it; less where "
            "less does."
        ),
    )

    compiles = True
    off: ClassVar[Mapping[str, Any]] = {"hyperdescent": "off"}

    @property
    def acts(self) -> bool:
        """Where there is something to descend on."""
        return self.hyperdescent != "off"

    @property
    def proposes_every(self) -> int:
        """As often as is asked for."""
        return int(self.hyperdescent_every)

    @classmethod
    def unfit_for(cls, setting: Setting) -> str:
        """Without a validation there is no loss to descend."""
        return "" if setting.validates else _("there is no validation loss without val")

    @classmethod
    def minds(cls, other: Any) -> bool:
        """Those of nbopt that do in a step what has no derivative here."""
        return _has_no_formula(other)

    @classmethod
    def conflict(cls, values: Mapping[str, Any], chosen: Mapping[str, Any]) -> str:
        """Look whether all that a step does is written as a function that can be differentiated."""
        if values["hyperdescent"] == "off":
            return ""
        others = []
        for kind in chosen.values():
            if cls.minds(kind):
                part = kind()
                give_values(part, values)
                changed = [name for name, spec in kind.declared().items() if values[name] != spec.default]
                others += changed[:1] if part.acts else []
        if others:
            names = ", ".join(others)
            rule = _("hyperdescent does not work with {names}, whose steps cannot be differentiated", names=names)
            return _("{rule}; turn one of them off", rule=rule)
        if chosen["optimizer"].torch_class in STEPS:
            return ""
        known = ", ".join(kind.__name__ for kind in STEPS)
        rule = _("there is no formula to differentiate the steps of {name} by", name=values["optimizer"])
        return _("hyperdescent: {rule}; use one of {known}, or set it to off", rule=rule, known=known)

    @classmethod
    def own_lines(cls, told: Told) -> OwnLines:
        """Nothing: what it did is in the schedule."""
        return OwnLines()

    def propose(self) -> dict[str, float]:
        """Return where the values move."""
        slopes = self.context.find_slopes(_NAMES[self.hyperdescent], self.hyperdescent_steps)
        return {name: move(slope, self.hyperdescent_rate) for name, slope in slopes.items()}


@cache  # which some optimizers' steps ask for
def _has_no_formula(kind: type[Tunable]) -> bool:
    if not (issubclass(kind, Technique) and kind.__module__.startswith("nbopt.")):
        return False
    return may_move_weights(kind) or not (_ODD.isdisjoint(hooks_of(kind)) or defines(kind, "sign_pull"))


def move(slope: Slope, rate: float) -> float:
    """Return where a value goes down its slope, on the scale of its control, within the range that this offers.

    The slope is taken relative to what the steps gain: it is -1 by the logarithm of a learning rate so low that twice
    the rate would gain twice as much, whatever the loss. More than that is noise, of a loss that hardly moves.
    """
    value, spec = slope.value, slope.spec
    if not math.isfinite(slope.slope) or not slope.slope or not slope.gain:
        return value
    relative = slope.slope / abs(slope.gain)
    if not spec.log:
        width = spec.high - spec.low
        found = value - min(rate, _PART) * min(max(relative * width, -1.0), 1.0) * width
        found = max(found, min(value, spec.low))
    elif value <= 0:  # which no factor moves
        found = spec.low if slope.slope < 0 else value
    else:
        found = value * math.exp(-min(rate, _FACTOR) * min(max(relative * value, -1.0), 1.0))
        if found < spec.low:
            found = 0.0 if spec.zero else min(value, spec.low)
    return float(f"{min(found, max(value, spec.high)):.4g}")
