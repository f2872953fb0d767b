"""Runs that an earlier version stored, where it did otherwise than this one: they go on exactly, or the cause is named.

The earlier version made integers of booleans and float32 of float64, took the samples of any loader apart, without its
batch sampler and with what ``drop_last`` drops, and cut validation data off without regard to most kinds of labels.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import torch

from nbopt.data.noise import SPLIT, derive_seed
from nbopt.data.sources import AnySource, StreamSource, as_source
from nbopt.data.split import class_labels
from nbopt.data.tensor_source import TensorSource
from nbopt.hyperparams import Hyperparams
from nbopt.i18n import _
from nbopt.record.ledger import rename as rename_wrapped
from nbopt.run.declared import declare_all
from nbopt.run.trained import TrainedSession
from nbopt.store.reading import Record


def is_earlier(settings: Mapping[str, Any]) -> bool:
    """Whether a run was stored by a version that did not note which weights were frozen."""
    return "frozen" not in settings


def rename(record: Record) -> None:
    """Call a stored run's hyperparameters what they are called now, in what it was made with and in its journal."""
    renamed = declare_all().renamed
    settings = record.settings
    settings["initial"] = {renamed.get(name, name): value for name, value in settings["initial"].items()}
    settings["given"] = [renamed.get(name, name) for name in settings["given"]]
    for journal in (record.journal, *(member.journal for member in record.members)):
        journal.load([entry._replace(name=renamed.get(entry.name, entry.name)) for entry in journal])
    record.ledger = [rename_wrapped(entry, renamed) for entry in record.ledger]
    for row in settings.get("population", {"rows": []})["rows"]:
        row.update({renamed[name]: row.pop(name) for name in row.keys() & renamed.keys()})


def known_only(settings: Mapping[str, Any], values: Mapping[str, Any], known: Hyperparams) -> dict[str, Any]:
    """Return values of hyperparameters by today's names, without those that only the earlier version had there."""
    now = {known.renamed.get(name, name): value for name, value in values.items()}
    return {name: value for name, value in now.items() if name in known or not is_earlier(settings)}


def explain_data(run: TrainedSession, settings: Mapping[str, Any], train: AnySource) -> str:
    """Say what to give instead of ``train``, which the earlier version used otherwise; "" where it did as this one.

    Parameters
    ----------
    run : Run
        As made with the data given now.
    settings : mapping
        What the stored run was made with.
    train : source
        What became of the training data.
    """
    if not is_earlier(settings) or settings["data"] is None:
        return ""
    before = settings["data"]["train"]
    if isinstance(train, StreamSource):
        if before.get("samples") is None:
            return ""
        did = _("dealt out the samples of such a loader in batches of its own")
        return _say(did, _("give DataLoader(loader.dataset, sampler=loader.sampler)"))
    if train.drop_last:
        return _say(_("trained on the last, smaller batch too"), _("give the loader with drop_last=False"))
    if isinstance(train, TensorSource) and (turned := _find_turned(before, train)):
        return _say(_("had {types} there", types=turned), _("give columns of these types, in a TensorDataset"))
    share = run.spec.val
    if isinstance(share, float) and _is_stratified_now(as_source(run.spec.train, "train"), share):
        state = derive_seed(settings["seed"], SPLIT) % 2**32
        cut = f"train_test_split(range(n), test_size={share}, random_state={state})"
        return _say(_("did not stratify such labels"), _("cut train and val by {cut}", cut=cut))
    return ""


def explain_steps(run: TrainedSession, settings: Mapping[str, Any], train: AnySource, changed: Container[str]) -> str:
    """Say why steps of a run in which these were changed are not done as they were; "" if they are."""
    if not is_earlier(settings):
        return ""
    did = []
    own = run.spec.own_optimizer
    if own is not None and len(own.param_groups) > 1 and "optimizer" in changed:
        did.append(_("had no parameter groups any more once the optimizer was changed"))
    scheduled = any(settings["initial"].get(k) != plain or k in changed for k, plain in _UNSCHEDULED.items())
    if scheduled and isinstance(train, StreamSource) and train.length is not None:
        did.append(_("kept the learning rate until the end of each epoch of a stream"))
    return _("not exact: an earlier nbopt, which made the run, {did}.", did=_(" and ").join(did)) if did else ""


_UNSCHEDULED = {"schedule": "constant", "warmup": 0.0}


def _say(did: str, way: str) -> str:
    return _("an earlier nbopt, which made the run, {did}: {way}", did=did, way=way)


def _find_turned(before: Mapping[str, Any], train: TensorSource) -> str:
    """Return the types of all columns then, in words, if these were others than now and nothing else was."""
    then = [before.get(f"part {k + 1}") for k in range(len(train.columns))]
    types = [text.rpartition(" ")[2] for text in then if isinstance(text, str)]
    now = [str(column.dtype).removeprefix("torch.") for column in train.columns]
    return ", ".join(types) if len(types) == len(now) and types != now else ""


def _is_stratified_now(source: AnySource, share: float) -> bool:
    """Whether labels are stratified that the earlier version did not: it did whole numbers in memory, one a sample."""
    if isinstance(source, StreamSource) or class_labels(source, share) is None:
        return False
    if not isinstance(source, TensorSource):
        return True
    labels = source.columns[-1]
    if labels.ndim != 1 or labels.is_floating_point():
        return True
    return len(torch.unique(labels)) * 2 > len(labels)
