"""`RunSpec`: what a run is made with, as one value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch

from nbopt.data.sources import AnySource
from nbopt.errors import check_text
from nbopt.hyperparams import Hyperparams
from nbopt.i18n import _
from nbopt.record.journal import Operation
from nbopt.run.declared import declare
from nbopt.store.database import AUTO, Place
from nbopt.techniques.catalogue import check_techniques
from nbopt.techniques.losses.choice import find_weights
from nbopt.techniques.metrics.by_output import read_metrics
from nbopt.techniques.optimizers.made import make_optimizer
from nbopt.techniques.schedules.own import check_schedulers
from nbopt.training import prepare
from nbopt.training.device import Device, pick_device
from nbopt.training.state import Ending
from nbopt.training.step.passes import Forward


@dataclass(frozen=True)
class RunSpec:
    """What a run is made with; `Run.of` makes one.

    A run that is made from another one, from the store or from a recipe is made of such a value, and not changed after.

    Parameters
    ----------
    model, train, val, loss, forward, optimizer, metrics, techniques, seed, device, name, store
        As given to `Run`.
    hyperparams : mapping of str to object
        Those given by name.
    id, created : str, float, optional
        Of a run that was stored; a new one draws and notes its own.
    parent : str, optional
        The run that it branched off or repeats.
    origin : object, optional
        The training data before ``val`` was cut off; by default ``train``.
    val_fraction : float, optional
        What was cut off; by default ``val``, where that is a share.
    initial : mapping of str to object
        Values of hyperparameters that a stored run was made with; by default they follow from all the others.
    planned : sequence of Operation
        What is to be done on the way.
    given : mapping of str to Module
        Modules that edits of its model were given, by their fingerprints.
    until : Ending, optional
        Where the run is to rest.
    listed : bool
        Whether it counts among the runs of the process; a copy that only finds something out does not.
    """

    model: torch.nn.Module
    train: Any
    val: Any = None
    loss: Any = "cross_entropy"
    forward: Forward | None = None
    optimizer: Any = "adam"
    metrics: Any = None
    techniques: Any = None
    seed: int = 0
    device: str | torch.device | Device = "auto"
    name: str | None = None
    store: Place | None = AUTO
    hyperparams: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None
    created: float | None = None
    parent: str | None = None
    origin: Any = None
    val_fraction: float | None = None
    initial: Mapping[str, Any] = field(default_factory=dict)
    planned: Sequence[Operation] = ()
    given: Mapping[str, torch.nn.Module | None] = field(default_factory=dict)
    until: Ending | None = None
    listed: bool = True

    def checked(self) -> Self:
        """Return the same with all arguments looked at, and those that stand for others in their place.

        Raises
        ------
        TypeError, ValueError
            For a model that cannot be trained, and for whatever else no run can be made with.
        """
        model = prepare.check_model(self.model)
        seed, val = prepare.check_seed(self.seed), prepare.check_val(self.val)
        device = pick_device(self.device)
        for metric in read_metrics(self.metrics, self.loss):
            check_text(_("the name of a metric"), metric)
        prepare.check_forward(self.forward)
        optimizer = make_optimizer(self.optimizer, find_weights(model, self.loss))
        check_schedulers(optimizer, self.hyperparams.get("schedule"))
        return replace(
            self,
            seed=seed,
            val=val,
            device=device,
            optimizer=optimizer,
            techniques=check_techniques(self.techniques),
            origin=self.train if self.origin is None else self.origin,
            val_fraction=val if isinstance(val, float) else self.val_fraction,
        )

    def declare(self) -> Hyperparams:
        """Return the hyperparameters of a run made with this, which has been `checked`.

        Raises
        ------
        InvalidHyperparam
            For an unknown name or an illegal value.
        """
        device, given = pick_device(self.device).torch, dict(self.hyperparams)
        return declare(self.model, self.train, self.loss, self.optimizer, device, given, self.techniques)

    def settled(self, hyperparams: Hyperparams) -> Self:
        """Return the same with what `declare` made of the hyperparameters given: their present names, and a schedule.

        Copies of the run have other optimizers, which a scheduler given for the first one knows nothing of.
        """
        given = {hyperparams.renamed.get(name, name): value for name, value in self.hyperparams.items()}
        if not isinstance(given.get("schedule", ""), str):
            choice: Any = hyperparams.spec("schedule")
            given["schedule"] = choice.classes[hyperparams["schedule"]]
        return replace(self, hyperparams=given)

    @property
    def own_optimizer(self) -> torch.optim.Optimizer | None:
        """The user's own optimizer, if an instance was given."""
        return self.optimizer if isinstance(self.optimizer, torch.optim.Optimizer) else None

    def make_sources(self, device: torch.device, batch_size: int) -> tuple[AnySource, AnySource | None]:
        """Return sources of the data, see `nbopt.training.prepare.make_sources`."""
        return prepare.make_sources(
            self.train, self.val, self.seed, device, self.model, self.loss, self.forward, batch_size
        )
