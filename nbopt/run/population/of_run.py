"""What a run asks of many others like it.

What trains many is imported when it is first asked for: a run starts without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nbopt.record.snapshots import Snapshot
from nbopt.run.past import check_tuning
from nbopt.run.trained import TrainedSession
from nbopt.training.training import Training

if TYPE_CHECKING:
    from nbopt.run.population.hypergradient import Slopes
    from nbopt.run.population.population import Population
    from nbopt.run.population.what_if import WhatIf
    from nbopt.techniques.context import Slope


class AsksMany(TrainedSession):
    """A run that can be the beginning of others, which train as one.

    Attributes
    ----------
    repeats : Population or None
        What `repeat` returned last: its panel draws their mean, and the band between the lowest and the highest.
    search : Study or None
        What searched around here last, see `nbopt.Study.around`: its panel draws the best trials.
    slopes : Slopes or None
        What `hypergradient` or a descent on hyperparameters found last.
    """

    repeats: Population | None = None
    search: Any = None
    slopes: Slopes | None = None

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if AsksMany in cls.__bases__:  # a subclass of the user's is no class for everybody's members
            TrainedSession.single = cls

    def _begin(self) -> Training:
        training = super()._begin()
        training.context.look_ahead = self._look_ahead
        return training

    def _look_ahead(self, names: Iterable[str], steps: int) -> Mapping[str, Slope]:
        from nbopt.run.population.hypergradient import look_ahead

        return look_ahead(self, names, steps)

    def population(
        self,
        at: int | str | Snapshot = "now",
        *,
        combine: bool | None = None,
        name: str | None = None,
        source: str = "code",
        **values: Any,
    ) -> Population:
        """Return a paused population whose members continue from where this run is; the run does not change.

        Parameters
        ----------
        at : int, "now", "best" or Snapshot
            A number of steps done.
        combine : bool, optional
            See `nbopt.Population`.
        **values
            Values of the members: one value for all, or a sequence with one for each. ``seed`` may be given too, and
            decides the order of samples and dropout from there on.

        Raises
        ------
        InvalidHyperparam
            For an unknown name or an illegal value, for different values of something that members share, or for a
            hyperparameter that can no longer change.
        RuntimeError
            If something was changed by hand since the last step; do a step first. `what_if` and `hypergradient` raise
            it too.

        Examples
        --------
        >>> run.step(3)
        >>> population = run.population(lr=nbopt.spread(1e-4, 0.1, 4))
        >>> population.step(5)
        >>> population[0].step_count, run.step_count
        (8, 3)
        """
        from nbopt.run.population.population import Population
        from nbopt.run.population.values import as_rows, find_shared

        common, rows = as_rows(values, find_shared(self.techniques), combine)
        made = Population.of_run(self, [{**common, **row} for row in rows], at, name, source, self.store)
        if self.viewer is not None:
            self.viewer.made(made, "population")
        return made

    def repeat(self, seeds: Any = 16, *, name: str | None = None) -> Population:
        """Return a population that repeats this run from the same initial weights with other seeds.

        It trains in its own thread up to the step that this run has reached: ``run.repeat().wait()``. Every change is
        made at the same step, weights frozen by hand and edits of the model included; what a rewind undid is left out.
        The seeds decide the order of samples, dropout, augmentation and what `initialization` draws, but not the
        validation split. `nbopt.compare` tells whether one run is better than another.

        Parameters
        ----------
        seeds : int or sequence of int
            How many seeds, starting with 0, or the seeds themselves.

        Raises
        ------
        InvalidHyperparam
            For seeds that are not integers or occur twice.
        RuntimeError
            If values were written into the weights by hand, which cannot be repeated, or if something was changed by
            hand since the last step.

        Examples
        --------
        >>> run.step(6)
        >>> repeats = run.repeat(seeds=3)
        >>> repeats.wait().name
        'FINISHED'
        >>> [member.step_count for member in repeats]
        [6, 6, 6]
        """
        from nbopt.run.population.population import Population
        from nbopt.run.population.values import SEED, check_seeds

        self.worker.between_steps(lambda: check_tuning(self))
        self.repeats = Population.repeating(self, [{SEED: seed} for seed in check_seeds(seeds)], name)
        self.announce()
        return self.repeats

    def what_if(self, name: str | Sequence[str], values: Any = None, steps: int = 60, *, draws: int = 3) -> WhatIf:
        """Find out what the validation loss would be a few steps ahead for other values of a hyperparameter.

        The members of a population continue from where the run is, all of them on the same batches, and again on other
        batches for each draw. Hyperparameters that members cannot have individually, such as the optimizer, are tried
        one value after another. Neither the run nor its journal changes.

        Parameters
        ----------
        name : str or sequence of str
            A hyperparameter, or several, of which combinations of values are tried.
        values : sequence, optional
            The values to try: by default nine values of its range and the present one, or all options. For several
            hyperparameters, a tuple with one value of each per trial; by default all combinations of five values each.
        steps : int
            The number of steps for each value.
        draws : int
            The number of repetitions, each on other batches. ``spread`` is the deviation between them.

        Raises
        ------
        InvalidHyperparam
            For an unknown name or an illegal value.
        RuntimeError
            If the run has no steps left.

        Examples
        --------
        >>> run.step(3)
        >>> found = run.what_if("lr", values=[0.001, 0.1], steps=5)
        >>> found.values, len(found.mean), found.steps
        ([0.001, 0.1], 2, 5)
        """
        from nbopt.run.population.what_if import ask_what_if

        return ask_what_if(self, name, values, steps, draws)

    def hypergradient(self, names: str | Iterable[str] = ("lr", "weight_decay"), steps: int = 20) -> dict[str, float]:
        """Return the derivative of the validation loss some steps ahead with respect to continuous hyperparameters.

        The next steps are done on a copy, with the run's next batches, and differentiated through (Maclaurin et al.
        2015; Franceschi et al. 2017). A negative derivative means that a larger value would lower the loss. The run
        itself does not change.

        Parameters
        ----------
        names : str or iterable of str
            Numerical settings of the optimizer, ``l1``, or settings of the loss.
        steps : int

        Raises
        ------
        InvalidHyperparam
            For a hyperparameter that the loss cannot be differentiated by.
        ValueError
            If the steps of the run cannot be differentiated; says why.

        Examples
        --------
        >>> run = nbopt.Run(run.model, run.spec.train, 0.2, store=None)
        >>> list(run.hypergradient(("lr", "weight_decay"), steps=3))
        ['lr', 'weight_decay']
        """
        from nbopt.run.population.hypergradient import find_hypergradient

        self.slopes = find_hypergradient(self, names, steps)
        self.announce()
        return {name: slope.slope for name, slope in self.slopes.of.items()}
