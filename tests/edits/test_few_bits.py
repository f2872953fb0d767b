"""Edits of models that compute with few bits: what is put in is rounded from the next step on."""

import pytest
import torch
from torch import nn

from nbopt.edits import CannotEdit, Deepen, Factorize, Share
from tests.edits.test_modules import follow

EDITS = [Deepen("0"), Factorize(rank=2), Share("*", clusters=4)]


@pytest.fixture
def make(make_run, blobs):
    def made(**settings):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        return make_run(model, blobs, epochs=10**6, batch_size=20, store=None, **settings)

    return made


@pytest.mark.parametrize("val", [True, False], ids=["validated", "not validated"])
@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.kind)
def test_layers_that_an_edit_put_in_are_rounded_in_the_next_step(make, blobs, edit, val):
    run = make(weight_bits=3, val=blobs if val else None)
    run.step(3)
    changed = run.change(edit)
    changed.step(1)
    seen, hooks = [], []
    for layer in changed.model.modules():
        if isinstance(layer, nn.Linear):
            hooks.append(layer.register_forward_pre_hook(lambda layer, _inputs: seen.append(layer.weight.detach())))
    changed.step(1)
    for hook in hooks:
        hook.remove()
    assert all(len(row.unique()) <= 2**3 for weight in seen for row in weight)
    changed.step(2)
    follow(changed, edit, 3, 4)


@pytest.mark.parametrize("edit", EDITS[1:], ids=lambda edit: edit.kind)
def test_inputs_of_layers_that_an_edit_put_in_are_rounded_as_when_it_is_repeated(make, edit):
    run = make(activation_bits=3)
    run.step(3)
    changed = run.change(edit)
    changed.step(4)
    follow(changed, edit, 3, 4)


def test_what_stands_in_the_way_of_an_edit_that_keeps_outputs_is_told(make):
    run = make(activation_bits=3)
    run.step(3)
    with pytest.raises(
        CannotEdit, match=r"changes what layers get: turn it off first, as by run.set\(activation_bits=0\)"
    ):
        run.change(Deepen("0"))
    run.set(activation_bits=0)
    run.step(2)
    changed = run.change(Deepen("0"))
    changed.step(4)
    follow(changed, Deepen("0"), 5, 4)
