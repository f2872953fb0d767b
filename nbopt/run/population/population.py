"""`Population`: many runs of one shape that train as one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch

from nbopt.errors import MOST, check_text
from nbopt.hyperparams import Hyperparams
from nbopt.i18n import _
from nbopt.record.journal import SWITCH, TUNING
from nbopt.record.snapshots import Snapshot
from nbopt.run.population.forks import find_start, fork_member
from nbopt.run.population.keeping import keep
from nbopt.run.population.kept import at_once
from nbopt.run.population.managed import Managed
from nbopt.run.population.member import Member
from nbopt.run.population.members import check_samples, find_all_inert, make_members, tell_inert
from nbopt.run.population.values import SEED, as_rows, check_for_all, check_rows, find_shared
from nbopt.run.session.session import Session
from nbopt.run.spec import RunSpec
from nbopt.run.trained import TrainedSession
from nbopt.store.database import AUTO, Place
from nbopt.training.prepare import check_in_time, check_seed
from nbopt.training.state import RunState
from nbopt.training.step.passes import Forward


class Population(Managed):
    """Many runs of the same model that train as one; each member has its own hyperparameters.

    The steps of all members are done at once with ``torch.func.vmap``, which for small models takes a fraction of the
    time of training one after another. Where that is not possible, members take turns, and `tier` says why.

    Parameters
    ----------
    model, train, val, loss, forward, optimizer, metrics, techniques, device, name
        As for `nbopt.Run`. Each member trains a copy of the model.
    seed : int or sequence of int
        Seeds the order of samples, dropout and the split; the initial weights only with ``initialization``.
    store : str, path or None
        Where the population is stored, as for `nbopt.Run`; `nbopt.open` opens it again.
    samples : sequence, optional
        For each member, a mask or an index of the training samples that it uses, such as a fold or a bag.
    same_batches : bool
        Whether all members see the same batches, those of the first member's seed and validation split.
    combine : bool, optional
        Whether there is one member for every combination of the given values, which is the default if sequences
        differ in length. Otherwise the first values belong to the first member, and so on.
    **hyperparams
        Any hyperparameter: one value for all members, or a sequence with one for each, such as `nbopt.spread` returns.
        Those that decide what a step computes, such as ``batch_size`` and ``optimizer``, are the same for all members.

    Raises
    ------
    InvalidHyperparam
        For an unknown name, an illegal value, or different values of something that members share.
    TypeError, ValueError
        If the model cannot be trained. Data are checked when the population starts.

    Examples
    --------
    >>> import torch
    >>> x, y = torch.randn(64, 4), torch.randint(0, 3, (64,))
    >>> population = nbopt.Population(torch.nn.Linear(4, 3), (x, y), 0.25, lr=nbopt.spread(1e-4, 1, 8), epochs=2)
    >>> len(population.fit())
    8
    >>> population[3].hyperparams["lr"]
    0.00517947467923
    >>> len(population[3].history["val_loss"][1])
    2
    """

    def __init__(
        self,
        model: torch.nn.Module,
        train: Any,
        val: Any = None,
        loss: Any = "cross_entropy",
        *,
        forward: Forward | None = None,
        optimizer: Any = "adam",
        metrics: Any = None,
        techniques: Any = None,
        seed: Any = 0,
        device: str | torch.device = "auto",
        name: str | None = None,
        store: Place | None = AUTO,
        samples: Any = None,
        same_batches: bool = False,
        combine: bool | None = None,
        **hyperparams: Any,
    ) -> None:
        check_for_all(optimizer, same_batches=same_batches, combine=combine is not None and combine)
        common, rows = as_rows({**hyperparams, SEED: seed}, find_shared(techniques or ()), combine)
        first = common.get(SEED, rows[0].get(SEED))
        given = {name: value for name, value in {**common, **rows[0]}.items() if name != SEED}
        own = (model, train, val, loss, forward, optimizer, metrics, techniques, check_seed(first), device, name, None)
        spec = RunSpec(*own, given).checked()
        declared = spec.declare()
        spec = spec.settled(declared)
        seeds = [{SEED: check_seed(row[SEED])} if SEED in row else {} for row in rows]
        values = check_rows(declared, [{k: v for k, v in row.items() if k != SEED} for row in rows])
        every = [row | seed for row, seed in zip(values, seeds, strict=True)]
        self.begin_with(spec, declared, len(rows), lambda made: make_members(made, spec, declared, every), every)
        self.samples, self.order = check_samples(samples, len(rows)), self[0].seed if same_batches else None
        self.split = self.order
        keep(self, store)
        tell_inert(self.spec, self.inert)
        if Session.viewer is not None:
            Session.viewer.made(self, "population")

    def begin_with(
        self,
        spec: RunSpec,
        hyperparams: Hyperparams,
        size: int,
        make: Callable[[Self], list[Member]],
        rows: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        """Make the members, as what opens one does too; ``rows`` are what each has of its own, for a store.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01])
        >>> population.begin_with(population.spec, population.hyperparams, 0, lambda made: [])
        >>> len(population)
        0
        """
        super().__init__(spec.name, type(spec.model).__name__)
        self.spec, self.hyperparams = spec, hyperparams
        self.inert = find_all_inert(spec, hyperparams)
        self.size, self.rows, self.initial = size, [dict(row) for row in rows], dict(hyperparams)
        self.members = make(self)

    @classmethod
    def of_run(
        cls,
        run: TrainedSession,
        rows: Sequence[Mapping[str, Any]],
        at: int | str | Snapshot = "now",
        name: str | None = None,
        source: str = "code",
        store: Place | None = None,
    ) -> Self:
        """Return a population whose members continue a run from some step, each with its own values.

        See `Run.population`, which calls it.

        Examples
        --------
        >>> run.step(3)
        >>> population = nbopt.Population.of_run(run, [{"lr": 0.001}, {"lr": 0.01}])
        >>> population[1].step_count, population[1].hyperparams["lr"]
        (3, 0.01)
        """
        start, snapshot = find_start(run, at)
        made = cls.__new__(cls)
        own = [{name: value for name, value in row.items() if name != SEED} for row in rows]
        own = check_rows(run.hyperparams, own)
        seeds = [check_seed(row.get(SEED, run.seed)) for row in rows]
        for row in own:
            check_in_time(row, start.hyperparams, snapshot.step)

        def make(population: Self) -> list[Member]:
            return [fork_member(start, population, number, snapshot, seed=seed) for number, seed in enumerate(seeds)]

        spec = replace(run.spec, name=name or _("{name}, population", name=run.name)[:MOST], store=None)
        made.begin_with(spec, run.hyperparams.another(), len(rows), make, [{SEED: seed} for seed in seeds])
        made.initial, made.split = run.initial, run.seed
        keep(made, store)
        with at_once(made.keeping):
            for member, row in zip(made, own, strict=True):
                member.changes.make(row, check_text("source", source))
        made.state = RunState.PAUSED if snapshot.step else RunState.CREATED
        return made

    @classmethod
    def repeating(cls, run: TrainedSession, rows: Sequence[Mapping[str, Any]], name: str | None = None) -> Self:
        """Return a population, already training, that repeats a run, each member with its own values.

        Raises
        ------
        RuntimeError
            If something was done to the run that cannot be repeated.

        Examples
        --------
        >>> run.step(3)
        >>> population = nbopt.Population.repeating(run, [{"seed": 1}, {"seed": 2}])
        >>> _ = population.wait()
        >>> population.step_count
        3
        """
        steps, schedule = run.worker.between_steps(lambda: (run.step_count, run.journal.schedule()))
        if touched := next((op for op in schedule if op.name == TUNING and op.value.get("touched")), None):
            told = _("at step {step}: {reason}", step=touched.step, reason=touched.value["reason"])
            raise RuntimeError(_("the run cannot be repeated, as something was done by hand {told}.", told=told))
        made = cls.of_run(run, rows, 0, name or _("{name}, repeated", name=run.name)[:MOST])
        for member in made:
            member.changes.plan(op for op in schedule if op.name != SWITCH)
            member.until = steps
            member.training.tiers.held_until = steps  # where techniques asked for changes, the journal has them
        if steps:
            made.start()
        return made

    # -- members

    @property
    def best(self) -> Member | None:
        """The member with the lowest validation loss so far; None before the first validation.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), val=0.2, lr=[0.001, 0.1], epochs=5).fit()
        >>> population.best is min(population, key=lambda member: member.stopping.best)
        True
        """
        judged = [member for member in self if member.has_begun and math.isfinite(member.training.judge.best)]
        return min(judged, key=lambda member: float(member.training.judge.best), default=None)

    @property
    def differing(self) -> list[str]:
        """The hyperparameters in which the members differ now, in the order in which they are shown.

        Examples
        --------
        >>> nbopt.Population(run.model, (X, y), lr=[0.001, 0.01], weight_decay=0.1).differing
        ['lr']
        """
        return [name for name in self.hyperparams if len({repr(member.hyperparams[name]) for member in self}) > 1]

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` with one row per member: its values, its state and its measurements.

        Examples
        --------
        >>> population = nbopt.Population(run.model, run.spec.train, lr=[0.001, 0.01], epochs=1).fit()
        >>> population.to_pandas()[["lr", "state", "step"]].values.tolist()
        [[0.001, 'finished', 1], [0.01, 'finished', 1]]
        """
        import pandas as pd

        names = self.differing
        seeds = len({member.seed for member in self}) > 1
        rows = []
        for member in self:
            row: dict[str, Any] = {"seed": member.seed} if seeds else {}
            row |= {name: member.hyperparams[name] for name in names}
            row |= {"state": member.state.value, "step": member.step_count}
            row |= {name: member.history.last(name) for name in member.history.names}
            if member.has_begun and member.training.judge.best_step is not None:
                row |= {"best_val_loss": member.training.judge.best, "best_step": member.training.judge.best_step}
            rows.append(row)
        return pd.DataFrame(rows).rename_axis("member")

    # -- where it is

    @property
    def tier(self) -> str:
        """How steps are done, in words, and why.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01])
        >>> population.step()
        >>> population.tier
        'all members at once'
        """
        together = self.puller.together
        if together.reason:
            return _("one member after the other ({reason})", reason=together.reason)
        return together.compiled.tell([member.training for member in self if member.has_begun])

    def __repr__(self) -> str:
        told = _("{count} members, {state}, step {step}", count=len(self), state=self.state.value, step=self.step_count)
        return f"<Population {self.name!r}: {told}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        viewer = Session.viewer
        return {"text/plain": repr(self)} if viewer is None else viewer.population(self)

    def show(self) -> None:
        """Show the panel below the running cell; outside a notebook, print one line.

        Examples
        --------
        >>> nbopt.Population(run.model, (X, y), lr=[0.001, 0.01]).show()
        <Population ...: 2 members, created, step 0>
        """
        if (viewer := Session.viewer) is None:
            print(self)
        else:
            viewer.show(self)
