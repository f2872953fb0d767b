"""What an edit is: a change of a model's shape in the midst of a run, told in numbers alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from nbopt.i18n import _

if TYPE_CHECKING:
    from nbopt.training.training import Training


class CannotEdit(ValueError):
    """Why a model cannot get another shape, in words."""


class Resize(NamedTuple):
    """How a weight or buffer gets another size along one dimension: by copies of what is there.

    Attributes
    ----------
    dim : int
    units : Tensor
        (n,), int64: of which unit each of the n units afterwards is a copy.
    values, gradients : Tensor or None
        (n,), float64: what the numbers of each, and its gradients, are multiplied by; None for 1.
    """

    dim: int
    units: Tensor
    values: Tensor | None = None
    gradients: Tensor | None = None

    def value(self, tensor: Tensor) -> Tensor:
        """Return a weight, or a mean of weights, as it is afterwards."""
        return self._times(tensor, self.values)

    def moment(self, tensor: Tensor, power: int) -> Tensor:
        """Return a mean of gradients, to this power, as it is afterwards."""
        return self._times(tensor, None if self.gradients is None else self.gradients**power)

    def _times(self, tensor: Tensor, factors: Tensor | None) -> Tensor:
        made = tensor.detach().index_select(self.dim, self.units.to(tensor.device))
        if factors is None:
            return made
        shape = [-1 if dim == self.dim else 1 for dim in range(made.ndim)]
        return made * factors.to(made.device, made.dtype).reshape(shape)


class Plan(NamedTuple):
    """What an edit does to a model.

    Attributes
    ----------
    resizes : dict of str to Resize
        By the names of the model's weights and buffers.
    attributes : list of tuple
        Module, attribute, and its value afterwards.
    words : str
        What is done, for the journal.
    """

    resizes: dict[str, Resize]
    attributes: list[tuple[str, str, int]]
    words: str


@dataclass(frozen=True)
class Edit:
    """Base of the edits, whose fields JSON can hold.

    What an edit is to be given, the user writes; what it finds out about a model by `prepare`, it holds in further
    fields, so that the journal tells all that a replay needs.
    """

    kind: ClassVar[str]

    def prepare(self, training: Training) -> Self:
        """Return the edit with all that it has to know of the run's model.

        Raises
        ------
        CannotEdit
            If it cannot be made there; says why.
        """
        raise NotImplementedError

    def plan(self, model: nn.Module, generator: torch.Generator) -> Plan:
        """Return what is to be done to ``model``, drawn from ``generator`` where it is drawn.

        Raises
        ------
        CannotEdit
            If the model has not what the edit speaks of.
        """
        raise NotImplementedError

    def refuse(self, reason: str) -> CannotEdit:
        """Build the error that says why the edit cannot be made."""
        return CannotEdit(_("{edit} cannot be made: {reason}.", edit=self, reason=reason))

    def to_json(self) -> dict[str, Any]:
        """Return the edit as the journal holds it."""
        held = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {"edit": self.kind, **held}
