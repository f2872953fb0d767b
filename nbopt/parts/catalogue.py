"""The parts that act in a step, in the order in which they do."""

from __future__ import annotations

from nbopt.hyperparams import Strategy
from nbopt.parts.augmentation import Flip, InputNoise, Mixup, Warp
from nbopt.parts.channels_last import ChannelsLast
from nbopt.parts.clipping import ClipNorm, ClipValue, MaxNorm
from nbopt.parts.penalties import L1
from nbopt.parts.planned_rates import Warmup
from nbopt.parts.precision import Precision
from nbopt.parts.preprocessing import Cleaning, Scaling
from nbopt.parts.schedules import SCHEDULE
from nbopt.parts.technique import Technique

PARTS: tuple[type[Technique] | Strategy, ...] = (
    *(Cleaning, Scaling),
    *(Warp, Flip, Mixup, InputNoise),
    *(L1, ClipValue, ClipNorm),
    *(Warmup, SCHEDULE),
    MaxNorm,
    *(Precision, ChannelsLast),
)
"""Classes that always stand ready, and choices of one class among several."""
