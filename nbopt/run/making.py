"""The material of a run, made at its first event from what the run was given."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from nbopt.i18n import _
from nbopt.run.declared import find_unfit
from nbopt.techniques.catalogue import find_modules, find_several
from nbopt.torch_private import MISSING
from nbopt.training.training import Training

if TYPE_CHECKING:
    from nbopt.run.run import Run


def make_training(run: Run, untouched: set[str]) -> Training:
    """Return what a run trains with, at its beginning.

    Parameters
    ----------
    run : Run
    untouched : set of str
        Hyperparameters that the model has several values of, which it keeps.

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
    brought = find_several(run.model, run.techniques) - spec.hyperparams.keys()
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
        run.techniques,
    )
    # The first snapshot is of what there was before the changes made ahead of the start.
    training.acting.settle(run.initial, run.initial.keys() - brought)
    training.securing.take()
    training.snapshots[0].facts.update(hyperparams=run.initial)
    changed = {name for name, value in run.hyperparams.items() if value != run.initial[name]}
    training.acting.settle(run.hyperparams, changed | brought - untouched)
    run.driver.training = training
    if MISSING:
        run.driver.tell(
            _(
                "this version of torch has no {names}: results are the same, but steps may be slower, fewer can be "
                "compiled, and a copy of the model may not be checked for what it shares with the original.",
                names=", ".join(MISSING),
            )
        )
    run.inert.update(find_unfit(training, spec.train))
    for name in sorted(training.acting.unfit.keys() & spec.hyperparams.keys()):
        warnings.warn(f"{name}: {run.inert[name]}", stacklevel=3)
    return training
