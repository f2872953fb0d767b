"""Ask and tell: an Optuna study in memory, in which samplers and pruners look at what they may know.

It is made anew from the study's trials whenever the space changes or the study is opened, and holds no truth of its
own. Ranges that are walked in steps stand in it as exponents or positions, so that they may be narrowed.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from copy import copy
from datetime import UTC, datetime
from typing import Any

import numpy as np

from nbopt.search.optional import need, quiet
from nbopt.search.samplers.draws import Draws
from nbopt.search.samplers.pruners import make_pruner
from nbopt.search.samplers.question import Known, Question
from nbopt.search.samplers.samplers import OWN, of_optuna
from nbopt.search.samplers.slopes import NOTE
from nbopt.search.spaces.dimension import Dimension
from nbopt.search.spaces.space import Space
from nbopt.search.trial import COMPLETE, FAILED, PRUNED, Trial

_OF_PRUNERS = "completed_rung_"  # what pruners note of a trial; a sampler's notes end with the space
_OF_STUDY = "nbopt:study"  # what a sampler notes of the study
_DRAWN = "nbopt:drawn"  # the generators of a sampler that was given
_WHOLE = ("gp", "cmaes", "nsga2")  # of Optuna's, those that know no dimensions that matter only sometimes


class AskTell:
    """Chooses values, and says which trials are to be pruned.

    Parameters
    ----------
    sampler, pruner : str or of Optuna
    directions : sequence of str
    seed : int
    reports : int
        How often a trial reports at most.

    Attributes
    ----------
    is_over : bool
        Whether the sampler has nothing left to try, as one of Optuna's that walks through a grid.
    """

    def __init__(self, sampler: Any, pruner: Any, directions: Sequence[str], seed: int, reports: int) -> None:
        self._optuna = need("optuna")
        self._sampler, self._directions, self._seed = sampler, directions, seed
        self._pruner = make_pruner(pruner, reports)
        self._draws = None if isinstance(sampler, str) else Draws(sampler)
        self._is_whole = isinstance(sampler, str) and sampler in _WHOLE
        self._signs = [1.0 if direction == "minimize" else -1.0 for direction in directions]
        self.begin(Space([]), 0, [])

    def begin(self, space: Space, version: int, trials: Sequence[Trial]) -> None:
        """Know these trials, the first ones of the study, and look for others in ``space``."""
        self._storage = self._optuna.storages.InMemoryStorage()
        ways = [self._optuna.study.StudyDirection[direction.upper()] for direction in self._directions]
        with quiet():
            self._study_id = self._storage.create_new_study(ways, "study")
        self.space, self._version = space, version
        self._distributions = {each.name: self._distribution(each) for each in space.open}
        self._told: set[int] = set()
        self._first = 0  # so many trials, the first ones, have been told of
        self.is_over = False
        self._asked: dict[int, Any] = {}
        self._known: list[Known] = []
        self._noted: dict[str, Any] = {}
        self._since = sum(trial.space != version for trial in trials)
        for trial in trials:
            self._enter(trial)
        if self._draws is not None:
            self._draws.go_back(len(trials) - 1, [trial.attrs.get(_DRAWN, {}) for trial in trials])

    def ask(self, number: int, trials: int, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the values of trial ``number``, the next one; some may be given."""
        is_own = isinstance(self._sampler, str)  # one of the user's draws in the order of calls, and looks at all
        storage = _AsAsked(self._storage, self._first, number, self.space) if is_own else self._storage
        study, open_now = self._study(number, storage), self.space.open
        wanted = dict(given or {})
        if is_own and self._sampler in OWN:
            question = Question(number, self.space, self._known, self._seed, trials, self._since)
            wanted = {**OWN[self._sampler](question), **wanted}
        fits = all(each.contains(wanted[each.name]) for each in open_now if each.name in wanted)
        if within := {each.name: _inner(each, wanted[each.name]) for each in open_now if fits and each.name in wanted}:
            study.enqueue_trial(within)
        asked = self._asked[number] = study.ask(
            {each.name: self._distributions[each.name] for each in open_now if not each.when}
        )
        found = {each.name: _outer(each, asked.params[each.name]) for each in open_now if not each.when}
        found |= {**self.space.pinned, **wanted}
        for each in self.space.in_order:
            if each.when and each.name not in self.space.pinned and self.space.matters(each.name, found):
                inner = asked._suggest(each.name, self._distributions[each.name])
                found.setdefault(each.name, _outer(each, inner))
        values = self.space.reduced(found)
        if not fits:  # what lies elsewhere tells nothing here
            self._leave_out(number, asked._trial_id)
        elif self._is_whole:
            self._fill_in(number, asked._trial_id, values)
        if self._draws is not None:
            self._draws.note(number)
        return values

    def handle(self, number: int) -> Any:
        """Return Optuna's trial, for an objective that suggests values itself."""
        return self._asked[number]

    def report(self, number: int, step: int, value: float, among: Container[int]) -> bool:
        """Take note of what a trial measured on its way; return whether it is to be pruned.

        It is compared with the trials ``among``.
        """
        asked = self._asked[number]
        if number in self._told:  # what lies elsewhere is compared with nothing
            return False
        self._storage.set_trial_intermediate_value(asked._trial_id, step, value)  # or again, by another worker
        if isinstance(self._pruner, self._optuna.pruners.NopPruner):
            return False
        view = self._optuna.Study("study", _Among(self._storage, among, number), asked.study.sampler, self._pruner)
        return bool(view.pruner.prune(view, self._storage.get_trial(asked._trial_id)))

    def tell(self, trial: Trial) -> None:
        """Let the sampler know how a trial ended."""
        self._first = max(self._first, trial.number + 1)
        if trial.number in self._told:
            return
        self._told.add(trial.number)
        states, asked = self._optuna.trial.TrialState, self._asked[trial.number]
        study = self._optuna.Study("study", self._storage, asked.study.sampler, self._pruner)
        study.stop = self._end
        if trial.state == COMPLETE and trial.objectives:
            study.tell(trial.number, [*trial.objectives])
        elif trial.state == PRUNED and trial.reports:
            study.tell(trial.number, state=states.PRUNED)
        else:
            study.tell(trial.number, state=states.FAIL)
        if trial.state != FAILED and len(self._signs) == 1 and self._is_inside(trial):
            place = np.array(self.space.place(trial.values, self._idle(trial.number)))
            self._known.append(Known(trial.number, place, self._signs[0] * trial.objective, trial.attrs.get(NOTE, {})))
            self._known.sort(key=lambda known: known.number)

    def notes(self, number: int) -> dict[str, Any]:
        """Return what sampler and pruner noted since the trial before, for them to find there again."""
        found = dict(self._storage.get_trial(self._trial_id(number)).system_attrs)
        of_study = self._storage.get_study_system_attrs(self._study_id)
        if new := {name: note for name, note in of_study.items() if self._noted.get(name) != note}:
            self._noted |= new
            found[_OF_STUDY] = new
        if self._draws is not None:
            found[_DRAWN] = self._draws.take(number)
        return found

    def suggested(self, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the values and distributions of a trial whose objective suggested them itself."""
        found = self._storage.get_trial(self._trial_id(number))
        own = [name for name in found.params if name not in self.space]
        return {name: found.params[name] for name in own}, {name: found.distributions[name] for name in own}

    # -- how it is done

    def _end(self) -> None:
        self.is_over = True

    def _study(self, number: int, storage: Any) -> Any:
        """Return the study as trial ``number`` sees it: with a sampler of its own."""
        sampler = self._sampler
        if isinstance(sampler, str):
            sampler = of_optuna(sampler, int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0]))
        return self._optuna.Study("study", storage, sampler, self._pruner)

    def _trial_id(self, number: int) -> int:
        found: int = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        return found

    def _distribution(self, dimension: Dimension) -> Any:
        kinds = self._optuna.distributions
        if dimension.options:
            return kinds.CategoricalDistribution(tuple(range(len(dimension.options))))
        if dimension.whole:
            return kinds.IntDistribution(int(dimension.low), int(dimension.high))
        return kinds.FloatDistribution(dimension.low, dimension.high, log=dimension.log)

    def _is_inside(self, trial: Trial) -> bool:
        return self.space.contains(trial.values)

    def _enter(self, trial: Trial) -> None:
        """Put in a trial of before, as one that runs; see `tell`."""
        kinds = self._optuna.trial
        inside = self._is_inside(trial)
        own = self.space.open if inside else []
        params = {each.name: _inner(each, trial.values[each.name]) for each in own if each.name in trial.values}
        distributions = {each.name: self._distributions[each.name] for each in own if each.name in trial.values}
        if trial.distributions:
            params |= {name: trial.values[name] for name in trial.distributions}
            distributions |= trial.distributions
        same = trial.space == self._version
        notes = {name: note for name, note in trial.attrs.items() if same or name.startswith(_OF_PRUNERS)}
        notes.pop(_DRAWN, None)
        for name, note in notes.pop(_OF_STUDY, {}).items():
            self._storage.set_study_system_attr(self._study_id, name, note)
            self._noted[name] = note
        frozen = kinds.FrozenTrial(
            number=-1,
            trial_id=-1,
            state=kinds.TrialState.RUNNING,
            value=None,
            datetime_start=datetime.now(UTC),
            datetime_complete=None,
            params=params,
            distributions=distributions,
            user_attrs={},
            system_attrs=notes,
            intermediate_values=dict(trial.reports),
        )
        identifier = self._storage.create_new_trial(self._study_id, template_trial=frozen)
        self._asked[trial.number] = kinds.Trial(self._study(trial.number, self._storage), identifier)
        if inside and self._is_whole:
            self._fill_in(trial.number, identifier, trial.values)
        if not inside and not trial.distributions:  # what lies elsewhere tells nothing here
            self._leave_out(trial.number, identifier)

    def _idle(self, number: int) -> list[float]:
        """Return where a trial is in dimensions that do not matter beside its values: anywhere, by its number."""
        return [*np.random.default_rng([self._seed, number, 1]).random(len(self.space.open))]

    def _fill_in(self, number: int, identifier: int, values: Mapping[str, Any]) -> None:
        """Let a sampler that needs a value of each dimension find one."""
        for each, share in zip(self.space.open, self._idle(number), strict=True):
            if each.name not in values:
                kind, inner = self._distributions[each.name], _inner(each, each.at(share))
                self._storage.set_trial_param(identifier, each.name, kind.to_internal_repr(inner), kind)

    def _leave_out(self, number: int, identifier: int) -> None:
        self._told.add(number)
        self._storage.set_trial_state_values(identifier, self._optuna.trial.TrialState.FAIL)


class _Among:
    """A storage in which there are the trials ``among`` alone, and one more."""

    def __init__(self, storage: Any, among: Container[int], number: int) -> None:
        self._storage, self._among, self._number = storage, among, number

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> list[Any]:
        trials = self._storage.get_all_trials(study_id, deepcopy, states)
        return [trial for trial in trials if trial.number in self._among or trial.number == self._number]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


class _AsAsked(_Among):
    """A storage as it was when trial ``number`` was asked for, whatever the others have come to since.

    An objective that suggests values as it goes draws the same ones then, whoever is faster.
    """

    def __init__(self, storage: Any, known: int, number: int, space: Space) -> None:
        super().__init__(storage, range(known), number)
        self._known, self._space = known, space

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> list[Any]:
        running = need("optuna").trial.TrialState.RUNNING
        found = super().get_all_trials(study_id, deepcopy, states)
        if states is None or running in states:
            trials = self._storage.get_all_trials(study_id, deepcopy)[self._known : self._number]
            found += [self._as_asked(trial, running) for trial in trials]
        return sorted(found, key=lambda trial: trial.number)

    def _as_asked(self, trial: Any, running: Any) -> Any:
        then = copy(trial)
        then.state, then.values, then.datetime_complete = running, None, None
        then.params = {name: value for name, value in trial.params.items() if name in self._space}
        then.distributions = {name: trial.distributions[name] for name in then.params}
        then.intermediate_values, then.system_attrs = {}, {}
        return then


def _inner(dimension: Dimension, value: Any) -> Any:
    """Return how Optuna sees a value."""
    if dimension.options:
        return dimension.position(value)
    return round(np.log2(value)) if dimension.powers else value


def _outer(dimension: Dimension, inner: Any) -> Any:
    if dimension.options:
        return dimension.options[inner]
    return int(2**inner) if dimension.powers else inner
