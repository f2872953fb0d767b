"""The hyperparameters of a run: all that it could use, and those of them that cannot act in it."""

from __future__ import annotations

from typing import Any

import torch

from nbopt.data.cursor import Cursor
from nbopt.data.sources import StreamSource, makes_batches
from nbopt.engine.prepare import check_together
from nbopt.engine.step.tiers import Pace
from nbopt.engine.training import Training
from nbopt.hyperparams import Hyperparams, Int, Tunable
from nbopt.parts.accumulation import Accumulation
from nbopt.parts.catalogue import PARTS
from nbopt.parts.channels_last import has_images, is_channels_last
from nbopt.parts.dropout import Dropout, own_dropout
from nbopt.parts.guard import Guard
from nbopt.parts.initialization import Initialization
from nbopt.parts.losses import loss_choice
from nbopt.parts.made_optimizers import check_settings
from nbopt.parts.optimizers import optimizer_choice
from nbopt.parts.precision import precision_choice
from nbopt.parts.stopping import EarlyStopping
from nbopt.words import _


class Length(Tunable):
    """How long a run is."""

    epochs = Int(
        20,
        low=1,
        high=200,
        ge=1,
        label=_("Epochs"),
        group=_("Batches"),
        help=_("Passes over the training data. Raise it to train a finished run further."),
    )


def declare(
    model: torch.nn.Module, train: Any, loss: Any, optimizer: Any, device: torch.device, given: dict[str, Any]
) -> Hyperparams:
    """Return a run's hyperparameters: as given, else as model, loader and optimizer bring them, else their defaults.

    Raises
    ------
    InvalidHyperparam
        For an unknown name or an illegal value among ``given``.
    """
    hyperparams = Hyperparams()
    choice, own = optimizer_choice(optimizer)
    hyperparams.declare(choice, Dropout, Cursor, Length, EarlyStopping, loss_choice(loss))
    hyperparams.declare(*PARTS, Accumulation, Initialization, Guard, Pace, precision_choice(model, device))
    if (dropout := own_dropout(model)) is not None:
        own["dropout"] = dropout
    own["channels_last"] = is_channels_last(model)
    for loader in (getattr(train, "batch_sampler", None), train):  # a DataLoader's
        if type(size := getattr(loader, "batch_size", None)) is int and size > 0:
            own["batch_size"] = size
    own_kind: Any = choice
    check_settings(own_kind.classes[choice.default], optimizer, given, hyperparams)
    if given.keys() & {"patience", "min_delta"}:
        own["early_stopping"] = True
    for name, value in hyperparams.check({**own, **given}).items():
        hyperparams.assign(name, value)
    check_together(hyperparams, {})
    return hyperparams


def find_inert(
    model: torch.nn.Module, train: Any, val: Any, hyperparams: Hyperparams, training: Training | None
) -> dict[str, str]:
    """Return the hyperparameters that cannot act in a run, each with the reason; some show once there is a training."""
    found = {}
    if own_dropout(model) is None:
        found["dropout"] = _("the model has no dropout layer")
    precision: Any = hyperparams.spec("precision")
    if len(precision.options) == 1:
        found["precision"] = precision.missing
    if not has_images(model):
        found["channels_last"] = _("the model has no weights of four dimensions, as convolutions of images have")
    if val is None:
        reason = _("without val there is no validation loss to judge by")
        found.update(dict.fromkeys(EarlyStopping.declared(), reason))
    if makes_batches(train):
        found["batch_size"] = _("the DataLoader makes its own batches")
    elif training is not None and isinstance(training.cursor.source, StreamSource):
        found["batch_size"] = _("a stream keeps the batch size that it began with")
    if training is not None:
        found.update(training.acting.unfit)
    return found
