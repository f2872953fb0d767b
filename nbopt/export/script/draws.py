"""What draws random numbers in a run, as far as its script has to know."""

from __future__ import annotations

from typing import Any

from torch import nn

from nbopt.data.generators import NUMPYS, PYTHONS
from nbopt.data.reached import find_generators
from nbopt.data.sources import AnySource, DatasetSource, StreamSource
from nbopt.export.script.section import Section
from nbopt.export.summary import RunSummary
from nbopt.i18n import _
from nbopt.objects.layers import is_silent, probability_of


class Draws(Section):
    """What draws, in the passes of a step and in those of a validation."""

    def write(self) -> None:
        """See `Section`.

        Raises
        ------
        ValueError
            If generators of the user's own go on in a script in another way than they did in the run.
        """
        story = self.story
        own = not isinstance(story.loss, str) and not isinstance(story.loss, nn.Module)
        models = [story.model, *(brought for edit in story.edits for brought in edit.brought)]
        modules = [module for model in models for module in model.modules()]
        unknown = own or story.forward is not None or not all(map(is_silent, modules))
        drawing = [kind for kinds in self.draft.techniques.values() for kind in kinds if kind.draws]
        draws = unknown or drawing or self.draft.has("change_batch") or any(map(probability_of, modules))
        self.words.update(draws=bool(draws), evaluation_draws=unknown)
        if not any(generator in (PYTHONS, NUMPYS) for generator in _find_shared(story)):
            self.draft.others["seed_all"] = "torch.manual_seed"


def _find_shared(story: RunSummary) -> list[Any]:
    """Return those of the generators of Python's `random` and of `numpy.random` that are drawn from.

    Raises
    ------
    ValueError
        If generators of the user's own go on in a script in another way than they did in the run.
    """
    order, samples = _drawers(story.train)
    val = [drawer for drawers in _drawers(story.val) for drawer in drawers]
    brought = [module for edit in story.edits for module in edit.brought]
    steps = [story.model, story.forward, story.loss, *brought]
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
