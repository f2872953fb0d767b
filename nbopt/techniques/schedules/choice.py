"""Learning-rate schedules: what becomes of a base rate, which stays a control."""

from __future__ import annotations

from nbopt.hyperparams import Strategy
from nbopt.i18n import N_
from nbopt.techniques.schedules.adaptive import BoldDriver, Hypergradient, OnPlateau
from nbopt.techniques.schedules.planned import (
    GROUP,
    Constant,
    Cosine,
    Exponential,
    Linear,
    OneCycle,
    Schedule,
    StepDecay,
)

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
    label=N_("Schedule"),
    group=GROUP,
    help=N_("How the learning rate changes over the run, as a factor of its base value, which you can still move."),
    synonyms="lr_scheduler scheduler lr_schedule sched lr_scheduler_type learning_rate_scheduler",
)
SCHEDULE.__set_name__(Schedule, "schedule")
