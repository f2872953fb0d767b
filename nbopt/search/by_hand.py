"""Changing a study while it searches: add a trial, narrow the space, pin a value, ask for more trials."""

from __future__ import annotations

from typing import Any

from nbopt.errors import InvalidHyperparam, check_text, unknown
from nbopt.i18n import _
from nbopt.search.executors.jobs import Ended
from nbopt.search.spaces.encoding import encode_all, encode_each
from nbopt.search.spaces.given import check_matters
from nbopt.search.spec import check_count
from nbopt.search.steered import Steered
from nbopt.search.subjects.proposing import Proposer
from nbopt.search.subjects.subject import Subject
from nbopt.search.trial import COMPLETE, FAILED, PRUNED
from nbopt.training.state import RunState


class ByHand(Steered):
    """A study whose space can be changed while it searches.

    Every change is journaled, and takes effect when the sampler is next asked for a trial.
    """

    _subject: Subject

    def add(self, *, source: str = "code", **values: Any) -> None:
        """Train a trial with these values next; the sampler chooses the remaining ones.

        If all trials of the study have already been asked for, their number grows by one.

        Raises
        ------
        InvalidHyperparam
            For an unknown name or a value that is not legal.

        Examples
        --------
        >>> study = nbopt.Study(run.model, run.spec.train, space=["lr"], objective="loss", epochs=1, trials=2)
        >>> study.add(lr=0.5)
        >>> study.fit().trials[0].values
        {'lr': 0.5}
        """
        checked = self._check(values)
        check_matters(self.space, checked, {**self.space.pinned, **checked})
        with self.lock:
            self.journal.event(self.asked, "add", encode_all(self.space, checked), check_text("source", source))
            self._act()
            if (needed := self.asked + len(self._waiting)) > self._total:
                self.set(trials=needed, source=source)
            self._announce()

    def narrow(self, *, source: str = "code", **bounds: Any) -> None:
        """Change the bounds of the search, from the next trial on. A pinned hyperparameter is searched again.

        Parameters
        ----------
        **bounds
            For each name, a pair (low, high) or a list of options.

        Raises
        ------
        InvalidHyperparam
            For an unknown name or bounds that are not legal.

        Examples
        --------
        >>> study = nbopt.Study(run.model, run.spec.train, space=["lr"], objective="loss", epochs=1, trials=2)
        >>> study.narrow(lr=(0.01, 0.1))
        >>> study.space
        Space(lr: 0.01 to 0.1, on a log scale)
        """
        checked = self.space.narrowed(**bounds)
        ends = {name: encode_each(self.space[name], checked[name].ends) for name in bounds}
        self._note("narrow", ends, source)

    def pin(self, *, source: str = "code", **values: Any) -> None:
        """Fix values for all trials from the next one on; `narrow` lets the sampler choose them again.

        Raises
        ------
        InvalidHyperparam
            For an unknown name or a value that is not legal.

        Examples
        --------
        >>> space = ["lr", "weight_decay"]
        >>> study = nbopt.Study(run.model, run.spec.train, space=space, objective="loss", epochs=1, trials=2)
        >>> study.pin(weight_decay=0.5)
        >>> [trial.values["weight_decay"] for trial in study.fit().trials]
        [0.5, 0.5]
        """
        self._note("pin", encode_all(self.space, self._check(values)), source)

    def set(self, *, trials: int, source: str = "code") -> None:
        """Change the number of trials. Trials that are running are completed.

        Examples
        --------
        >>> study = nbopt.Study(run.model, run.spec.train, space=["lr"], objective="loss", epochs=1, trials=2).fit()
        >>> study.set(trials=3)
        >>> len(study.fit().trials)
        3
        """
        count = check_count("trials", trials)
        with self.lock:
            self.journal.change(self.asked, "trials", self._total, count, check_text("source", source))
            self._act()
            self._announce()

    def stop_trial(self, number: int, *, source: str = "code") -> None:
        """End a running trial after its current step. It counts as pruned.

        Raises
        ------
        InvalidHyperparam
            If no trial with this number is running.
        """
        with self.lock:
            self._check_under_way(number)
            self.journal.event(self.asked, "stop_trial", number, check_text("source", source))
            self._trials[number].note = _("stopped by hand")
        self.executor.cancel(number)  # without the lock, which trials take to report

    def pause_trial(self, number: int, *, source: str = "code") -> None:
        """Pause one trial between two steps, until `resume_trial`; the others continue.

        Trials are recorded in the order of their numbers, so the study waits too once the other slots hold trials that
        are recorded after this one.

        Raises
        ------
        InvalidHyperparam
            If no trial with this number is running, or if trials can only pause together, as in a population.
        """
        self._hold_one(number, True, "pause_trial", source)

    def resume_trial(self, number: int, *, source: str = "code") -> None:
        """Resume a trial that `pause_trial` paused."""
        self._hold_one(number, False, "resume_trial", source)

    @property
    def holds_one(self) -> bool:
        """Whether one trial can pause while the others continue."""
        return hasattr(self.executor, "hold_one")

    def _hold_one(self, number: int, resting: bool, act: str, source: str) -> None:
        hold = getattr(self.executor, "hold_one", None)
        if hold is None:
            raise InvalidHyperparam(_("trials of this study can only pause together: pause the study."))
        with self.lock:
            self._check_under_way(number)
            self.journal.event(self.asked, act, number, check_text("source", source))
            self._trials[number].is_resting = resting
            self._announce()
        hold(number, resting)

    def set_trial(self, number: int, *, source: str = "code", **changes: Any) -> None:
        """Change hyperparameters of a running trial from its next step on, whichever executor trains it.

        For the sampler, the trial's result still belongs to the values that it started with, `Trial.values`.

        Raises
        ------
        InvalidHyperparam
            If no trial with this number is running, or a change is not legal.

        Examples
        --------
        >>> study = nbopt.Study(run.model, run.spec.train, space=["lr"], objective="loss", epochs=1, trials=1)
        >>> def steer():
        ...     if any(trial.state == "running" for trial in study.trials):
        ...         study.set_trial(0, weight_decay=0.1)
        >>> study.watchers.append(steer)
        >>> study.fit().best.run().hyperparams["weight_decay"]
        0.1
        """
        checked = self._check_trial(changes)
        with self.lock:
            self._check_under_way(number)
            self.journal.event(self.asked, "set_trial", {"trial": number, **checked}, check_text("source", source))
            self._note_by_hand(number, checked)
        self.executor.set(number, checked)

    def ask(self) -> Proposer:
        """Return the next trial, for code of your own to carry out; `tell` its result.

        It has the values of the space in ``values``, and suggests others as a trial of Optuna's does. More than one may
        be out at a time. Their results are recorded in the order of their numbers.

        Raises
        ------
        RuntimeError
            While the study searches by itself, or if it trains its trials, having ``build``.

        Examples
        --------
        >>> study = nbopt.Study(space={"x": (-1.0, 1.0)}, objective=None, direction="minimize", store=None)
        >>> for _ in range(20):
        ...     trial = study.ask()
        ...     study.tell(trial, trial.values["x"] ** 2)
        >>> len(study.trials), abs(study.best.values["x"]) < 0.5
        (20, True)
        """
        with self.lock:
            if self._thread is not None:
                raise RuntimeError(_("the study is searching by itself: pause it before you ask for a trial."))
            if not self._subject.is_asked:
                rule = _("only those of a study without build are asked for, as nbopt.Study(space=..., objective=None)")
                raise RuntimeError(_("this study carries out its trials by itself: {rule}.", rule=rule))
            self.record.check_writes()
            if not self._trials:
                self.journal.event(0, "start")
            if self.asked >= self._total:
                self.set(trials=self.asked + 1)
            self._tell(self._written)
            trial = self._next()
            self._handed.add(trial.number)
            self._become(RunState.PAUSED)
            given = (trial.number, dict(trial.values), self._asktell.handle(trial.number), self.note_report)
            return Proposer(*given, self._subject.is_stored)

    def tell(self, trial: Any, objective: Any = None, *, state: str | None = None) -> None:
        """Take down the result of a trial that `ask` returned.

        Parameters
        ----------
        trial : object
            What `ask` returned, or its number.
        objective : float or sequence of float, optional
            One for each direction; without it, the trial failed.
        state : str, optional
            ``complete``, ``pruned`` or ``failed``.

        Raises
        ------
        InvalidHyperparam
            If the trial is not out, or the state is none.
        TypeError, ValueError
            If the objective is no number, or not as many as the study has.
        """
        number = getattr(trial, "number", trial)
        state = state or (FAILED if objective is None else COMPLETE)
        if state not in (COMPLETE, PRUNED, FAILED):
            raise unknown(_("state of a trial"), state, (COMPLETE, PRUNED, FAILED))
        found = self._subject.judge(objective) if state == COMPLETE else ()
        with self.lock:
            if number not in self._handed:
                out = ", ".join(map(str, sorted(self._handed))) or _("none")
                raise InvalidHyperparam(
                    _("trial {number!r} is not out; those that are: {out}.", number=number, out=out)
                )
            self._handed.discard(number)
            self._take(Ended(number, state, found, [found] if found else []))
            if self._written >= self._total:
                self._finish()

    def _check_trial(self, changes: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def _note_by_hand(self, number: int, changes: dict[str, Any]) -> None:
        raise NotImplementedError

    def _check_under_way(self, number: int) -> None:
        if number in self._handed:
            told = _("trial {number} is carried out by code of your own", number=number)
            raise InvalidHyperparam(_("{told}: tell its result.", told=told))
        if number not in self._begun:
            under_way = ", ".join(map(str, self._begun)) or _("none")
            text = _("trial {number} is not running; those that are: {names}.", number=number, names=under_way)
            raise InvalidHyperparam(text)

    def _check(self, values: dict[str, Any]) -> dict[str, Any]:
        if not values:
            raise InvalidHyperparam(_("give at least one value, by its name."))
        return self.space.check(values)

    def _note(self, act: str, what: dict[str, Any], source: str) -> None:
        if not what:
            raise InvalidHyperparam(_("give at least one value, by its name."))
        with self.lock:
            self.journal.event(self.asked, act, what, check_text("source", source))
            self._act()
            self._announce()
