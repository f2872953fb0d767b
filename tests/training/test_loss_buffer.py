"""Losses on their way to the history: single ones, those of a call, those of many runs."""

import itertools

import pytest
import torch

from nbopt.training.loss_buffer import Block


@pytest.mark.parametrize("kinds", list(map("".join, itertools.product("srb", repeat=3))))
def test_losses_stand_at_their_steps_however_they_came(make_run, kinds):
    run = make_run()
    run.events()
    meter, losses = run.training.meter, torch.arange(1.0, 1 + 2 * len(kinds))
    for kind, two in zip(kinds, losses.split(2), strict=True):
        if kind == "s":
            for loss in two:
                meter.take(loss)
        elif kind == "r":
            meter.take_row(two)
        else:
            meter.take_block(Block(torch.stack([-two, two], 1)), 1, 2)
    assert meter.waiting
    assert meter.flush(len(losses), 0.5, lambda: True) is None
    assert not meter.waiting
    steps, values = run.history["loss"]
    assert list(steps) == list(range(len(losses)))
    assert list(values) == losses.tolist()


def test_losses_of_a_call_that_an_interrupt_undid_are_forgotten(make_run):
    run = make_run()
    run.events()
    run.training.meter.take_row(torch.ones(4))
    run.training.meter.forget(0.0)
    assert not run.training.meter.waiting
