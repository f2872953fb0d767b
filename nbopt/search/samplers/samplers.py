"""Who chooses the values of trials, by name: those of Optuna, and a few that it lacks.

All of them remember nothing. What a sampler chooses for trial n follows from the study's seed, n, and the trials that
it may know by then, so that a study that was interrupted goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nbopt.i18n import _
from nbopt.search.optional import need
from nbopt.search.samplers.controller import reinforce
from nbopt.search.samplers.question import Draw, Known, Place, Question


def grid(question: Question) -> Mapping[str, Any]:
    """Every combination of evenly spaced values, one after the other; when all were tried, from the beginning."""
    cells = question.space.grid(question.trials)
    return cells[(question.number - question.since) % len(cells)]


def qmc(question: Question) -> Mapping[str, Any]:
    """Scrambled Sobol points, which fill a space more evenly than random ones (Sobol 1967; Owen 1998)."""
    points = need("scipy.stats").qmc.Sobol(max(1, question.size), scramble=True, seed=question.seed)
    if question.number:
        points.fast_forward(question.number)
    return question.space.at(points.random(1)[0][: question.size])


_SWARM = 10  # particles, as many trials come first
_INERTIA, _PULL = 0.7298, 1.49618  # Clerc & Kennedy 2002: constriction, in its usual form


def particle_swarm(question: Question) -> Mapping[str, Any]:
    """Particles that are drawn to their own best place and to that of all (Kennedy & Eberhart 1995)."""
    number, random, known = question.number, question.draw(), question.known
    own = [each for each in known if each.number % _SWARM == number % _SWARM]
    if not own:
        return question.space.at(random.random(question.size))
    here, best, leader = own[-1], min(own, key=_loss), min(known, key=_loss)
    speed = here.place - own[-2].place if len(own) > 1 else np.zeros(question.size)
    pulls = _PULL * random.random((2, question.size))
    speed = _INERTIA * speed + pulls[0] * (best.place - here.place) + pulls[1] * (leader.place - here.place)
    return question.space.at(_reflect(here.place + speed))


_WARM, _COLD = 0.25, 0.02  # how far a step goes in the unit cube, first and last
_EASE = 0.1  # losses worse by so much of their spread are taken as easily as a step is long


def annealing(question: Question) -> Mapping[str, Any]:
    """Take steps from a place that is left for a worse one the more seldom the later (Kirkpatrick et al. 1983)."""
    random = question.draw()
    if not question.known:
        return question.space.at(random.random(question.size))
    finite = [each.loss for each in question.known if np.isfinite(each.loss)]
    scale = _EASE * float(np.ptp(finite)) if finite else 0.0
    here = question.known[0]
    for each in question.known[1:]:
        worse = each.loss - here.loss
        luck = question.draw(each.number).random(question.size + 1)[-1]
        if worse <= 0 or (scale and luck < np.exp(-worse / (scale * _heat(each.number, question)))):
            here = each
    heat = _heat(question.number, question)
    there = _reflect(here.place + random.normal(0, heat, question.size))
    # Options have no order, and so no neighbours: the warmer it is, the more of them are drawn anew.
    anew = np.where(random.random(question.size) < 2 * heat, random.random(question.size), here.place)
    return question.space.at(np.where(_are_options(question), anew, there))


def _heat(number: int, question: Question) -> float:
    share = min(1.0, number / max(1, question.trials))
    return float(_WARM * (_COLD / _WARM) ** share)


_BRED = 12  # trials of a generation
_CHANGED = 0.15  # deviation of a mutation, in the unit cube


def genetic(question: Question) -> Mapping[str, Any]:
    """Children of the better ones among the fittest: blend crossover and mutation (Eshelman & Schaffer 1993)."""
    random, known = question.draw(), question.known
    if len(known) < _BRED:
        return question.space.at(random.random(question.size))
    fittest = sorted(known, key=_loss)[:_BRED]
    mother, father = (min(random.choice(_BRED, 2, replace=False)) for _parent in range(2))
    one, other = fittest[mother].place, fittest[father].place
    blend = random.uniform(-0.3, 1.3, question.size)
    child = one + blend * (other - one)
    changed = random.random(question.size) < max(0.3, 1 / max(1, question.size))
    cooled = _CHANGED * (1 - question.number / max(question.trials, question.number + 1)) + 0.01
    child = _reflect(child + changed * random.normal(0, cooled, question.size))
    # Options have no order: one is the mother's or the father's, or, where it changed, any.
    heirs = np.where(changed, random.random(question.size), np.where(blend < 0.5, one, other))
    return question.space.at(np.where(_are_options(question), heirs, child))


def _are_options(question: Question) -> list[bool]:
    return [bool(each.options) for each in question.space.open]


def _loss(known: Known) -> tuple[float, int]:
    return known.loss, known.number


def _reflect(place: Place) -> Place:
    """Return a place within the unit cube; what is beyond a wall comes back from it."""
    folded = np.abs(place) % 2
    return np.where(folded > 1, 2 - folded, folded)


_FIRST, _LEAST, _MOST = 0.15, 0.002, 0.3  # steps in the unit cube
_SAME, _TURNED = 1.2, 0.5  # Riedmiller & Braun 1993


def follow_slopes(question: Question) -> Mapping[str, Any]:
    """Follow the derivatives that the trials before found, see `nbopt.search.samplers.slopes`; begin somewhere."""
    known = [each for each in question.known if each.slopes]
    if not known:
        return question.space.at(question.draw().random(question.size))
    names = [each.name for each in question.space.open]
    sizes, signs = np.full(question.size, _FIRST), np.zeros(question.size)
    for each in known:
        now = np.sign([each.slopes.get(name, 0.0) for name in names])
        sizes = np.clip(sizes * np.where(now * signs > 0, _SAME, np.where(now * signs < 0, _TURNED, 1)), _LEAST, _MOST)
        signs = now
    return question.space.at(np.clip(known[-1].place - sizes * signs, 0.0, 1.0))


def chance(question: Question) -> Mapping[str, Any]:
    """Draw values at random: where population-based training begins, see `nbopt.search.executors.evolving`."""
    return question.space.at(question.draw().random(question.size))


OWN: dict[str, Draw] = {
    "grid": grid,
    "qmc": qmc,
    "particle_swarm": particle_swarm,
    "annealing": annealing,
    "genetic": genetic,
    "reinforce": reinforce,
    "hypergradient": follow_slopes,
    "pbt": chance,
}
"""Those that need a declared space, and choose a place in it."""

_OF_OPTUNA: dict[str, Callable[[Any, int], Any]] = {
    "tpe": lambda samplers, seed: samplers.TPESampler(seed=seed),
    "random": lambda samplers, seed: samplers.RandomSampler(seed=seed),
    "gp": lambda samplers, seed: samplers.GPSampler(seed=seed, warn_independent_sampling=False),
    "cmaes": lambda samplers, seed: samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
    "nsga2": lambda samplers, seed: samplers.NSGAIISampler(seed=seed, population_size=12),
}

UNTAUGHT = {"tpe": 10, "gp": 10, "nsga2": 12, "particle_swarm": _SWARM, "genetic": _BRED}
"""How many trials those that learn draw at random before."""

SAMPLERS = (*_OF_OPTUNA, *OWN)
_SEVERAL = ("tpe", "random", "nsga2", "gp", "grid", "qmc")


def of_optuna(name: str, seed: int) -> Any:
    """Return one of Optuna's samplers."""
    if name == "cmaes":
        need("cmaes")
    return _OF_OPTUNA[name if name in _OF_OPTUNA else "random"](need("optuna").samplers, seed)


def check_sampler(sampler: Any, several: bool, declared: bool) -> Any:
    """Return a sampler's name, or one of Optuna's that somebody made.

    Raises
    ------
    UnknownName, TypeError, ValueError
        For what is none, or cannot do what the study asks.
    """
    from nbopt.errors import shorten, unknown

    if not isinstance(sampler, str):
        if isinstance(sampler, need("optuna").samplers.BaseSampler):
            return sampler
        rule = _("sampler must be a name ({names}) or a sampler of Optuna's", names=", ".join(SAMPLERS))
        raise TypeError(_("{rule}; got {value}.", rule=rule, value=shorten(sampler)))
    if sampler not in SAMPLERS:
        raise unknown(_("sampler"), sampler, SAMPLERS)
    if several and sampler not in _SEVERAL:
        names = ", ".join(_SEVERAL)
        raise ValueError(
            _("sampler {name!r} knows one objective only; of several: {names}.", name=sampler, names=names)
        )
    if not declared and sampler in OWN:
        names = ", ".join(_OF_OPTUNA)
        text = _("sampler {name!r} needs a space: give space=, or one of {names}.", name=sampler, names=names)
        raise ValueError(text)
    return sampler
