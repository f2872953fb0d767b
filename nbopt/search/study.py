"""`Study`: many runs under the same declarations, whose values are searched for."""

from __future__ import annotations

import secrets
from typing import Any, Self

import torch

from nbopt.errors import MOST, check_text
from nbopt.hyperparams import Int
from nbopt.i18n import _
from nbopt.record.journal import NOT_EXACT
from nbopt.record.snapshots import Snapshot
from nbopt.run.run import Run
from nbopt.run.session import Session
from nbopt.run.spec import RunSpec
from nbopt.search.around import Around, OfRun, check_share
from nbopt.search.asktell import AskTell
from nbopt.search.choosing import choose_executor
from nbopt.search.executors import Executor, Inline
from nbopt.search.jobs import Job
from nbopt.search.judging import Judging
from nbopt.search.pruners import check_pruner, is_asynchronous
from nbopt.search.record import Record
from nbopt.search.samplers import check_sampler
from nbopt.search.showing import Shown
from nbopt.search.sizes import check_alone, tell_inexact
from nbopt.search.spec import StudySpec
from nbopt.search.subjects import BY_HAND, Subject, make_subject
from nbopt.search.trial import Trial
from nbopt.store.database import AUTO, Place, folder_of
from nbopt.training.prepare import check_seed
from nbopt.training.step.passes import Forward

_TRIALS = 100


