"""Two runs held against each other."""

import torch

FOREVER = 10**9


def numbers(run):
    return {name: [part.tolist() for part in run.history[name]] for name in run.history}


def assert_alike(one, other, weights):
    assert torch.equal(weights(one), weights(other))
    assert numbers(one) == numbers(other)
    assert dict(one.hyperparams) == dict(other.hyperparams)
    assert (one.step_count, one.epoch) == (other.step_count, other.epoch)
