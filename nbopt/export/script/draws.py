"""What a run on the user's data, model and functions draws from, as far as its script has to know."""

from __future__ import annotations

from typing import Any

from nbopt.data.reached import find_generators
from nbopt.data.sources import AnySource, DatasetSource, StreamSource
from nbopt.export.summary import RunSummary
from nbopt.i18n import _


def find_shared(story: RunSummary) -> list[Any]:
    """Return those of the generators of Python's `random` and of `numpy.random` that are drawn from.

    Raises
    ------
    ValueError
        If generators of the user's own go on in a script in another way than they did in the run.
    """
    order, samples = _drawers(story.train)
    val = [drawer for drawers in _drawers(story.val) for drawer in drawers]
    steps = [story.model, story.forward, story.loss]
    found = [find_generators(*drawers) for drawers in (order, samples, val, steps)]
    own: list[list[int]] = [[id(generator) for generator in reached.own] for reached in found]
    validates = story.val is not None
    anew = _("validation draws from generators of its own")
    if validates and (own[2] or own[3]):
        rule = _("in the run each validation finds them in the same state, a script draws on")
        raise ValueError(_("{what}: {rule}. Give it none, or none that draws.", what=anew, rule=rule))
    if set(own[0]) & {*own[1], *own[3]} or set(own[1]) & set(own[3]):
        rule = _("order, samples and steps each have their own copy of its state in the run")
        raise ValueError(_("one generator is drawn from in several places: {rule}. Give each its own.", rule=rule))
    if own[0] and story.share is not None:
        rule = _("the order is drawn by a generator of the loader's, over what val left")
        raise ValueError(_("{rule}: give val its own data.", rule=rule))
    return list({id(generator): generator for reached in found for generator in reached.shared}.values())


def _drawers(source: AnySource | None) -> tuple[list[Any], list[Any]]:
    """Return what draws a source's order, and what its samples."""
    if source is None:
        return [], []
    if isinstance(source, StreamSource):
        return [source.loader], []
    if isinstance(source, DatasetSource):
        return [source.sampler, source.generator], [source.dataset, source.collate]
    return [source.sampler], []
