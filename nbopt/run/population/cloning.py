"""Putting a copy of one member in the place of another."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from nbopt.i18n import _
from nbopt.record.ledger import CLONE
from nbopt.run.population.forks import fork_member, take
from nbopt.run.population.hypergradient import look_ahead
from nbopt.run.population.kept import at_once
from nbopt.run.population.member import Member, Owner
from nbopt.run.population.steered import Steered
from nbopt.training.state import RunState


def copy_over(population: Steered, original: Member, old: Member, own: Mapping[str, Any], source: str) -> Member:
    """Put a copy of one member in the place of another, between two steps; ``own`` are values that are to differ."""
    made = fork_member(original, cast(Owner, population), old.number, take(original), seed=original.seed)
    made.lineage = original.lineage
    made.training.cursor.seed = original.training.cursor.seed
    made.training.evaluate_together = partial(population.puller.together.evaluation, made.training)
    made.training.context.look_ahead = partial(look_ahead, made)
    keeping = population.keeping
    with at_once(keeping):
        if not old.state.is_ended:
            old.become(RunState.STOPPED, _("another member was copied over it"), source)
        told = {"member": original.number, "into": old.number, **own}
        population.journal.event(population.step_count, CLONE, told, source)
        if keeping is not None:
            keeping.replace(made, original.number)
        made.journal.event(made.step_count, "branch", original.name, source)
        made.changes.make(own, source)
    population.members[old.number] = made
    made.follow(running=population.state is RunState.RUNNING)
    population.is_regrouped = True
    return made
