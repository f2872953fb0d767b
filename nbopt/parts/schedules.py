"""Learning-rate schedules: what becomes of a base rate, which stays a control."""

from __future__ import annotations

from nbopt.hyperparams import Strategy
from nbopt.parts.adaptive_rates import BoldDriver, Hypergradient, OnPlateau
from nbopt.parts.planned_rates import GROUP, Constant, Cosine, Exponential, Linear, OneCycle, Schedule, StepDecay
from nbopt.words import _

SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "step": StepDecay,
    "exponential": Exponential,
    "linear": Linear,
    "cosine": Cosine,
    "one_cycle": OneCycle,
    "plateau": OnPlateau,
    "bold_driver": BoldDriver,
    "hypergradient": Hypergradient,
}

SCHEDULE = Strategy(
    "constant",
    classes=SCHEDULES,
    label=_("Schedule"),
    group=GROUP,
    help=_("How the learning rate goes on from its base value, which stays a control."),
)
SCHEDULE.__set_name__(Schedule, "schedule")
