"""`TrainedSession`: a session that trains by nbopt's own loop."""

from __future__ import annotations

import math
import secrets
from typing import ClassVar, Self, get_args

import torch
from torch import nn

from nbopt.errors import check_text
from nbopt.hyperparams.values import tell_unused
from nbopt.i18n import _
from nbopt.run.declared import find_inert, find_loss
from nbopt.run.making import make_history, make_training
from nbopt.run.session import registry
from nbopt.run.session.steerable import Ability
from nbopt.run.spec import RunSpec
from nbopt.run.stored.fingerprint import describe_begun, describe_spec
from nbopt.run.stored.recording import make_recorder, tell_opening
from nbopt.run.worker.driven import Driven
from nbopt.run.worker.worker import Worker
from nbopt.store.database import RunRecord, folder_of
from nbopt.techniques.base import Technique
from nbopt.techniques.catalogue import find_several
from nbopt.techniques.context import Setting
from nbopt.techniques.metrics.by_output import read_metrics
from nbopt.training import prepare
from nbopt.training.device import Device, pick_device
from nbopt.training.material import Material
from nbopt.training.stage import NotBegun
from nbopt.training.training import Training
from nbopt.training.trial import check_changes


class TrainedSession(Driven):
    """A session that trains a model as a `RunSpec` says, by a worker of its own.

    `nbopt.Run` is what people import: it adds what leads to other runs and to files.

    Parameters
    ----------
    given : RunSpec

    Attributes
    ----------
    spec : RunSpec
        The same, checked.
    initial : dict of str to object
        The hyperparameters' values before the first step.
    material : Material
    """

    single: ClassVar[type[TrainedSession]]
    """What people import: a member that leaves its population becomes one."""
    abilities = frozenset(get_args(Ability))
    device: Device
    material: Material

    def __init__(self, given: RunSpec) -> None:
        spec = given.checked()
        hyperparams = spec.declare()
        self.model = spec.model
        self.seed = spec.seed
        self.device = pick_device(spec.device)
        self.metrics = read_metrics(spec.metrics, spec.loss)
        self.techniques: tuple[Technique, ...] = spec.techniques
        self.spec = spec.settled(hyperparams)
        named, loss = self.spec.hyperparams, find_loss(hyperparams)
        self.loss_modules = loss.modules
        self.material = Material(self.model, self.loss_modules)
        prepare.check_optimizer(spec.optimizer, self.model, self.loss_modules)
        # Values shown that stand for several of the model's own: setting one to what is shown still acts.
        several = find_several(self.model, self.techniques) - named.keys()
        self.initial = {**hyperparams, **spec.initial}
        own = [name for technique in self.techniques for name in technique.measures]
        for measure in own:
            check_text(_("the name of a measurement"), measure)
        self.measures = ["loss", *loss.measures, *self.metrics]
        self.later_measures = ["lr", *own]
        history = make_history(self.measures, own, loss.measures, spec.val is not None)
        number = spec.id or secrets.token_hex(4)
        name = f"{type(self.model).__name__} {number[:4]}" if spec.name in (None, "") else spec.name
        store = None if spec.store is None else folder_of(spec.store)
        super().__init__(
            name,
            hyperparams,
            NotBegun(several),
            history,
            given=named,
            id=number,
            created=spec.created,
            parent=spec.parent,
            store=store,
        )
        self.changes.plan(spec.planned)
        self.worker = Worker(self, self._begin, spec.until)
        setting = Setting(self.model, self.device.torch, spec.val is not None)
        self.inert = {**find_inert(setting, spec.train, self.techniques), **loss.find_inert(setting)}
        tell_unused({name: self.inert[name] for name in self.inert.keys() & named.keys()})
        if spec.listed and spec.id is None and spec.parent is None:  # others have what they were copied from
            tell_unused(hyperparams.find_overruled(named))
        self.recorder = None if store is None else make_recorder(self, store, TrainedSession.describe)
        if spec.listed:
            registry.enter(self)
            if (viewer := type(self).viewer) is not None:
                viewer.made(self)

    @classmethod
    def of(cls, spec: RunSpec) -> Self:
        """Return a run made with ``spec``.

        Examples
        --------
        >>> another = nbopt.Run.of(run.spec)
        >>> another.model is run.model, another.id == run.id
        (True, False)
        """
        run = cls.__new__(cls)
        TrainedSession.__init__(run, spec)
        return run

    @property
    def last_step(self) -> int | None:
        """The number of steps with which the run ends: its ``steps``, or in a replay those to repeat; None in epochs.

        Examples
        --------
        >>> run.set(steps=500)
        >>> run.last_step
        500
        """
        end = self.worker.ends_at
        return int(end) if end < math.inf else super().last_step

    def _begin(self) -> Training:
        return make_training(self, self.spec, self.material, self.metrics, self.initial)

    def describe(self) -> RunRecord:
        """Return what the run is and was made with, for the store.

        Examples
        --------
        >>> run.describe().settings["seed"]
        0
        """
        settings = describe_spec(self.spec, self.initial, self.loss_modules)
        settings |= describe_begun(self.model, self.snapshots, self.training if self.has_begun else None)
        return RunRecord(self.id, self.name, self.parent, self.created, settings)

    def frozen_model(self, at: str = "now", *, fold: bool = False) -> nn.Module:
        """Return a copy of the model in evaluation mode that computes what the run's model does now.

        Its weights are those of the forward pass: pruned weights are 0 and quantized ones are rounded. Nothing trains
        them any more, so that the copy can be kept, or serve as a teacher. What the run does to inputs before they
        reach the model, such as scaling, is not part of it.

        Parameters
        ----------
        at : str
            ``now``, or ``best`` for the weights of the best validation so far.
        fold : bool
            Whether to fold batch norms into the layers before them, see `export`. A warning names those that stay.

        Raises
        ------
        ValueError
            If activations are rounded, which no copy of the model does; or if there are no best weights yet.

        Examples
        --------
        >>> run.step(3)
        >>> torch.equal(run.frozen_model()(X), run.predict(X))
        True
        """
        from nbopt.run.exports.frozen import frozen_model  # on first use: a run starts without it

        return self.worker.between_steps(lambda: frozen_model(self, at, fold))

    def _ask(self, changes: dict[str, object], source: str) -> None:
        if self.worker.has_begun and self.worker.training.acting.doubtful(changes):  # else the first step tells
            self.worker.between_steps(lambda: check_changes(self.worker.training, changes))
        super()._ask(changes, source)

    @property
    def branches(self) -> list[TrainedSession]:
        """The runs of this process that branched off this one, oldest first; replays too.

        Examples
        --------
        >>> run.step(3)
        >>> branch = run.branch(at=2)
        >>> run.branches == [branch]
        True
        """
        return [run for run in registry.live_runs() if isinstance(run, TrainedSession) and run.parent == self.id]

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """The torch optimizer at work; None before the start.

        Examples
        --------
        >>> run.step()
        >>> type(run.optimizer).__name__
        'Adam'
        """
        return self.stage.optimizer

    @property
    def tier(self) -> str:
        """How steps are done, and why, in words: one operation after the other (eager), or by machine code.

        Examples
        --------
        >>> run.tier
        'eager steps'
        """
        return self.stage.tier or _("eager steps")

    @property
    def converted(self) -> str:
        """The conversions of data types that were made, in words; "" before the start, or if there were none.

        Examples
        --------
        >>> doubled = nbopt.Run(torch.nn.Linear(4, 3), (X.double(), y), store=None)
        >>> doubled.step()
        >>> doubled.converted
        'float64 data became float32'
        """
        return self.stage.converted

    @property
    def notes(self) -> list[str]:  # type: ignore[override]
        """Remarks on how the run trains: `converted` and `tier`.

        Examples
        --------
        >>> run.notes
        ['eager steps']
        """
        return [text for text in (self.converted, self.tier) if text]

    @property
    def opening(self) -> str:  # type: ignore[override]
        """The code that opens the run again from the store; "" where it is not stored.

        Examples
        --------
        >>> stored = nbopt.Run(torch.nn.Linear(4, 3), (X, y), store="runs")
        >>> stored.opening
        'run = nbopt.open("...", model, train=(X, y), store=...)'
        """
        split = self.spec.val is None or self.spec.val_fraction is not None
        return "" if self.store is None else tell_opening(self.id, self.store, split)


TrainedSession.single = TrainedSession
