"""One optimizer on its way over a loss surface: a run of nbopt's own, of a model with two parameters."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nbopt.i18n import N_, _
from nbopt.run.run import Run
from nbopt.training.state import Stepped
from nbopt.viz.surfaces import Surface

_ARRIVED = 0.02  # from the lowest point, as a share of the picture
_LOST = 10.0  # from the middle, in pictures
_SHOWN = 400  # places of a way


class Entrant(NamedTuple):
    """Who takes part.

    Attributes
    ----------
    label : str
    hyperparams : dict
        Of the run.
    lr : dict of str to float
        The learning rate on each of the surfaces: methods that follow the slope and methods that measure their own
        steps need different ones.
    """

    label: str
    hyperparams: dict[str, Any]
    lr: dict[str, float]


ENTRANTS = (
    Entrant("SGD", {"optimizer": "sgd"}, {"bowl": 0.04, "beale": 0.01, "rosenbrock": 1e-3}),
    Entrant(
        N_("SGD, momentum 0.9"),
        {"optimizer": "sgd", "momentum": 0.9},
        {"bowl": 0.01, "beale": 3e-3, "rosenbrock": 5e-4},
    ),
    Entrant("RMSprop", {"optimizer": "rmsprop"}, {"bowl": 0.05, "beale": 0.03, "rosenbrock": 0.03}),
    Entrant("Adam", {"optimizer": "adam"}, {"bowl": 0.2, "beale": 0.1, "rosenbrock": 0.1}),
)


class _Place(nn.Module):
    """A place on a surface; its output is the loss there."""

    def __init__(self, surface: Surface) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor(surface.start))
        self._loss = surface.loss

    def forward(self) -> Tensor:
        return self._loss(self.at[0], self.at[1])


class Racer:
    """Drives one entrant's run, step by step.

    Parameters
    ----------
    entrant : Entrant
    surface : Surface
    lr : float

    Attributes
    ----------
    run : Run
    lost : bool
        Whether it is far out of the picture; it then rests.
    """

    def __init__(self, entrant: Entrant, surface: Surface, lr: float) -> None:
        self.run = Run(
            _Place(surface),
            train=(torch.zeros(64, 1), torch.zeros(64)),  # one step after another; the surface is the same in each
            loss=_as_it_is,
            forward=_without_data,
            device="cpu",
            batch_size=1,
            epochs=2**40,
            recover=False,
            store=None,
            name=_(entrant.label),
            lr=lr,
            **entrant.hyperparams,
        )
        self.lost = False
        self._surface = surface
        self._events = self.run.events()
        self._places = [surface.start]

    @property
    def at(self) -> tuple[float, float]:
        """Where it is."""
        return self._places[-1]

    @property
    def loss(self) -> float:
        """How high that is."""
        x, y = torch.tensor(self.at, dtype=torch.float64)
        return float(self._surface.loss(x, y))

    @property
    def arrived(self) -> bool:
        """Whether it is at the lowest point."""
        return math.dist(self.at, self._surface.lowest) < _ARRIVED * self._width

    @property
    def way(self) -> NDArray[np.float32]:
        """The places it came by, as many as a picture needs, shape (places, 2)."""
        every = -(-len(self._places) // _SHOWN)
        return np.array([*self._places[:-1:every], self.at], np.float32)

    @property
    def _width(self) -> float:
        left, right, _bottom, _top = self._surface.reach
        return right - left

    def step(self) -> None:
        """Do one step."""
        if self.lost:
            return
        next(event for event in self._events if isinstance(event, Stepped))
        model: Any = self.run.model
        x, y = model.at.tolist()
        self.lost = not math.hypot(x, y) < _LOST * self._width
        if not self.lost:
            self._places.append((x, y))


def _without_data(model: nn.Module, batch: Any) -> tuple[Any, Any]:
    return model(), batch[1]


def _as_it_is(output: Tensor, target: Tensor) -> Tensor:
    return output
