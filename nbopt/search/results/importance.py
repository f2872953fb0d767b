"""How much each dimension of a study matters, by Optuna's evaluators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nbopt.errors import unknown
from nbopt.i18n import _
from nbopt.search.optional import need, quiet
from nbopt.search.results.results import Results
from nbopt.search.trial import COMPLETE, Trial

EVALUATORS = ("ped_anova", "fanova")
_LEAST = 8  # trials, below which nothing is told
_MOST = 256  # that a forest learns from: its time grows with their square
_FORESTS, _TREES = 16, 4  # as good as one forest of all trees, and done in slices


def importances(study: Results, objective: int = 0, evaluator: str = "ped_anova") -> dict[str, float]:
    """Return the share of each dimension in what complete trials reached, the largest first; they add up to 1.

    Of values that some trials lack, only those dimensions are judged that all trials have. An empty mapping where
    there are too few trials, or where all are alike.

    Parameters
    ----------
    study : Study
    objective : int
        Which of several objectives.
    evaluator : {"ped_anova", "fanova"}
        PED-ANOVA asks what the best tenth of the trials has in common (Watanabe et al. 2023), fANOVA which share of
        the variance a dimension explains (Hutter et al. 2014): in a forest that learns from at most 256 trials.

    Examples
    --------
    >>> from nbopt.search.results.importance import importances
    >>> def valley(trial):
    ...     return trial.suggest_float("x", -1, 1) ** 2 + 0.0 * trial.suggest_float("y", -1, 1)
    >>> study = nbopt.Study(objective=valley, sampler="random", trials=40, store=None).fit()
    >>> list(importances(study))
    ['x', 'y']
    """
    return next(iter([*find_slowly(study, objective, evaluator)][::-1]), {})


def find_slowly(study: Results, objective: int = 0, evaluator: str = "ped_anova") -> Iterator[dict[str, float]]:
    """Yield what is known so far, some tenths of a second after the other; for the parameters see `importances`."""
    if evaluator not in EVALUATORS:
        raise unknown(_("evaluator"), evaluator, EVALUATORS)
    optuna = need("optuna")
    done = [trial for trial in study.trials if trial.state == COMPLETE and np.isfinite(trial.objectives[objective])]
    if len(done) < _LEAST or len({trial.objectives[objective] for trial in done}) < 2:
        return
    if evaluator == "fanova" and len(done) > _MOST:
        done = [done[k] for k in sorted(np.random.default_rng(0).choice(len(done), _MOST, replace=False))]
    names = [name for name in done[0].values if all(name in trial.values for trial in done)]
    distributions = {name: found for name in names if (found := _distribution(optuna, study, name, done)) is not None}
    if not distributions:
        return
    with quiet():
        asked = optuna.create_study(direction=study.objectives[objective].direction)
    for trial in done:
        params = {name: _inner(distributions[name], trial.values[name]) for name in distributions}
        value = trial.objectives[objective]
        asked.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    kinds = optuna.importance
    if evaluator == "ped_anova":
        judges = [kinds.PedAnovaImportanceEvaluator()]
    else:
        judges = [kinds.FanovaImportanceEvaluator(n_trees=_TREES, seed=seed) for seed in range(_FORESTS)]
    total = dict.fromkeys(distributions, 0.0)
    for judge in judges:
        for name, share in kinds.get_param_importances(asked, evaluator=judge, params=list(distributions)).items():
            total[name] += float(share)
        whole = sum(total.values()) or 1.0
        yield {name: share / whole for name, share in sorted(total.items(), key=lambda pair: -pair[1])}


def _distribution(optuna: Any, study: Results, name: str, done: Sequence[Trial]) -> Any:
    """Return the range that the values of trials lie in; None where all are alike."""
    kinds, values = optuna.distributions, [trial.values[name] for trial in done]
    numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    if not numeric or (name in study.space and study.space[name].options):
        options = sorted({str(value) for value in values})
        return kinds.CategoricalDistribution(options) if len(options) > 1 else None
    low, high = float(min(values)), float(max(values))
    if low == high:
        return None
    dimension = study.space.get(name) if name in study.space else None
    log = dimension is not None and (dimension.log or dimension.powers) and low > 0
    return kinds.FloatDistribution(low, high, log=log)


def _inner(distribution: Any, value: Any) -> Any:
    return str(value) if hasattr(distribution, "choices") else float(value)
