"""What one of many runs does by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbopt.data.tensor_source import TensorSource
from nbopt.training.many.member import OneOfMany
from nbopt.training.step.passes import call_on_pair


def look_at_all(trainings: Sequence[OneOfMany]) -> bool:
    """Find out about the next batches of runs that are built alike; return whether all can be done.

    One of those that begin with the same batch looks for the others.
    """
    known: dict[Any, OneOfMany] = {}
    for training in trainings:
        if (first := known.setdefault(_beginning_of(training), training)) is not training:
            training.pass_.know_as(first.pass_)
        elif not look_at(training):
            return False
    return True


def _beginning_of(training: OneOfMany) -> Any:
    """Return what tells apart what there is to be found out about the next batch."""
    cursor, sources, loss = training.cursor, (training.cursor.source, training.val), training.loss
    if training.pass_.forward is not call_on_pair or training.acting.unchecked or loss.draws:
        return id(training)
    if any(isinstance(source, TensorSource) and source.sampler is not None for source in sources):
        return id(training)
    data = [[*map(id, each.columns)] if isinstance(each, TensorSource) else id(each) for each in sources]
    settings = [getattr(loss, name) for name in loss.declared()]
    return repr((data, cursor.seed, cursor.epoch, cursor.position, cursor.batch_size, settings))


def look_at(training: OneOfMany) -> bool:
    """Do the pass of the next batch, and no more; return whether it can be done."""
    drawn_from, half_done = training.noise.states, training.half_done
    training.buffers.keep()
    try:
        training.eager.gradients(training.cursor.peek(), training.step, False)
    except Exception:  # which the step raises
        return False
    finally:
        training.loss.discard()
        training.buffers.put_back()
        training.noise.states, training.half_done = drawn_from, half_done
    return True


def do_one(training: OneOfMany) -> int | Exception:
    """Do its next step; return how many were done, or what was raised."""
    try:
        return training.train_step()
    except Exception as error:  # whatever model, loss or data of the user's raise
        return error
