"""Edits of models that compute with few bits: what is put in is rounded from the next step on."""

import pytest
import torch
from torch import nn

from nbopt.edits import CannotEdit, Deepen, Factorize, Merge, Share, Shrink, Widen
from tests.edits.test_modules import follow
from tests.training.edited import edits, same

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


ALONG = {  # an edit; what acts before it, and what is changed with it
    "grids": (Shrink(amount=0.5), {"weight_bits": 4}, {"weight_bits": 0}),
    "grids and masks": (Shrink(amount=0.5), {"weight_bits": 4, "sparsity": 0.8}, {"weight_bits": 0, "sparsity": 0}),
    "learned steps": (Shrink(amount=0.5), {"weight_bits": 2, "step_size_rate": 0.1}, {"weight_bits": 0}),
    "a table": (Widen("0", by=2), {"codebook": 8}, {"codebook": 0}),
}


@pytest.mark.parametrize("kind", ALONG)
def test_an_edit_goes_on_with_the_few_values_that_are_turned_off_along_with_it(make_net, kind):
    edit, before, along = ALONG[kind]
    run = make_net("cnn", **before)
    run.step(6)
    with torch.no_grad():
        few = run.training.acting.weights()["0.weight"].clone()
    changed = run.change(edit, **along)
    rows = {tuple(row.flatten().tolist()) for row in few}
    assert all(tuple(row.flatten().tolist()) in rows for row in changed.model[0].weight)
    changed.step(4)
    twin = changed.replay()
    twin.wait()
    assert same(twin, changed) and twin.exact


@pytest.mark.parametrize(
    "edit", [Shrink(amount=0.5), Widen("0", by=2), Merge(distance=1.2)], ids=lambda edit: edit.kind
)
def test_rounded_inputs_of_layers_are_not_in_the_way_of_following_units(make_net, edit):
    run, plain = make_net("cnn", activation_bits=4, lr=0.0), make_net("cnn", lr=0.0)
    for each in (run, plain):
        each.step(3)
    sizes = [edits(each.change(edit))[0].new["parameters"] for each in (run, plain)]
    assert sizes[0] == sizes[1]


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
