"""The story of a run: all that an export tells, gathered from its journal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import nn

from nbopt.data.sources import AnySource
from nbopt.export.edits import ToldEdit
from nbopt.hyperparams import Hyperparams
from nbopt.record.journal import ACTIONS, Entry, Journal, Operation
from nbopt.techniques.base import Technique, defines
from nbopt.techniques.catalogue import ALWAYS
from nbopt.techniques.without_run import with_values

Schedule = dict[int, dict[str, Any]]
"""What is done at each step, in order of steps: a hyperparameter's new value, or True for one of `ACTIONS`."""


class Stretch(NamedTuple):
    """A part of a run in which no hyperparameter changed.

    Attributes
    ----------
    step : int
        Its first one; -1 for the first stretch.
    changes : dict
        What was done there, as `Schedule` has it.
    values : dict
        Of all hyperparameters, from there on.
    """

    step: int
    changes: dict[str, Any]
    values: dict[str, Any]


@dataclass(frozen=True)
class RunSummary:
    """What led a run from its initial model to where it is.

    Attributes
    ----------
    name : str
    seed : int
    model : torch.nn.Module
    hyperparams : Hyperparams
        For its declarations.
    start : dict
        Values that the first step used.
    schedule : dict
        Changes after the first step; see `Schedule`.
    inert : set of str
        Hyperparameters that could not act.
    untouched : set of str
        Hyperparameters of which the first step used what the model brought.
    steps : int or None
        Where it was left; None if it came, or will come, to its own end.
    done : int
        Steps done.
    val_loss : float or None
        What the last validation measured.
    stops_early : bool
        Whether early stopping did something, or may still do.
    train, val : sources
        As the steps see them.
    wrapped : bool
        Whether one of them was given as a Dataset or DataLoader.
    share : float or None
        The part of the training data that was cut off for validation.
    stratified : bool
        Whether it was cut off class by class.
    loss, optimizer : object
        As given.
    learns : bool
        Whether the loss has weights that are trained.
    adopted : torch.optim.Optimizer or None
        The user's own instance, if the run began with it.
    groups : list of (list of Parameter, dict)
        The weights of each of its parameter groups, and the settings as they were given.
    experienced : bool
        Whether that instance had taken steps before.
    hooked : bool
        Whether something is called before or after each step of the optimizer.
    techniques : tuple of Technique
        The user's own.
    metrics : dict of str to callable
    unread : str
        Why the script's metrics of classes cannot read these outputs, in words; "" if they can.
    forward : callable or None
    needs_graph : bool
        Whether validation needs gradients, of what forward or loss differentiate.
    evaluated : bool
        Whether modules of the model stay in evaluation mode.
    edits : sequence of ToldEdit
        What became of the model's structure, which is ``model``'s at the beginning.
    split : dict
        What was found out of batches in parts, see `nbopt.training.step.split.Split.state`; empty if nothing was.
    """

    name: str
    seed: int
    model: nn.Module
    hyperparams: Hyperparams
    start: dict[str, Any]
    schedule: Schedule
    inert: set[str]
    untouched: set[str]
    steps: int | None
    done: int
    val_loss: float | None
    stops_early: bool
    train: AnySource
    val: AnySource | None
    wrapped: bool
    share: float | None
    stratified: bool
    loss: Any
    optimizer: Any
    learns: bool
    adopted: torch.optim.Optimizer | None
    groups: list[tuple[list[nn.Parameter], dict[str, Any]]]
    experienced: bool
    hooked: bool
    techniques: tuple[Technique, ...]
    metrics: dict[str, Callable[..., Any]]
    unread: str
    forward: Callable[..., Any] | None
    needs_graph: bool
    evaluated: bool
    edits: Sequence[ToldEdit]
    split: dict[str, Any]

    @property
    def narrow(self) -> bool:
        """Whether anything was computed in numbers of 16 bits."""
        coarse = [kind for kind in ALWAYS if defines(kind, "is_coarse")]
        return any(with_values(kind(), stretch.values).is_coarse for stretch in self.course for kind in coarse)

    @cached_property
    def course(self) -> list[Stretch]:
        """What acted when."""
        found = [Stretch(-1, {}, self.start)]
        for step, new in self.schedule.items():
            values = {name: new.get(name, value) for name, value in found[-1].values.items()}
            found.append(Stretch(step, new, values))
        return found

    def values_of(self, name: str) -> list[Any]:
        """Return all values that ``name`` had, the first one first."""
        return [self.start[name], *(changes[name] for changes in self.schedule.values() if name in changes)]


def initial_values(hyperparams: Mapping[str, Any], effective: Iterable[Entry]) -> dict[str, Any]:
    """Return what the values were before the changes in ``effective`` led to those in ``hyperparams``."""
    values = dict(hyperparams)
    for entry in reversed(list(effective)):
        if entry.kind == "change":
            values[entry.name] = entry.old
    return values


def until_finished(journal: Journal) -> list[Entry]:
    """Return the journal's effective entries without those made after the run last finished."""
    entries = list(journal)
    last = max((k for k, entry in enumerate(entries) if entry.name == "finished"), default=len(entries))
    later = {id(entry) for entry in entries[last:]}
    return [entry for entry in journal.effective() if id(entry) not in later]


def by_step(operations: Iterable[Operation]) -> Schedule:
    """Group operations by step; of several changes of one name at one step the last one counts."""
    schedule: Schedule = {}
    for operation in operations:
        value = True if operation.name in ACTIONS else operation.value
        schedule.setdefault(operation.step, {})[operation.name] = value
    return dict(sorted(schedule.items()))


def operations(schedule: Schedule, source: str) -> list[Operation]:
    """Return a schedule as operations, for a run to follow."""
    return [
        Operation(step, name, None if name in ACTIONS else value, source)
        for step, changes in sorted(schedule.items())
        for name, value in changes.items()
    ]
