"""What a model loses as it gets smaller: by values of a hyperparameter, and layer by layer; without training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from nbopt.hyperparams import Choice, Flag, Float, Hyperparams, Int
from nbopt.i18n import _
from nbopt.run.size.layers import Layer, evaluating
from nbopt.run.size.probe import CannotMeasure, Probe, Slices
from nbopt.techniques.base import defines
from nbopt.training.validation import measure

_PARTS = 10  # of a range


class Tradeoff(NamedTuple):
    """What a validation measures with some values of a hyperparameter, all else being as it is in the run.

    Attributes
    ----------
    name : str
        Of the hyperparameter.
    values : list
        Those tried, in order.
    by : str
        Another hyperparameter, of which several values were tried beside it; "" for none.
    scores : dict of object to list of float
        By the values of the other one, or by None: the score with each value; NaN where a value changes nothing.
    step : int
        Steps that the run had done.
    """

    name: str
    values: list[Any]
    by: str
    scores: dict[Any, list[float]]
    step: int


def find_compressing(training: Any) -> dict[str, list[str]]:
    """Return the hyperparameters by which the model computes with other weights or activations, and their ways.

    Returns
    -------
    dict of str to list of str
        By each number that acts by itself: the choices and flags that go with it.
    """
    found: dict[str, list[str]] = {}
    for part in training.acting.parts:
        if defines(type(part), "change_weights") or defines(type(part), "change_activations"):
            declared = part.declared()
            for name in (name for name, spec in declared.items() if isinstance(spec, (Int, Float)) and not spec.needs):
                ways = [way for way, spec in declared.items() if isinstance(spec, (Choice, Flag))]
                found[name] = [way for way in ways if declared[way].needs in ("", name)]
    return found


def values_of(hyperparams: Hyperparams, name: str) -> list[Any]:
    """Return values to try, from what leaves the model as it is to what its control offers at most."""
    spec: Any = hyperparams.spec(name)
    if isinstance(spec, Int):
        numbers = [*range(int(spec.high), int(spec.low) - 1, -1)]
        return [spec.default, *numbers] if spec.default not in numbers else numbers
    step = float(f"{(spec.high - spec.low) / _PARTS:.0e}")
    inner = [float(f"{spec.low + k * step:.6g}") for k in range(_PARTS + 1)]
    return [*(value for value in inner if value < spec.high), spec.high]


def tradeoff(probe: Probe, metric: str, name: str, values: Sequence[Any], by: str = "") -> Slices:
    """Return a `Tradeoff`, in slices: each value acts fully, at once.

    Parameters
    ----------
    probe : Probe
        Of the run, where it is.
    metric : str
        Of what a validation measures, the score.
    name : str
    values : sequence
    by : str
        A choice, of which all options are tried, or a flag.
    """
    options = list(probe.options(by)) if by else [None]
    off = probe.training.hyperparams.spec(name).default
    at_once = next(part.at_once for part in probe.training.acting.parts if name in part.declared())
    scores: dict[Any, list[float]] = {option: [math.nan] * len(values) for option in options}
    for option in options:
        probe.put_back()  # what a technique remembers is forgotten where it goes another way
        has_seen = False
        for place, value in enumerate(values):
            changes = {**at_once, name: value} if option is None else {**at_once, name: value, by: option}
            found = yield from probe.score(changes)
            if value != off and not has_seen and not probe.changes():
                has_seen = True
                yield from probe.see_gradients()  # as pruning by gradients needs them
                found = yield from probe.score(changes)
            is_known = value == off or probe.changes()
            scores[option][place] = found.get(metric, math.nan) if is_known else math.nan
    probe.put_back()
    return Tradeoff(name, list(values), by, scores, probe.training.step)


def sensitivity(probe: Probe, metric: str, layers: Sequence[Layer]) -> Slices:
    """Return the score where one layer alone has the weights that it computes with now, by layer, in slices.

    Returns
    -------
    dict of str to float
        "" for the model with none of it.

    Raises
    ------
    CannotMeasure
        If nothing is compressed.
    """
    changed = probe.weights()
    acting = probe.training.acting
    if not acting.change_weights and not acting.change_activations:
        raise CannotMeasure(_("no layer is compressed now: set sparsity or bits first, to see what each layer costs."))
    scores = {}
    for layer in [None, *layers]:
        names = () if layer is None else layer.weights
        with probe.computing_with({name: changed[name] for name in names if name in changed}):
            scores["" if layer is None else layer.name] = (yield from measure(probe.training)).get(metric, math.nan)
    return scores


def sensitivity_of_inputs(probe: Probe, metric: str, layers: Sequence[Layer]) -> Slices:
    """Return the score where the inputs of one layer alone are rounded as they are now, by layer, in slices.

    Returns
    -------
    dict of str to float
        Of the layers whose inputs have few bits; "" for the model with none of it.
    """
    acting = probe.training.acting
    with evaluating(probe.training):
        probe.training.pass_.calibrate()  # of all layers, before one alone is looked at
    parts: list[Any] = [change.__self__ for change in acting.change_activations]
    few = {name for part in parts for name in getattr(part, "bits_now", ())}
    scores = {}
    for name in ["", *(layer.name for layer in layers if layer.name in few)] if few else []:
        with probe.computing_with({}, name):
            scores[name] = (yield from measure(probe.training)).get(metric, math.nan)
    return scores
