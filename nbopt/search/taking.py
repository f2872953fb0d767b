"""Trials that go on as runs, under a hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbopt.errors import InvalidHyperparam, check_text
from nbopt.formatting import number as written
from nbopt.i18n import _
from nbopt.search.results.results import Results
from nbopt.search.spaces.given import check_matters
from nbopt.search.subjects.subject import Subject

if TYPE_CHECKING:
    from nbopt.run.run import Run


class Taking(Results):
    """A study whose trials can be cloned."""

    _subject: Subject

    def clone(self, number: int, *, source: str = "code", **changes: Any) -> Run:
        """Return a run that continues from where a trial ended, with other values; the trial does not change.

        If a changed value is an argument of ``build``, so that another model is needed, the run starts from the
        beginning instead.

        Parameters
        ----------
        number : int or Trial
            The trial, or its number.
        **changes
            New values of dimensions of the study or of other hyperparameters. Without any, the run continues as is.

        Raises
        ------
        InvalidHyperparam
            For an unknown trial or name, or a value that is not legal.
        ValueError
            If the trial has no run, see `Trial.run`.

        Examples
        --------
        >>> study = nbopt.Study(run.model, run.spec.train, 0.2, space=["lr"], epochs=1, trials=2).fit()
        >>> other = study.clone(0, lr=0.5)
        >>> other.hyperparams["lr"], study.trials[0].steps == other.step_count
        (0.5, True)
        """
        trials, source = self.trials, check_text("source", source)
        number = getattr(number, "number", number)  # of a trial, as study.best
        if number not in range(len(trials)):
            told = _("There is no trial {number!r}: they are 0 to {last}.", number=number, last=len(trials) - 1)
            raise InvalidHyperparam(told if trials else _("There is no trial yet."))
        trial, store = trials[number], self.record.folder
        changes |= self.space.check({name: value for name, value in changes.items() if name in self.space})
        others = ", ".join(f"{name} {written(value)}" for name, value in changes.items())
        name = f"{self.name} [{number}]{f': {others}' if others else ''}"
        blueprint = self._subject.blueprint
        if blueprint is not None and trial.is_done and blueprint.built and changes.keys() & set(blueprint.built):
            known = {dimension: changes.pop(dimension) for dimension in list(changes) if dimension in self.space}
            check_matters(self.space, known, {**trial.values, **known})
            run = blueprint.again(self.space.reduced({**trial.values, **known}), 0, False, name, store)
        else:
            known, run = {}, trial.run(name=name, store=store)
        if changes:
            run.set(source=source, **changes)
        act = "clone" if known or changes else "promote"
        what = {"trial": number, "run": run.id, **known, **changes}
        with self.lock:
            self.journal.event(self.asked, act, what, source)
            self._announce()
        return run
