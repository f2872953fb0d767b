"""What an edit is: a change of a model's structure in the midst of a run, told in plain data alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self

import torch
from torch import Tensor, nn

from nbopt.errors import unknown
from nbopt.export.edits import Written
from nbopt.i18n import _
from nbopt.techniques.optimizers.powers import resized

if TYPE_CHECKING:
    from nbopt.training.training import Training


class CannotEdit(ValueError):
    """Why a model cannot get another structure, in words."""


class Resize(NamedTuple):
    """How a weight or buffer gets another size along one dimension: by what is there.

    Attributes
    ----------
    dim : int
    units : Tensor
        (n,), int64: the units that are taken, one for each unit afterwards unless ``into`` says otherwise.
    values, gradients : Tensor or None
        (n,), float64: what the numbers of each, and its gradients, are multiplied by; None for 1.
    into : Tensor or None
        (n,), int64: to which unit afterwards each of them is added, from 0 on; None where each is one of its own.
    """

    dim: int
    units: Tensor
    values: Tensor | None = None
    gradients: Tensor | None = None
    into: Tensor | None = None

    def value(self, tensor: Tensor) -> Tensor:
        """Return a weight, or a mean of weights, as it is afterwards."""
        return resized(tensor, self.dim, self.units, self.values, self.into)

    def moment(self, tensor: Tensor, power: int) -> Tensor:
        """Return a mean of gradients, to this power, as it is afterwards."""
        return resized(tensor, self.dim, self.units, self.gradients, self.into, power)


class Change(Protocol):
    """How a weight or buffer gets another size: a `Resize`, or what has its methods."""

    def value(self, tensor: Tensor) -> Tensor:
        """Return a weight, or a mean of weights, as it is afterwards."""

    def moment(self, tensor: Tensor, power: int) -> Tensor:
        """Return a mean of gradients, to this power, as it is afterwards."""


Resizes = Mapping[str, Change | Sequence[Change]]


class Plan(NamedTuple):
    """What an edit does to a model.

    Attributes
    ----------
    resizes : mapping of str to Change or sequence of Change
        By the names of the model's weights and buffers; of a sequence, one after the other.
    attributes : list of tuple
        Module, attribute, and its value afterwards; those that torch's layers keep of the sizes of their weights follow
        by themselves.
    words : str
        What is done, for the journal.
    modules : mapping of str to Module or None
        What comes to stand at a place of the model, which may hold what stood there; None takes away what does.
    numbers : mapping of str to Tensor
        What weights and buffers hold afterwards whose shapes stay as they are. The best weights so far keep theirs.
    listeners : sequence of callable
        What is called with the model, its arguments and those given by name, before each of its forward passes.
    """

    resizes: Resizes
    attributes: list[tuple[str, str, Any]]
    words: str
    modules: Mapping[str, nn.Module | None] = {}
    numbers: Mapping[str, Tensor] = {}
    listeners: Sequence[Callable[..., None]] = ()

    def resized(self, name: str) -> Sequence[Change]:
        """Return the resizes of a weight, one after the other."""
        found = self.resizes.get(name, ())
        return found if isinstance(found, Sequence) and not isinstance(found, Resize) else [found]

    def value(self, name: str, tensor: Tensor) -> Tensor:
        """Return a weight, or a mean of weights, as it is afterwards."""
        for resize in self.resized(name):
            tensor = resize.value(tensor)
        return tensor

    def moment(self, name: str, tensor: Tensor, power: int) -> Tensor:
        """Return a mean of a weight's gradients, to this power, as it is afterwards."""
        for resize in self.resized(name):
            tensor = resize.moment(tensor, power)
        return tensor


@dataclass(frozen=True)
class Edit:
    """Base of the edits, whose fields JSON can hold.

    What an edit is to be given, the user writes; what it finds out about a model by `prepare`, it holds in further
    fields, so that the journal tells all that a replay needs.

    Attributes
    ----------
    keeps : bool
        Whether outputs are the same afterwards, but for rounding; or, if `expecting` says what, as they would be then.
        Otherwise it is measured how far they move.
    """

    kind: ClassVar[str]
    keeps: ClassVar[bool] = True

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

        Which sizes and modules there are afterwards follows from the edit and the model's sizes, never from the numbers
        in its weights: going back puts others there.

        Raises
        ------
        CannotEdit
            If the model has not what the edit speaks of.
        """
        raise NotImplementedError

    @property
    def given(self) -> Mapping[str, nn.Module | None]:
        """The modules of the user's that it was given, by fingerprints; the journal holds these, and no module."""
        return {}

    def take(self, given: Mapping[str, nn.Module | None]) -> Self:
        """Return the edit with the modules that it was given, of which a journal tells the fingerprints.

        Raises
        ------
        CannotEdit
            If one is missing.
        """
        return self

    def settings(self) -> dict[str, Any]:
        """Return what the user wrote, as a recipe holds it; what is as by default is left out."""
        named = {own.name: getattr(self, own.name) for own in fields(self) if own.repr}
        defaults = {own.name: own.default for own in fields(self)}
        return {name: as_lists(value) for name, value in named.items() if value != defaults[name]}

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any], given: Mapping[str, nn.Module | None]) -> Self:
        """Return the edit that `settings` tells of.

        Parameters
        ----------
        settings : mapping of str to object
        given : mapping of str to Module
            The modules that the user gave, by their fingerprints.

        Raises
        ------
        ValueError, TypeError
            If it tells of none; says why.
        """
        cls.check_settings(settings)
        return cls(**settings)

    @classmethod
    def check_settings(cls, settings: Mapping[str, Any]) -> None:
        """Raise ValueError where settings have a name that there is not, or lack one that is needed."""
        needed = {own.name: own.default is MISSING for own in fields(cls) if own.repr}
        for name in settings:
            if name not in needed:
                raise unknown(_("setting of {edit}", edit=cls.kind), name, needed)
        if missing := next((name for name, is_needed in needed.items() if is_needed and name not in settings), ""):
            raise ValueError(_("{edit} needs {name}.", edit=cls.kind, name=missing))

    def write(self, number: int) -> Written:
        """Return what a script says of it, as the so-many-th edit, beside the sizes that its plan gives weights."""
        return Written()

    def finish(self, training: Training) -> None:
        """Do what the training data are needed for, once the model has its other structure."""

    @contextmanager
    def expecting(self, model: nn.Module) -> Iterator[None]:
        """Have the model compute meanwhile what it is to compute afterwards."""
        yield

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the edit that `to_json` wrote.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is none.
        """
        return cls(**{field.name: value[field.name] for field in fields(cls)})

    def refuse(self, reason: str) -> CannotEdit:
        """Build the error that says why the edit cannot be made."""
        return CannotEdit(_("{edit} cannot be made: {reason}.", edit=self, reason=reason))

    def to_json(self) -> dict[str, Any]:
        """Return the edit as the journal holds it."""
        held = {name: as_lists(value) for name, value in asdict(self).items()}
        return {"edit": self.kind, **held}


def as_lists(value: Any) -> Any:
    """Return a value with lists in the place of tuples, as it is when it was stored and read."""
    return [as_lists(item) for item in value] if isinstance(value, (list, tuple)) else value
