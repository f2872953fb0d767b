"""What a run asks of many others like it."""

from __future__ import annotations

from typing import Any

from nbopt.run.population.population import Population
from nbopt.run.trained import TrainedSession


class AsksMany(TrainedSession):
    """A run that can be the beginning of a population."""

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        Population.single = cls
