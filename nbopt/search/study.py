"""`Study`: a search for hyperparameters, which trains many runs."""

from __future__ import annotations

import secrets
from typing import Any, Self

import torch

from nbopt.errors import MOST, check_text
from nbopt.i18n import _
from nbopt.record.snapshots import Snapshot
from nbopt.run.run import Run
from nbopt.run.session.session import Session
from nbopt.run.spec import RunSpec
from nbopt.search.around import Around, OfRun, check_share
from nbopt.search.choosing import batch_sizes, choose_executor, sizes_of
from nbopt.search.executors.executor import Executor, Inline
from nbopt.search.executors.jobs import Job
from nbopt.search.fingerprint import check_unchanged, describe, keep_weights, put_weights
from nbopt.search.record import Record
from nbopt.search.results.sizes import check_alone, tell_inexact
from nbopt.search.samplers.asktell import AskTell
from nbopt.search.samplers.pruners import check_pruner, is_asynchronous
from nbopt.search.samplers.samplers import check_sampler
from nbopt.search.showing import Shown
from nbopt.search.spaces.space import Space
from nbopt.search.spec import StudySpec, check_count, name_of
from nbopt.search.subjects.counting import Counting
from nbopt.search.subjects.judging import Judging
from nbopt.search.subjects.subject import BY_HAND, Subject, make_subject
from nbopt.search.trial import Trial
from nbopt.store.database import AUTO, Place, folder_of
from nbopt.training.prepare import check_seed
from nbopt.training.step.passes import Forward

_TRIALS = 100


