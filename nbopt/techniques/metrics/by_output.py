"""Metrics of one of several outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbopt.data.places import Place, item_at, name_of, read_place, write_place
from nbopt.errors import InvalidHyperparam, unknown
from nbopt.i18n import _
from nbopt.techniques.losses.by_output import check_key
from nbopt.techniques.metrics.choice import (
    METRICS,
    Metric,
    as_metrics,
    find_metric,
    is_known,
    is_streaming,
    name_of_metric,
)


class OfOutput:
    """A metric that takes one output and its target, of several.

    Parameters
    ----------
    place : tuple
        Where both stand.
    metric : callable
    """

    def __init__(self, place: Place, metric: Metric) -> None:
        self.place = place
        self.metric = metric

    def __call__(self, output: Any, target: Any) -> Any:
        """Return its value for what a model returns."""
        return self.metric(item_at(output, self.place), item_at(target, self.place))

    @property
    def label(self) -> str | None:
        """The output and the metric's name, as a store keeps them; None for a metric of the user's own."""
        name = name_of_metric(self.metric)
        return write_place(self.place, name) if name else None


def read_labels(labels: Mapping[str, str]) -> dict[str, Any]:
    """Return metrics by the labels that a store has."""
    found: dict[str, Any] = {}
    for name, label in labels.items():
        if ": " not in label:
            found[name] = label
            continue
        place, own = read_place(label)
        if (metric := find_metric(own)) is None:
            raise unknown(_("metric"), own, METRICS)
        found[name] = OfOutput(place, metric)
    return found


def names_by_output(metrics: Mapping[str, Metric]) -> dict[Any, Any] | None:
    """Return the names of metrics in mappings like those of their outputs; None unless all have names and outputs."""
    tree: dict[Any, Any] = {}
    for name, metric in metrics.items():
        if not isinstance(metric, OfOutput) or not name_of_metric(metric.metric):
            return None
        branch = tree
        for key in metric.place:
            branch = branch.setdefault(key, {})
        branch[name.removeprefix(f"{name_of(metric.place)}_")] = name_of_metric(metric.metric)
    found: dict[Any, Any] = _shortened(tree)
    return found


def _shortened(tree: dict[Any, Any]) -> Any:
    """Return lists in the place of mappings from names to themselves."""
    if tree and all(name == metric for name, metric in tree.items()):
        return list(tree)
    return {key: _shortened(part) if isinstance(part, dict) else part for key, part in tree.items()}


def read_metrics(given: Any, loss: Any = None) -> dict[str, Metric]:
    """Return the metrics given to a run, by name.

    Parameters
    ----------
    given : see `nbopt.techniques.metrics.choice.as_metrics`, or mapping
        From the name of an output to these; the metrics are then called ``<output>_<metric>``.
    loss : str, callable, list or mapping
        As given to the run: where it names outputs, metrics do.

    Raises
    ------
    InvalidHyperparam
        For an unknown name, anything that cannot be called, or a name that is taken.

    Examples
    --------
    >>> from nbopt.techniques.metrics.by_output import read_metrics
    >>> list(read_metrics({"digit": ["accuracy", "f1"], "angle": "mae"}, {"digit": "cross_entropy", "angle": "mse"}))
    ['digit_accuracy', 'digit_f1', 'angle_mae']
    """
    by_output = isinstance(loss, Mapping)
    is_named = isinstance(given, Mapping) and not is_streaming(given)
    if is_named and not any(isinstance(item, OfOutput) for item in given.values()):  # else read before
        if by_output or _is_nested(given, any):
            return _of_outputs(given, ())
    found = as_metrics(given)
    if by_output and (name := next((name for name, metric in found.items() if is_known(metric)), "")):
        rule = _("loss names several outputs, so tell of which one it is")
        raise InvalidHyperparam(_('metrics: {name}: {rule}: metrics={{"output": [...]}}.', name=name, rule=rule))
    return found


def _is_nested(given: Mapping[Any, Any], holds: Any) -> bool:
    return bool(holds(isinstance(item, (list, tuple, Mapping)) and not is_streaming(item) for item in given.values()))


def _of_outputs(given: Mapping[Any, Any], place: Place) -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    for key, items in given.items():
        here = (*place, check_key(_("metrics"), key))
        deeper = isinstance(items, Mapping) and not is_streaming(items) and _is_nested(items, all)
        if deeper:
            own = _of_outputs(items, here)
        else:
            named = as_metrics(list(items) if isinstance(items, tuple) else items)
            own = {f"{name_of(here)}_{name}": OfOutput(here, metric) for name, metric in named.items()}
        if taken := next((name for name in own if name in found), ""):
            raise InvalidHyperparam(_("metrics: two are called {name}.", name=taken))
        found.update(own)
    return found
