"""What is done to the members of a population: changed, ended, copied, taken out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from numbers import Integral
from typing import Any

from nbopt.errors import InvalidHyperparam, check_text
from nbopt.hyperparams import Hyperparams
from nbopt.hyperparams.values import tell_unused
from nbopt.i18n import _
from nbopt.run.population.cloning import copy_over
from nbopt.run.population.forks import take_out
from nbopt.run.population.hypergradient import look_ahead
from nbopt.run.population.kept import at_once
from nbopt.run.population.member import Member
from nbopt.run.population.members import begin_members, find_unsteady
from nbopt.run.population.steered import Steered
from nbopt.run.population.values import check_rows, find_shared, refuse
from nbopt.run.spec import RunSpec
from nbopt.run.trained import TrainedSession
from nbopt.store.database import AUTO, Place
from nbopt.training.prepare import check_in_time
from nbopt.training.state import RunState


class Managed(Steered):
    """Members that can be changed one by one.

    Attributes
    ----------
    spec : RunSpec
        What they were made with.
    hyperparams : Hyperparams
        What is the same for all.
    samples : list or None
        The samples that each has, if that is not all.
    order : int or None
        The seed of the order in which all see the batches; None where each has its own.
    split : int or None
        The seed by which validation data were cut off, if that is the same for all.
    rows : list of dict
        What each member was made with of its own; ``seed`` among it.
    initial : dict of str to object
        The values of hyperparameters that members were made with otherwise.
    inert : dict of str to str
        The hyperparameters that cannot act, each with the reason.
    """

    spec: RunSpec
    hyperparams: Hyperparams
    inert: Mapping[str, str] = {}
    _is_prepared = False
    samples: list[Any] | None = None
    order: int | None = None
    split: int | None = None
    rows: list[dict[str, Any]]
    initial: Mapping[str, Any]

    @property
    def same_batches(self) -> bool:
        """Whether all members see the same batches.

        Examples
        --------
        >>> nbopt.Population(run.model, (X, y), seed=range(2), same_batches=True, store=None).same_batches
        True
        """
        return self.order is not None

    @property
    def shared(self) -> set[str]:
        """The hyperparameters that all members share.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01])
        >>> "batch_size" in population.shared, "lr" in population.shared
        (True, False)
        """
        return find_shared(self.spec.techniques)

    def prepare(self) -> None:
        """Check the data, unless that was done before, and prepare the members for training.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01])
        >>> population.prepare()
        >>> population[0].has_begun
        True
        """
        if not all(member.has_begun for member in self):
            begin_members([member for member in self if not member.has_begun], self.samples, self.split)
        for member in self:
            training = member.training
            training.evaluate_together = partial(self.puller.together.evaluation, training)
            training.context.look_ahead = partial(look_ahead, member)
            if self.order is not None:
                training.cursor.seed = self.order
        if not self._is_prepared and (told := find_unsteady(self)):
            self.tell(_("{told}: no member trains as it would by itself.", told=told))
        self._is_prepared = True
        if self.keeping is not None:
            self.keeping.begin(self.samples)

    def begin(self) -> None:
        """Check the data and what is left to do, before the first step after a pause.

        Raises
        ------
        TypeError, ValueError
            If the data cannot be used.
        RuntimeError
            If nothing is left to do.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01], epochs=3).fit()
        >>> population.begin()
        Traceback (most recent call last):
        RuntimeError: all members have ended (all 3 epochs done): set epochs or steps higher to go on.
        """
        self.prepare()
        if not [member for member in [*self] if member.reopen() and not member.state.is_ended]:
            ended = [*(member for member in self if member.state is RunState.FINISHED), self[0]]
            ways = _("set epochs or steps higher to go on"), _("population.run(0) goes on with member 0 as a run")
            told = _("all members have ended ({reason})", reason=ended[0].end_reason or self.end_reason)
            raise RuntimeError(f"{told}: {ways[len(ended) == 1]}.")
        self.error = None
        for member in self:
            member.follow(running=True)

    def stop(self, members: Iterable[int] | None = None, *, wait: bool = True, source: str = "code") -> None:
        """End the population or some of its members where they are; `resume` can still continue a population.

        Parameters
        ----------
        members : iterable of int, optional
            The members to end, while the others continue; by default all.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01])
        >>> population.step(3)
        >>> population.stop(members=[0])
        >>> population.step(3)
        >>> [member.step_count for member in population]
        [3, 6]
        """
        if members is None:
            super().stop(wait=wait, source=source)
            return
        chosen = self._choose(members)
        self.puller.between_steps(lambda: self.end(chosen, source))

    def end(self, members: Iterable[Member], source: str) -> None:
        """End members where they are; called between two steps.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01])
        >>> population.step(3)
        >>> population.end([population[0]], "code")
        >>> [member.state.name for member in population]
        ['STOPPED', 'PAUSED']
        """
        with at_once(self.keeping):
            for member in members:
                if not member.state.is_ended:
                    member.stage.flush()
                    member.become(RunState.STOPPED, _("stopped by hand"), source)
                    self.is_regrouped = True

    def clone(self, i: int, into: int, *, source: str = "code", **changes: Any) -> Member:
        """Replace member ``into`` by a copy of member ``i`` at the same step, and return the copy.

        The copy has the seed, journal and history of the original. The replaced member is given up.

        Parameters
        ----------
        **changes
            Hyperparameters of the copy that differ from there on.

        Raises
        ------
        InvalidHyperparam
            For an unknown member, or changes that are not legal.

        Examples
        --------
        >>> population = nbopt.Population(run.model, run.spec.train, lr=[0.001, 0.01])
        >>> population.step(3)
        >>> population.clone(1, into=0, lr=0.02).hyperparams["lr"]
        0.02
        """
        (original,), (old,) = self._choose([i]), self._choose([into])
        (own,) = check_rows(original.hyperparams, [changes])
        self._check_shared(own, original)
        check_text("source", source)

        def copy() -> Member:
            self.prepare()
            return copy_over(self, original, old, own, source)

        return self.puller.between_steps(copy)

    def run(self, i: int, *, name: str | None = None, store: Place | None = AUTO) -> Any:
        """Return a `nbopt.Run` that continues member ``i`` from where it is, with its journal and history.

        The population, the member included, does not change.

        Parameters
        ----------
        name, store
            As for `nbopt.Run`.

        Examples
        --------
        >>> population = nbopt.Population(run.model, run.spec.train, lr=[0.001, 0.01], epochs=2).fit()
        >>> alone = population.run(1, store=None)
        >>> alone.set(epochs=3)
        >>> alone.fit().step_count
        3
        """
        (member,) = self._choose([i])

        def go() -> Any:
            self.prepare()
            return take_out(member, TrainedSession.single, name, store)

        return self.puller.between_steps(go)

    # -- changes

    def set(self, *, members: Iterable[int] | None = None, source: str = "code", **changes: Any) -> None:
        """Change hyperparameters of all or some members from the next step on.

        Parameters
        ----------
        members : iterable of int, optional
            The members to change, by default all.
        **changes
            New values by name. If one of them is not legal, none is applied.

        Raises
        ------
        InvalidHyperparam
            For an unknown name or an illegal value, for one that comes too late, or for changing a hyperparameter that
            members share for some members only.

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
            for member in chosen:
                self._check_shared(checked, member)
        begun = int(self.state is RunState.RUNNING)
        for member in chosen:
            check_in_time(checked, member.hyperparams, max(begun, member.step_count))
            member.hyperparams.check_together(checked)
        with self.lock, at_once(self.keeping):
            for member in chosen:
                member.changes.ask(dict(checked), check_text("source", source))
                if (self.puller.thread is None or member.state.is_ended) and not member.stage.validation_due:
                    member.changes.apply()
            if len(chosen) == len(self):
                for name, value in checked.items():
                    self.hyperparams.assign(name, value)
            self.journal.event(self.step_count, "set", {"members": [m.number for m in chosen], **checked}, source)
        self.announce()
        unused = {name: self.inert[name] for name in self.inert.keys() & checked.keys()}
        tell_unused({**unused, **self.hyperparams.find_overruled(checked)})

    def _check_shared(self, changes: Mapping[str, Any], member: Member) -> None:
        """Raise InvalidHyperparam for a change of one member in what is one for all."""
        for name in sorted(changes.keys() & self.shared):
            if changes[name] != member.hyperparams[name]:
                raise refuse(name, [member.hyperparams[name], changes[name]])

    def _choose(self, members: Iterable[int] | None) -> list[Member]:
        """Return members by number; raise InvalidHyperparam for one that is not there."""
        if members is None:
            return [*self]
        given = members.tolist() if hasattr(members, "tolist") else members
        chosen = list(given) if isinstance(given, Iterable) else [given]
        for number in chosen:
            is_number = isinstance(number, Integral) and not isinstance(number, bool)
            if not is_number or not -len(self) <= number < len(self):
                rule = _("this population has members 0 to {last}", last=len(self) - 1)
                raise InvalidHyperparam(_("members: {number!r} is no number of one; {rule}.", number=number, rule=rule))
        return [self[number] for number in dict.fromkeys(int(number) % len(self) for number in chosen)]
