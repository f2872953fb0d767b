"""One place that tells all who hold weights, or what follows from them, that these are others."""

from __future__ import annotations

from nbopt.training.core import Core


def rebuild(training: Core) -> list[str]:
    """Have all go on with the weights as they are now; return what was dropped for that, in words.

    Called between two steps whenever which weights there are, their shapes, which of them train, where their numbers
    are in memory or what steps them may be others: after an edit, a rewind or reopening, a change made by hand, a swap
    of the optimizer, another memory format. What is not others costs a look.
    """
    dropped: list[str] = []
    reshaped, resting = training.material.is_reshaped, training.groups.resting
    training.groups.resting = training.find_resting()
    if reshaped:
        training.material.renew()
        training.params[:] = training.material.parameters.values()
        training.pass_.renew()
    if reshaped or training.groups.resting != resting:
        training.acting.train(training.find_trained())
        dropped = training.optimizer.follow()
        assert training.optimizer.torch is not None
        training.torch_optimizer = training.optimizer.torch
    training.buffers.renew()
    for lay_out in training.acting.lay_out:
        lay_out(training.torch_optimizer)
    training.stepper.choose()  # whose lists hold weights and the optimizer's state
    training.tiers.note_change()
    training.material.learn_shapes()  # last: what interrupts this leaves all of it to be done again
    return dropped
