"""A copy of a run that is brought to where it is, and tried with other values without a step."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from nbopt.hyperparams import Flag
from nbopt.i18n import _
from nbopt.record.snapshots import Snapshot
from nbopt.run.population.forks import copy_run, take
from nbopt.run.trained import TrainedSession
from nbopt.training.snapshots.outside import unchanged
from nbopt.training.snapshots.restoring import restore
from nbopt.training.trial import first_batches
from nbopt.training.validation import measure

Slices = Generator[Any, Any, Any]
"""What is done bit by bit, so that whoever asked may stop, or do something else in between.

What is yielded, if anything, is a function that needs neither the run nor the copy: it is called without either kept
waiting, and what it returns is sent back.
"""

_SOURCE = "size"
_BATCHES, _MOST_SEEN = 8, 1024  # and samples, of which gradients are seen


class CannotMeasure(ValueError):
    """Something that cannot be found out of a run as it is now."""


class Probe:
    """Validates a run's model as it is, and as it would be with other values; nothing of the run changes.

    Parameters
    ----------
    run : TrainedSession
        It may be training: the copy is made between two of its steps.

    Raises
    ------
    CannotMeasure
        If the run has no validation data.
    """

    def __init__(self, run: TrainedSession) -> None:
        self._run = run
        self._key: object = None
        self.renew()
        if self.training.val is None:
            raise CannotMeasure(
                _("the run has no validation data: give Run(..., val=...), by which models are compared.")
            )

    @property
    def copy(self) -> TrainedSession:
        """The copy, at rest."""
        return self._twin

    @property
    def training(self) -> Any:
        """The copy's training."""
        return self._twin.training

    def renew(self) -> None:
        """Bring the copy to where the run is now."""
        run = self._run
        self._snapshot = snapshot = take(run)
        key = sum(entry.kind != "change" for entry in run.journal[:])  # edits and what is tuned change what copies are
        if key != self._key:
            self._twin, self._key = copy_run(run, snapshot), key
        else:
            self.put_back()
        self.values = dict(self._twin.hyperparams)

    def go_to(self, snapshot: Snapshot) -> None:
        """Bring the copy to where the run was; `renew` brings it back."""
        restore(self.training, snapshot)
        self.values = dict(self._twin.hyperparams)

    def put_back(self) -> None:
        """Bring the copy to where it was when it was renewed: techniques remember what they did then."""
        restore(self.training, self._snapshot)

    def _put(self, values: Mapping[str, Any] | None) -> None:
        self._twin.changes.make({**self.values, **self._twin.hyperparams.check(values or {})}, _SOURCE)

    def options(self, name: str) -> Sequence[Any]:
        """Return what a choice or a flag may be in this run."""
        spec: Any = self._twin.hyperparams.spec(name)
        if isinstance(spec, Flag):
            return (False,) if spec.refused else (True, False)
        return tuple(spec.options)

    def score(self, values: Mapping[str, Any] | None = None) -> Slices:
        """Return what a validation measures, by name, with other values of some hyperparameters, in slices."""
        self._put(values)
        return (yield from measure(self.training))

    def see_gradients(self) -> Slices:
        """Have techniques see the gradients of some batches, as steps show them, where no weight moves; in slices."""
        training = self.training
        for batch in islice(first_batches(training.cursor, _MOST_SEEN), _BATCHES):
            with unchanged(training):
                training.eager.gradients(batch, training.step, keep=False)
                for look in training.acting.after_gradients:
                    look()
            yield
        for weight in training.params:
            weight.grad = None

    def weights(self, values: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Return what the model computes with where some hyperparameters have other values, by the weights' names."""
        self._put(values)
        return {name: weight.detach() for name, weight in self.training.acting.weights().items()}

    def changes(self) -> bool:
        """Whether the model computes with other weights or activations than its own, with the values tried last."""
        if self.training.acting.change_activations:
            return True
        own = dict(self.training.model.named_parameters())
        return any(not torch.equal(weight, own[name]) for name, weight in self.training.acting.weights().items())

    @contextmanager
    def computing_with(self, some: Mapping[str, Tensor], inputs: str = "") -> Any:
        """Have the model compute with these in the place of its own weights, and with none that techniques make.

        Parameters
        ----------
        some : mapping of str to Tensor
        inputs : str
            The layer whose inputs techniques change, as they do now; those of the others stay as they are.
        """
        acting = self.training.acting
        before: Sequence[Callable[..., Any]] = acting.change_weights
        rounding: Sequence[Callable[[str, Tensor], Tensor]] = acting.change_activations
        acting.change_weights = [lambda weights: {**weights, **some}] if some else []
        acting.change_activations = [partial(_change_one, inputs, change) for change in rounding] if inputs else []
        try:
            yield
        finally:
            acting.change_weights, acting.change_activations = before, rounding


def _change_one(name: str, change: Callable[[str, Tensor], Tensor], layer: str, x: Tensor) -> Tensor:
    return change(layer, x) if layer == name else x
