"""`Population`: many runs of one shape that train as one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch

from nbopt.errors import InvalidHyperparam, check_text
from nbopt.hyperparams import Hyperparams
from nbopt.i18n import _
from nbopt.run.population.member import Member
from nbopt.run.population.members import check_samples, find_all_inert, give_data, make_members, tell_inert
from nbopt.run.population.steered import Steered
from nbopt.run.population.values import SEED, as_rows, check_rows, find_shared, is_series, refuse
from nbopt.run.spec import RunSpec
from nbopt.run.trained import TrainedSession
from nbopt.training.prepare import check_in_time, check_seed
from nbopt.training.state import RunState
from nbopt.training.step.passes import Forward


class Population(Steered):
    """Many runs of one shape that train as one: each is a member, one set of hyperparameters.

    Their steps are done at once, by ``torch.func.vmap``, which for small models takes a fraction of the time that runs
    one after the other would. What cannot be done at once is done one after the other, and `tier` says why.

    Parameters
    ----------
    model, train, val, loss, forward, optimizer, metrics, techniques, device, name
        As for `nbopt.Run`. Each member trains a copy of the model.
    seed : int or sequence of int
        Decides the order of samples, dropout and the split; the initial weights only with ``initialization``.
    samples : sequence, optional
        For each member a mask or an index: the training samples that it has, as a fold or a bag.
    same_batches : bool
        Whether members of different seeds see the batches in the order of the first one's.
    combine : bool, optional
        Whether there is a member for every combination of the values given; by default where sequences differ in
        length, else the first values make up the first member, and so on.
    **hyperparams
        Any declared hyperparameter: a value for all members, or a sequence of one for each, as `nbopt.spread` returns.
        What decides what a step computes, as ``batch_size`` and ``optimizer``, is one for all.

    Raises
    ------
    InvalidHyperparam
        For an unknown name, an illegal value, or different values of what is one for all.
    TypeError, ValueError
        For a model that cannot be trained. Data are checked at the start.

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

    single: ClassVar[type[TrainedSession]] = TrainedSession
    """What `run` makes of a member."""

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
        samples: Any = None,
        same_batches: bool = False,
        combine: bool | None = None,
        **hyperparams: Any,
    ) -> None:
        if is_series(optimizer):
            raise refuse("optimizer", [*optimizer])
        common, rows = as_rows({**hyperparams, SEED: seed}, find_shared(techniques or ()), combine)
        first = common.get(SEED, rows[0].get(SEED))
        given = {**common, **rows[0]}
        given.pop(SEED)
        own = (model, train, val, loss, forward, optimizer, metrics, techniques, check_seed(first), device, name, None)
        spec = RunSpec(*own, given).checked()
        declared = spec.declare()
        self._begin_with(spec.settled(declared), declared, rows, samples, same_batches)
        tell_inert(self.spec, self.inert)

    def _begin_with(
        self,
        spec: RunSpec,
        hyperparams: Hyperparams,
        rows: Sequence[Mapping[str, Any]],
        samples: Any = None,
        same_batches: bool = False,
    ) -> None:
        """Make the members, each with a row of values of its own."""
        super().__init__(spec.name, type(spec.model).__name__)
        self.spec, self.hyperparams = spec, hyperparams
        self.inert = find_all_inert(spec, hyperparams)
        self._samples, self._same_batches = samples, same_batches
        seeds = [{SEED: check_seed(row[SEED])} if SEED in row else {} for row in rows]
        own = check_rows(hyperparams, [{k: v for k, v in row.items() if k != SEED} for row in rows])
        self.size = len(rows)
        self.members = make_members(self, spec, hyperparams, [a | b for a, b in zip(own, seeds, strict=True)])
        self._samples = check_samples(samples, len(rows))

    # -- members

    @property
    def best(self) -> Member | None:
        """The member with the lowest validation loss so far; None before the first validation."""
        judged = [member for member in self if member.has_begun and math.isfinite(member.training.judge.best)]
        return min(judged, key=lambda member: float(member.training.judge.best), default=None)

    @property
    def differing(self) -> list[str]:
        """The hyperparameters in which members differ now, in the order in which they are shown."""
        return [name for name in self.hyperparams if len({repr(member.hyperparams[name]) for member in self}) > 1]

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` with a row for each member: its own values, where it is, what it measured.

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
        """How steps are done, in words, and why."""
        reason = self.puller.together.reason
        return _("one member after the other ({reason})", reason=reason) if reason else _("all members at once")

    def __repr__(self) -> str:
        told = _("{count} members, {state}, step {step}", count=len(self), state=self.state.value, step=self.step_count)
        return f"<Population {self.name!r}: {told}>"

    # -- when it trains

    def begin(self) -> None:
        """Look at the data and at what is left to do, before the first step since a rest.

        Raises
        ------
        TypeError, ValueError
            For data that cannot be used.
        RuntimeError
            If there is nothing left to do.
        """
        if not all(member.has_begun for member in self):
            give_data([member for member in self if not member.has_begun], self._samples)
        for member in self:
            training = member.training
            training.evaluate_together = partial(self.puller.together.evaluation, training)
            if self._same_batches:
                training.cursor.seed = self[0].seed
        if not [member for member in [*self] if member.reopen() and not member.state.is_ended]:
            reason = self[0].end_reason or self.end_reason
            raise RuntimeError(
                _("all members have ended ({reason}): set epochs or steps higher to go on.", reason=reason)
            )
        self.error = None
        for member in self:
            member.follow(running=True)

    def stop(self, members: Iterable[int] | None = None, *, wait: bool = True, source: str = "code") -> None:
        """End the population where it is, or some of its members; `resume` can still go on with a population.

        Parameters
        ----------
        members : iterable of int, optional
            Which; the others go on.
        """
        if members is None:
            super().stop(wait=wait, source=source)
            return
        chosen = self._choose(members)

        def end() -> None:
            for member in chosen:
                if not member.state.is_ended:
                    member.stage.flush()
                    member.become(RunState.STOPPED, _("stopped by hand"), source)
                    self.is_regrouped = True

        self.puller.between_steps(end)

    # -- changes

    def set(self, *, members: Iterable[int] | None = None, source: str = "code", **changes: Any) -> None:
        """Ask for new values, of all members or some; they act from the next step on.

        Parameters
        ----------
        members : iterable of int, optional
            Which; by default all.
        **changes
            New values by hyperparameter name; all of them or, if one is not legal, none.

        Raises
        ------
        InvalidHyperparam
            For an unknown name or an illegal value, one that comes too late, or a value for some members of what is one
            for all.

        Examples
        --------
        >>> population = nbopt.Population(run.model, run.spec.train, lr=[0.001, 0.01, 0.1])
        >>> population.set(lr=0.05, members=[2])
        >>> population[2].hyperparams["lr"]
        0.05
        """
        chosen = self._choose(members)
        checked = self.hyperparams.check(changes)
        if len(chosen) < len(self):
            for name in sorted(checked.keys() & find_shared(self.spec.techniques)):
                raise refuse(name, [self.hyperparams[name], checked[name]])
        begun = int(self.state is RunState.RUNNING)
        for member in chosen:
            check_in_time(checked, member.hyperparams, max(begun, member.step_count))
            member.hyperparams.check_together(checked)
        with self.lock:
            for member in chosen:
                member.changes.ask(dict(checked), check_text("source", source))
                if (self.puller.thread is None or member.state.is_ended) and not member.stage.validation_due:
                    member.changes.apply()
            if len(chosen) == len(self):
                for name, value in checked.items():
                    self.hyperparams.assign(name, value)
            self.journal.event(self.step_count, "set", {"members": [m.number for m in chosen], **checked}, source)
        self.announce()
        for name in sorted(self.inert.keys() & checked.keys()):
            warnings.warn(f"{name}: {self.inert[name]}", stacklevel=2)

    def _choose(self, members: Iterable[int] | None) -> list[Member]:
        """Return members by number; raise InvalidHyperparam for one that is not there."""
        if members is None:
            return [*self]
        chosen = [members] if isinstance(members, int) else list(members)
        for number in chosen:
            if isinstance(number, bool) or not isinstance(number, int) or not -len(self) <= number < len(self):
                rule = _("this population has members 0 to {last}", last=len(self) - 1)
                raise InvalidHyperparam(_("members: {number!r} is none; {rule}.", number=number, rule=rule))
        return [self[number] for number in dict.fromkeys(number % len(self) for number in chosen)]