class Study(Shown):
    """Many runs under the same declarations, whose values a sampler chooses: a search.

    Each trial is a run with a journal, a history and a seed of its own, and can be taken out as a `nbopt.Run`. All
    trials begin with the same weights and see batches in the same order, those of the study's seed.

    Parameters
    ----------
    build : torch.nn.Module or callable, optional
        A model, of which each trial trains a copy; or what returns one: a function with arguments named as dimensions
        of the space, a function of a mapping of all values, or a class of `nbopt.models` (with ``functools.partial``).
        Or an estimator of scikit-learn, which a trial fits to each fold (``cv``, 5 by default) and scores by the
        ``objective``, one of scikit-learn's scorers: `Trial.refit` then returns it fitted to all data.
    train, val, loss, forward, optimizer, metrics, techniques, device
        As for `nbopt.Run`.
    space : list of str or mapping, optional
        The names of hyperparameters, whose declared ranges are searched, without the true zero of a logarithmic one. A
        mapping narrows or adds: from names to declarations as ``nbopt.Float(...)``, pairs (low, high) or lists. One
        that is declared with ``when={"depth": range(3, 7)}`` is no value of trials of another depth.
    objective : str, callable, or list of these
        What is searched for: the name of a measurement, that of the weights with which a trial ends; a function of a
        trained run; ``parameters``, how many weights the model has, or ``latency``, the milliseconds measured that it
        takes for a sample. Several, as ``["val_accuracy", "parameters"]``, give a Pareto front. Without ``build``, a
        function of a trial in Optuna's style: ``trial.suggest_float("x", 0, 1)``, ``trial.values["lr"]``.
    direction : str or list of str, optional
        ``minimize`` or ``maximize``; by default losses and errors are minimized, and metrics maximized.
    sampler : str or sampler of Optuna's
        ``tpe``, ``random``, ``grid``, ``qmc``, ``gp``, ``cmaes``, ``nsga2``, ``particle_swarm``, ``annealing``,
        ``genetic``; ``reinforce``, a small network that learns which values to choose; ``hypergradient``, which follows
        the derivative of the validation loss; or ``pbt``, population-based training, which changes values while all
        trials train together.
    pruner : str, None or pruner of Optuna's
        What ends trials early: ``median``, ``percentile``, ``successive_halving`` or ``hyperband``.
    trials : int, optional
        How many there are to be; by default 100, and of a grid no more than it has places.
    executor : str or Executor
        ``inline``, one after the other; ``threads``; ``population``: trials whose models are built alike train as the
        members of a `nbopt.Population`. ``auto`` does that with small models. ``processes`` of this machine, with what
        a notebook defines; they share the cores. ``ray``: machines of a Ray cluster, see `nbopt.search.on_ray.OnRay`. A
        trial that loses its worker goes on in another one; with as many threads of torch, both find what one thread
        finds, bit for bit.
    slots : int, optional
        How many trials are carried out at once. A sampler never knows of those that may still be under way, so that
        the study does not depend on which of them ends first.
    cv : int, splitter of scikit-learn or iterable of (train, val), optional
        Folds of the training data, in the place of ``val``: a trial trains one run on each, and its objective is the
        mean. An int makes stratified folds where targets are class labels.
    repeats : int
        How many runs a trial trains, or on each fold, with seeds from ``seed`` on: its objective is the mean.
    seed : int
        Decides all that is drawn: values, initial weights, batches, noise.
    name : str, optional
    store : str, path or None
        As for `nbopt.Run`: the study is kept there, and `nbopt.open` opens it again, also after a crash.
    **hyperparams
        As for `nbopt.Run`: what all trials have. Divergence ends a trial; ``recover=True`` has runs lower their rate
        and go on, as by themselves.

    Raises
    ------
    InvalidHyperparam, TypeError, ValueError
        For what cannot be searched, and for whatever no run can be made with.
    ImportError
        Where Optuna is not installed; says how to install it.

    Examples
    --------
    >>> import torch
    >>> x = torch.randn(64, 4)
    >>> y = (x[:, 0] > 0).long()
    >>> study = nbopt.Study(torch.nn.Linear(4, 2), (x, y), 0.25, space=["lr"], epochs=2, trials=4, store=None)
    >>> study.fit()
    <Study 'Linear': finished, 4 of 4 trials>
    >>> sorted(study.best.values)
    ['lr']
    >>> study.best.run(store=None).hyperparams["lr"] == study.best.values["lr"]
    True
    """

    def __init__(
        self,
        build: Any = None,
        train: Any = None,
        val: Any = None,
        loss: Any = "cross_entropy",
        *,
        space: Any = None,
        objective: Any = "val_loss",
        direction: Any = None,
        sampler: Any = "tpe",
        pruner: Any = None,
        trials: int | None = None,
        executor: Any = "auto",
        slots: int | None = None,
        cv: Any = None,
        repeats: int = 1,
        forward: Forward | None = None,
        optimizer: Any = "adam",
        metrics: Any = None,
        techniques: Any = None,
        seed: int = 0,
        device: str | torch.device = "auto",
        name: str | None = None,
        store: Place | None = AUTO,
        **hyperparams: Any,
    ) -> None:
        kept = (forward, optimizer, metrics, techniques, seed, device, None, None, hyperparams)
        run = RunSpec(build, train, val, loss, *kept)
        ways = (space, objective, direction, sampler, pruner, trials, executor, slots, seed, name, store)
        self._make(StudySpec(build, run, *ways, cv=cv, repeats=repeats))

    @classmethod
    def of(cls, spec: StudySpec, record: Record | None = None) -> Self:
        """Return a study made with ``spec``; with a record, one that goes on from there."""
        study = cls.__new__(cls)
        study._make(spec, record)
        return study

    @classmethod
    def around(
        cls,
        run: Run,
        space: Any = None,
        *,
        at: int | str | Snapshot = "now",
        share: float = 0.25,
        epochs: int | None = None,
        objective: Any = None,
        sampler: Any = "tpe",
        pruner: Any = None,
        trials: int = 16,
        slots: int | None = None,
        seed: int = 0,
        name: str | None = None,
    ) -> Self:
        """Return a study whose trials go on from where a run is, each with values near to the run's.

        Each is a branch of the run: the same weights, state of the optimizer and batches to come. The first one has the
        run's own values. The run itself stays as it is, and may go on meanwhile; whoever likes a trial gives the run
        its values: ``run.set(**study.best.values)``. The study is kept in memory alone.

        Parameters
        ----------
        run : Run
        space : list of str or mapping, optional
            As for `Study`; by default the learning rate, and weight decay and dropout where they act.
        at : int, "now", "best" or Snapshot
            Where trials begin: after so many steps of the run's, 0 being the beginning.
        share : float
            The part of each declared range, about the run's value, that is searched; bounds that ``space`` gives stay.
        epochs : int, optional
            How many more each trains; by default to the run's end. A schedule ends with them.
        objective : optional
            As for `Study`; by default the validation loss, or the loss where nothing is validated.
        sampler, pruner, trials, slots, seed, name
            As for `Study`.

        Raises
        ------
        InvalidHyperparam
            For an unknown name, what cannot change there any more, and where nothing is left to be trained.

        Examples
        --------
        >>> run = nbopt.Run(run.model, run.spec.train, 0.2, epochs=4, store=None)
        >>> run.step(2)
        >>> study = nbopt.Study.around(run, ["lr"], trials=4).fit()
        >>> study.trials[0].values["lr"] == run.hyperparams["lr"], run.step_count
        (True, 2)
        >>> run.set(**study.best.values)
        """
        subject = OfRun(run, space, objective, at, check_share(share), epochs)
        number = _check_count("trials", trials)
        together = min(8, number) if slots is None else _check_count("slots", slots)
        name = name or _("{name}, around step {step}", name=run.name, step=subject.snapshot.step)[:MOST]
        ways = (None, objective, None, sampler, pruner, number, "population", together, seed, name, None)
        study = cls.__new__(cls)
        refills = is_asynchronous(pruner)
        study._make(StudySpec(run.model, run.spec, *ways), None, subject, Around(subject, together, number, refills))
        study.add(**subject.present)
        run.search = study
        run.announce()
        return study

    def _make(
        self,
        spec: StudySpec,
        record: Record | None = None,
        subject: Subject | None = None,
        executor: Executor | None = None,
    ) -> None:
        self.seed = check_seed(spec.seed)
        judging = Judging(spec.cv, spec.repeats, self.seed)
        stored, judged = (None, ()) if record is None else (spec.space[0], record.made["judged"])
        self._subject = subject or make_subject(spec, judging, stored, judged)
        self.space, self.objectives = self._subject.space, self._subject.objectives
        several = len(self.objectives) > 1
        self.sampler = check_sampler(spec.sampler, several, bool(self.space))
        self.pruner = check_pruner(spec.pruner, several)
        trials = _TRIALS if spec.trials is None else _check_count("trials", spec.trials)
        if self.sampler == "grid":
            trials = min(trials, len(self.space.grid(trials)))
        self._subject.check(self.sampler, self.pruner)
        self.id = spec.id or secrets.token_hex(4)
        self._subject.study, self._subject.seed = self.id, self.seed
        self.name = check_text("name", spec.name or _name_of(spec.objective if spec.build is None else spec.build))
        directions = [each.direction for each in self.objectives]
        asktell = AskTell(self.sampler, self.pruner, directions, self.seed, self._subject.reports)
        given = (spec.executor, spec.slots, self._subject.blueprint, trials, self.sampler, self.pruner)
        if executor is None:
            executor = choose_executor(*given) if self._subject.is_whole else Inline()
        check_alone([each.name for each in self.objectives], executor)
        is_new = record is None
        if record is None:
            record = Record(None if spec.store is None else folder_of(spec.store), self.id, directions)
            judged = [[each.name, each.direction] for each in self.objectives]
            record.describe(
                {**spec.put(name=self.name, trials=trials, slots=executor.slots).describe(self.space), "judged": judged}
            )
            record.claim()
        self.begin_with(record, asktell, executor, trials)
        if is_new and (reason := tell_inexact([each.name for each in self.objectives])):
            self.journal.event(0, NOT_EXACT, {"reason": reason}, "study")
        if Session.viewer is not None:
            Session.viewer.made(self)

    def _equip(self, trial: Trial) -> None:
        self._subject.equip(trial, self._sessions.get)

    def _find_notes(self, trial: Trial) -> dict[str, Any]:
        return self._subject.notes.pop(trial.number, {})

    def _check_trial(self, changes: dict[str, Any]) -> dict[str, Any]:
        return self._subject.check_change(changes)

    def _note_by_hand(self, number: int, changes: dict[str, Any]) -> None:
        note = self._subject.notes.setdefault(number, {})
        note[BY_HAND] = sorted({*note.get(BY_HAND, ()), *changes})

    def _make_job(self, trial: Trial) -> Job:
        name, asked = f"{self.name} [{trial.number}]", self._asktell.handle(trial.number)
        parts = self._subject.parts(trial, name, asked, self.note_report)
        own = (self._subject, asked, dict(trial.values), name)
        return Job(trial.number, parts, self.report, self.note_report, *own)


def _check_count(name: str, value: Any) -> int:
    number = Int(1, low=1, high=1, ge=1)
    number.name = name
    return number.check(value)


def _name_of(what: Any) -> str:
    what = getattr(what, "func", what)
    if isinstance(what, torch.nn.Module):
        return type(what).__name__
    name = str(getattr(what, "__name__", type(what).__name__))
    return _("study") if name == "<lambda>" else name