class Study(Shown):
    """A search for hyperparameters: each trial trains a run with values that a sampler chooses.

    A trial has its own journal and history, and can be taken out as a `nbopt.Run`. All trials start from the same
    initial weights and see the batches in the same order, both given by the study's seed.

    Parameters
    ----------
    build : torch.nn.Module or callable, optional
        A model, of which each trial trains a copy, or a callable that returns a model: a function whose arguments
        are named like dimensions of the space, a function of one mapping with all values, or a class of
        `nbopt.models`, possibly wrapped in ``functools.partial``. A scikit-learn estimator is also accepted: each
        trial fits it on each fold (``cv``, 5 by default) and scores it with the ``objective``, the name of a
        scikit-learn scorer; `Trial.refit` then returns the estimator fitted on all data.
    train, val, loss, forward, optimizer, metrics, techniques, device
        As for `nbopt.Run`.
    space : list of str or mapping, optional
        Names of the hyperparameters to search, each within its declared range; the exact zero of a logarithmic range
        is left out. A mapping narrows ranges or adds dimensions: its values are declarations such as
        ``nbopt.Float(...)``, pairs (low, high) or lists of options. What nothing declares, as an argument of a function
        of your own, has all whole numbers between two of these; between other numbers, it is searched on a logarithmic
        scale where ``high`` is ten times ``low`` or more. A dimension declared with
        ``when={"depth": range(3, 7)}`` is only part of trials that have one of these depths.
    objective : str, callable, or list of these
        What to optimize: the name of a measurement, taken with the weights that a trial ends with; a function of the
        trained run; ``parameters``, the number of weights; or ``latency``, the measured milliseconds for one
        sample. Several objectives, such as ``["val_accuracy", "parameters"]``, give a Pareto front. Without
        ``build``, a function of a trial in Optuna's style: ``trial.suggest_float("x", 0, 1)``,
        ``trial.values["lr"]``; or None, for a study that code of your own asks for trials, see `ask` and `tell`.
    direction : str or list of str, optional
        ``minimize`` or ``maximize``. By default, losses and errors are minimized and other metrics maximized.
    sampler : str or Optuna sampler
        ``tpe``, ``random``, ``grid``, ``qmc``, ``gp``, ``cmaes``, ``nsga2``, ``particle_swarm``, ``annealing``,
        ``genetic``; ``reinforce``, a small network that learns which values to choose; ``hypergradient``, which follows
        the derivative of the validation loss; or ``pbt``, population-based training, which changes values while all
        trials train together.
    pruner : str, None or Optuna pruner
        What ends unpromising trials early: ``median``, ``percentile``, ``successive_halving`` or ``hyperband``.
    trials : int, optional
        The number of trials: 100 by default, and at most the number of points of a grid.
    executor : str or Executor
        ``inline`` trains trials one after another, ``threads`` in several threads. ``population`` trains trials whose
        models have the same shapes together, as members of a `nbopt.Population`; ``auto`` chooses this for small
        models. ``processes`` uses processes of this machine, which share its cores and know what the notebook
        defines. ``ray`` uses the machines of a Ray cluster; `nbopt.OnRay` says which cluster. With ``processes`` and
        ``ray``, a trial whose worker dies continues in another one, and with the same number of torch threads the
        results are bit for bit those of ``inline``.
    slots : int, optional
        How many trials train at the same time. The sampler is never told about a trial while others that might have
        ended before it are running, so the study does not depend on which of them ends first. By default, a sampler
        that learns gets those that it draws at random together, and then a tenth of the trials at a time, at most 8;
        with ``auto``, one after another where training so few runs at the same time saves nothing.
    cv : int, scikit-learn splitter or iterable of (train, val), optional
        Folds of the training data, used instead of ``val``: a trial trains one run per fold, and its objective is
        their mean. An int makes folds, stratified if the targets are class labels.
    repeats : int
        The number of runs per trial, or per fold, with the seeds ``seed``, ``seed + 1``, ...; the objective is their
        mean.
    seed : int
        Seeds everything random: the sampler, the initial weights, the order of batches and noise.
    name : str, optional
        The name shown in lists and panels.
    store : str, path or None
        Where the study is stored, as for `nbopt.Run`. `nbopt.open` opens it again, also after a crash.
    **hyperparams
        Hyperparameters of all trials, as for `nbopt.Run`. A diverging trial ends; with ``recover=True``, its run goes
        back and lowers the learning rate instead, as a run on its own does.

    Raises
    ------
    InvalidHyperparam, TypeError, ValueError
        If something cannot be searched, or no run can be made with these arguments.
    ImportError
        If Optuna is not installed; the message says how to install it.

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
        """Return a study made with ``spec``; given a record, one that continues from it."""
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
        """Return a study whose trials continue a run from where it is, each with values close to the run's own.

        Each trial is a branch of the run: it has the same weights and optimizer state and sees the same next batches.
        The first trial has the run's own values. The run does not change and may train meanwhile; to take over the
        values of a trial, call ``run.set(**study.best.values)``. The study is kept in memory only.

        Parameters
        ----------
        run : Run
        space : list of str or mapping, optional
            As for `Study`. By default the learning rate, and weight decay and dropout where they have an effect.
        at : int, "now", "best" or Snapshot
            Where trials start; an int is a number of steps, 0 the beginning of the run.
        share : float
            The fraction of each declared range to search, around the run's value. Bounds given in ``space`` are kept.
        epochs : int, optional
            How many epochs each trial trains, by default up to the end of the run. A schedule ends with them.
        objective : optional
            As for `Study`. By default the validation loss, or the training loss of a run without validation.
        sampler, pruner, trials, slots, seed, name
            As for `Study`.

        Raises
        ------
        InvalidHyperparam
            For an unknown name, for a hyperparameter that can no longer change there, and if no steps are left.

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
        number = check_count("trials", trials)
        first, batch = batch_sizes(number, sampler) if slots is None else (0, check_count("slots", slots))
        name = name or _("{name}, around step {step}", name=run.name, step=subject.snapshot.step)[:MOST]
        ways = (None, objective, None, sampler, pruner, number, "population", batch, seed, name, None)
        study = cls.__new__(cls)
        executor = Around(subject, batch, number, is_asynchronous(pruner), first)
        study._make(StudySpec(run.model, run.spec, *ways), None, subject, executor)
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
        stored = spec.space if record is not None and isinstance(spec.space, Space) else None  # else given again
        self._subject = subject or make_subject(spec, judging, stored, () if record is None else record.made["judged"])
        self.space, self.objectives = self._subject.space, self._subject.objectives
        several = len(self.objectives) > 1
        self.sampler = check_sampler(spec.sampler, several, bool(self.space))
        self.pruner = check_pruner(spec.pruner, several)
        trials = _TRIALS if spec.trials is None else check_count("trials", spec.trials)
        if self.sampler == "grid":
            trials = min(trials, len(self.space.grid(trials)))
        if self._subject.is_whole:
            self._subject.check(self.sampler, self.pruner)
        self.id, self._counting = spec.id or secrets.token_hex(4), Counting(spec.run.train, spec.run.val)
        self._subject.study, self._subject.seed, self._subject.is_stored = self.id, self.seed, spec.store is not None
        self.name = check_text("name", spec.name or name_of(spec.objective if spec.build is None else spec.build))
        directions = [each.direction for each in self.objectives]
        asktell = AskTell(self.sampler, self.pruner, directions, self.seed, self._subject.reports)
        given = (spec.executor, spec.slots, self._subject.blueprint, trials, self.sampler, self.pruner, spec.first)
        if executor is None:
            executor = choose_executor(*given) if self._subject.is_whole else Inline()
        check_alone([each.name for each in self.objectives], executor)
        is_new = record is None
        if record is None:
            record = Record(None if spec.store is None else folder_of(spec.store), self.id, directions)
            keep_weights(record.weights, spec.build)
            made = spec.put(name=self.name, trials=trials, **sizes_of(executor))
            record.describe(describe(made, self.space, self.objectives))
        elif self._subject.is_whole:
            check_unchanged(self.id, record.made, spec, self.space, self.objectives)
        if self._subject.is_whole:
            record.claim()
        if not is_new:
            put_weights(record.weights, spec.build)
        self.begin_with(record, asktell, executor, trials)
        if is_new:
            self.note_inexact(0, tell_inexact([each.name for each in self.objectives]))
        if Session.viewer is not None:
            Session.viewer.made(self, "study")

    def _equip(self, trial: Trial) -> None:
        self._subject.equip(trial, self._sessions.get)

    def _find_notes(self, trial: Trial) -> dict[str, Any]:
        self.note_inexact(trial.number, self._counting.tell())
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
