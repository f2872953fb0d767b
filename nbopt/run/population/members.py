"""The members of a population, made from what a run would be made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from nbopt.data.sources import AnySource
from nbopt.data.stream_source import StreamSource
from nbopt.data.tensor_source import TensorSource
from nbopt.data.tree import tensors
from nbopt.hyperparams import Hyperparams
from nbopt.hyperparams.values import tell_unused
from nbopt.i18n import _
from nbopt.loading import making_what_stays
from nbopt.run.copies.copying import Copies
from nbopt.run.copies.counters import Counters
from nbopt.run.copies.ties import check_hooks
from nbopt.run.declared import find_inert, find_loss
from nbopt.run.population.member import Member, Owner
from nbopt.run.population.values import SEED
from nbopt.run.spec import RunSpec
from nbopt.techniques.context import Setting
from nbopt.techniques.optimizers.groups import copy_optimizer
from nbopt.training.device import pick_device
from nbopt.training.many.traced import are_same
from nbopt.training.snapshots.checkpoint import share_first


@making_what_stays()
def make_members(
    population: Owner, spec: RunSpec, hyperparams: Hyperparams, rows: Sequence[Mapping[str, Any]]
) -> list[Member]:
    """Return a member for each row of values, each with its own copy of the model.

    Parameters
    ----------
    population : Owner
    spec : RunSpec
        As `RunSpec.settled` returns it.
    hyperparams : Hyperparams
        As `RunSpec.declare` returns them, with what is the same for all.
    rows : sequence of mapping
        What each has of its own, checked; ``seed`` among it.
    """
    own = {"model": spec.model, "loss": spec.loss, "forward": spec.forward}
    check_hooks(spec)
    members, first = [], Copies({**own, "optimizer": spec.own_optimizer})
    for number, row in enumerate(rows):
        copies = first.another()
        made = {key: copies.of(key) for key in own}
        optimizer = spec.optimizer if spec.own_optimizer is None else copies.of("optimizer", copy_optimizer)
        copies.hook()
        values = {name: value for name, value in row.items() if name != SEED}
        theirs = replace(
            spec,
            **{**made, "optimizer": optimizer, "seed": row.get(SEED, spec.seed)},
            hyperparams={**spec.hyperparams, **values},
            name=f"{population.name}[{number}]",
            parent=None,
            listed=False,
        )
        if isinstance(spec.loss, str):
            own_values = hyperparams.another()
            for name, value in values.items():
                own_values.assign(name, value)
        else:  # whose declarations hold the loss itself
            own_values = theirs.declare()
        members.append(Member(population, number, theirs, own_values, theirs.hyperparams))
    return members


def find_all_inert(spec: RunSpec, hyperparams: Hyperparams) -> dict[str, str]:
    """Return the hyperparameters that cannot act, each with the reason."""
    setting = Setting(spec.model, pick_device(spec.device).torch, spec.val is not None)
    return {**find_inert(setting, spec.train, spec.techniques), **find_loss(hyperparams).find_inert(setting)}


def tell_inert(spec: RunSpec, inert: Mapping[str, str]) -> None:
    """Warn of those that were given and cannot act."""
    given = spec.hyperparams
    tell_unused({name: inert[name] for name in inert.keys() & given.keys()})
    tell_unused(spec.declare().find_overruled(given))


def give_data(members: Sequence[Member], samples: Sequence[Any] | None, split: int | None = None) -> None:
    """Give members their data: those of one seed and the same data share them, and what ``val`` cuts off.

    Parameters
    ----------
    members : sequence of Member
    samples : sequence, optional
        As `check_samples` returns them.
    split : int, optional
        The seed by which ``val`` is cut off for all of them.

    Raises
    ------
    TypeError, ValueError
        For data that cannot be used, or samples that are not there.
    """
    found: dict[tuple[int, int, int], tuple[AnySource, AnySource | None]] = {}
    for member in members:
        spec = member.spec
        seed = member.seed if split is None else split
        own = (seed, id(spec.train), id(spec.val))
        if own not in found:
            size = member.hyperparams["batch_size"]
            found[own] = replace(spec, seed=seed).make_sources(pick_device(spec.device).torch, size)
        train, val = found[own]
        if samples is not None:
            train = _some(train, samples[member.lineage], member.number)
        origin = spec.train if spec.origin is None else spec.origin
        share = spec.val if isinstance(spec.val, float) else spec.val_fraction
        member.spec = replace(spec, train=train, val=val, origin=origin, val_fraction=share)


@making_what_stays()
def begin_members(members: Sequence[Member], samples: Sequence[Any] | None, split: int | None = None) -> None:
    """Give members their data, see `give_data`, and make what each trains with."""
    give_data(members, samples, split)
    first = members[0].training
    for member in members[1:]:
        share_first(member.training, first)


def find_unsteady(members: Sequence[Member]) -> str:
    """Return, in words, that members disturb each other by the data that they share; "" where none is seen to.

    Members of one seed are dealt the same samples, and so is one that asks twice.
    """
    training = members[0].training
    if names := Counters(training).find_changed(training):
        return _("all members call what changes {names}", names=", ".join(names))
    known: dict[tuple[int, ...], Member] = {}
    for member in members:
        cursor = member.training.cursor
        if isinstance(cursor.source, TensorSource):
            continue
        data = cursor.source.loader if isinstance(cursor.source, StreamSource) else cursor.source.dataset
        first = known.setdefault((id(data), cursor.seed, *cursor.place()), member)
        try:
            same = all(map(are_same, *(tensors(each.training.cursor.peek()) for each in (member, first))))
        except Exception:  # which a step raises
            return ""
        if not same:
            return _("train gives other samples when it is asked for the same ones again, and all members ask it")
    return ""


def check_samples(samples: Any, count: int) -> list[Any] | None:
    """Return what samples each of ``count`` members has: a mask or an index; raise ValueError for anything else."""
    if samples is None:
        return None
    found = list(samples)
    if len(found) != count:
        rule = _("samples must hold a mask or an index for each of the {count} members", count=count)
        raise ValueError(_("{rule}; got {number}.", rule=rule, number=len(found)))
    return found


def _some(source: AnySource, chosen: Any, number: int) -> AnySource:
    if not isinstance(source, TensorSource) or source.sampler is not None:
        raise ValueError(_("samples: members can have samples of their own only of data that are arrays or tensors."))
    try:
        index = torch.as_tensor(np.asarray(chosen))
    except (TypeError, ValueError):  # texts, None, lists of several lengths
        index = torch.empty(0)
    if index.dtype == torch.bool and index.shape == (source.size,):
        index = index.nonzero()[:, 0]
    if index.ndim != 1 or not len(index) or index.is_floating_point() or index.dtype == torch.bool:
        rule = _("a mask of {size} booleans or an index of at least one sample", size=source.size)
        raise ValueError(_("samples of member {number} must be {rule}.", number=number, rule=rule))
    if int(index.min()) < -source.size or int(index.max()) >= source.size:
        rule = _("train holds {size} samples", size=source.size)
        raise ValueError(_("samples of member {number}: there is no such sample, {rule}.", number=number, rule=rule))
    part = copy(source)
    part.columns = tuple(column[index.to(column.device)] for column in source.columns)
    part.size = len(index)
    return part
