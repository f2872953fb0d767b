"""The material of a run, made at its first event from what the run was given."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from nbopt.i18n import _
from nbopt.run.declared import find_inert
from nbopt.techniques.catalogue import find_modules
from nbopt.techniques.regularization.dropout import Dropout
from nbopt.torch_private import MISSING
from nbopt.training.training import Training

if TYPE_CHECKING:
    from nbopt.run.run import Run


def make_training(run: Run, keep_dropout: bool) -> Training:
    """Return what a run trains with, at its beginning.

    Parameters
    ----------
    run : Run
    keep_dropout : bool
        Whether each layer keeps the rate that the model brought.

    Raises
    ------
    TypeError, ValueError
        For data that the run cannot use.
    """
    device = run.device.torch
    for module in (run.model, *run.loss_modules.values(), *find_modules(run.techniques)):
        module.to(device)
    spec = run.spec
    train, val = spec.make_sources(device, run.hyperparams["batch_size"])
    dropout = Dropout(run.model).rates
    if "dropout" in spec.hyperparams or len(set(dropout)) < 2:
        dropout = [run.initial["dropout"]] * len(dropout)
    training = Training(
        train,
        val,
        run.hyperparams,
        run.history,
        run.metrics,
        run.material,
        spec.forward,
        spec.own_optimizer,
        run.seed,
        device,
        keep_dropout,
        run.techniques,
    )
    training.securing.take()
    # Before the changes made ahead of the start.
    training.snapshots[0].facts.update(hyperparams=run.initial, dropout_rates=dropout)
    run.driver.training = training
    if MISSING:
        run.driver.tell(
            _(
                "this version of torch has no {names}: results are the same, but steps may be slower, fewer can be "
                "compiled, and a copy of the model may not be checked for what it shares with the original.",
                names=", ".join(MISSING),
            )
        )
    run.inert = find_inert(run.model, spec.train, spec.val, run.hyperparams, training)
    for name in sorted(training.acting.unfit.keys() & spec.hyperparams.keys()):
        warnings.warn(f"{name}: {run.inert[name]}", stacklevel=3)
    return training
