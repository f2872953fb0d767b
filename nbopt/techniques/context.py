"""What a technique may know of the run that it acts in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from nbopt.errors import unknown
from nbopt.i18n import _


class Setting(NamedTuple):
    """What a run is made with, as far as techniques ask.

    Attributes
    ----------
    model : torch.nn.Module
    device : torch.device
    validates : bool
        Whether there is data to validate on.
    """

    model: nn.Module
    device: torch.device
    validates: bool = True


class Slope(NamedTuple):
    """The derivative of the validation loss some steps ahead by a hyperparameter.

    Attributes
    ----------
    value : float
        What the hyperparameter is.
    slope : float
        Below 0, the loss would be lower with a larger value.
    gain : float
        By how much the loss is lower after the steps than before, with the present value.
    spec : Float
        Its declaration.
    """

    value: float
    slope: float
    gain: float
    spec: Any


class Progress(Protocol):
    """Where a run is."""

    step: int

    @property
    def share(self) -> float:
        """The part of the run that is done, from 0 to 1."""
        ...


class Place(NamedTuple):
    """Where a run is within a call that does several steps, which the run takes note of afterwards.

    Attributes
    ----------
    step : int
        The number of the step that comes next.
    find_share : callable
        Returns the part of the run that is done, from 0 to 1.
    weights : dict of str to Parameter
        As `Context.named_weights` has them.
    """

    step: int
    find_share: Callable[[], float]
    weights: dict[str, nn.Parameter]

    @property
    def share(self) -> float:
        """The part of the run that is done, from 0 to 1."""
        return self.find_share()


class Context:
    """What a technique may know of its run, as ``self.context``.

    Parameters
    ----------
    model : torch.nn.Module
    device : torch.device
    seed : int
    where : Progress
    measures : iterable of str
        What `measure` may be given.

    Attributes
    ----------
    model : torch.nn.Module
    device : torch.device
        Where the run trains.
    seed : int
        The run's own.
    is_after : bool
        Whether the present step is done, as in ``after_epoch``.
    place : Place or None
        While a call of the compiled step is under way, where the run is.
    look_ahead : callable or None
        What `find_slopes` calls; None in a loop that cannot do its next steps on a copy.
    """

    place: Place | None = None
    look_ahead: Callable[[Iterable[str], int], Mapping[str, Slope]] | None = None

    def __init__(
        self, model: nn.Module, device: torch.device, seed: int, where: Progress, measures: Iterable[str] = ()
    ) -> None:
        self.model = model
        self.device = device
        self.seed = seed
        self._where = where
        self._measures = frozenset(measures)
        self.is_after = False
        self._waiting: list[tuple[str, int, Any]] = []

    @property
    def step(self) -> int:
        """Number of the present step, counted from 0; in ``after_epoch``, that of the epoch's last."""
        return (self.place or self._where).step - self.is_after

    @property
    def progress(self) -> float:
        """The part of the run that is done, from 0 to 1."""
        return (self.place or self._where).share

    @property
    def named_weights(self) -> dict[str, nn.Parameter]:
        """The model's weights that require a gradient, by name."""
        if self.place is not None:
            return self.place.weights  # there has been no time to change which ones do
        return {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}

    def find_slopes(self, names: Iterable[str], steps: int) -> Mapping[str, Slope]:
        """Return the derivatives of the validation loss ``steps`` further on, see `nbopt.Run.hypergradient`.

        To be called between two steps, in ``propose``.

        Raises
        ------
        ValueError
            If the run's steps cannot be differentiated, or not by these; says why.
        """
        if self.look_ahead is None:
            raise ValueError(_("this loop cannot do its next steps on a copy."))
        return self.look_ahead(names, steps)

    def measure(self, name: str, value: float | Tensor) -> None:
        """Record a value of a curve that the technique's ``measures`` names, at the present step.

        Parameters
        ----------
        name : str
        value : float or Tensor
            A tensor, a scalar, is read later: the device is not waited for.

        Raises
        ------
        InvalidHyperparam
            If no technique of the run declares the name among its ``measures``.
        """
        if name not in self._measures:
            raise unknown(_("measurement"), name, sorted(self._measures))
        self._waiting.append((name, self.step, value.detach() if isinstance(value, Tensor) else value))

    def hand_over(self, append: Callable[[str, int, float], None]) -> None:
        """Move what was measured to where ``append(name, step, value)`` puts it."""
        waiting, self._waiting = self._waiting, []
        kinds: dict[tuple[Any, ...], list[int]] = {}
        for index, (_name, _step, value) in enumerate(waiting):
            if isinstance(value, Tensor):
                kinds.setdefault((value.dtype, value.device), []).append(index)
        values = [value for _name, _step, value in waiting]
        for indices in kinds.values():  # one transfer for all of them
            numbers = torch.stack([values[index].reshape(()) for index in indices]).tolist()
            for index, number in zip(indices, numbers, strict=True):
                values[index] = number
        for (name, step, _value), value in zip(waiting, values, strict=True):
            append(name, step, float(value))

    def forget(self) -> None:
        """Drop what was measured and not handed over."""
        self._waiting = []
