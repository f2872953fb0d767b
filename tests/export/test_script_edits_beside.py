"""The script of an edited run that does something else beside: other optimizers, layouts, groups, techniques."""

import pytest
import torch

import nbopt
from nbopt.edits import Deepen, Factorize, Merge, Shrink, Widen
from tests.edits.nets import NETS
from tests.export.edited import DATA, hold, model_of, run_of
from tests.export.scripts import compare, execute, is_tidy, make


@pytest.mark.parametrize("batch_first", [True, False])
def test_heads_of_attention_go_in_a_script_too(batch_first):
    model, data = NETS["transformer"]()
    model.block.self_attn.batch_first = batch_first
    run, initial = make(model, data, epochs=3, batch_size=20, dropout=0.2)
    run.step(4)
    small = run.change(Shrink(amount=0.5))
    assert small.model.block.self_attn.num_heads == 1
    small.start()
    small.wait()
    text = small.to_python()
    assert compare(small, execute(text, initial, data), initial) == 0
    assert is_tidy(text)


@pytest.mark.parametrize("edits", [(Widen("0", by=5), Deepen("1")), (Factorize(rank=2), Merge(distance=1.3))])
def test_weights_are_laid_out_anew_after_an_edit(edits):
    run, initial = run_of("cnn", channels_last=True, optimizer="sgd", momentum=0.9)
    run.step(6)
    first = run.change(edits[0])
    first.step(5)
    first.set(channels_last=False)
    first.step(1)
    first.set(channels_last=True)
    second = first.change(edits[1])
    assert any(not weight.is_contiguous() for weight in second.model.parameters())
    second.step(5)
    hold(second, initial, "cnn")


def in_groups(model):
    return torch.optim.AdamW([{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2:].parameters()}])


def test_techniques_act_on_new_weights_of_parameter_groups():
    model = model_of("mlp")
    run, initial = make(model, DATA["mlp"], epochs=3, batch_size=10, clip_norm=0.1, optimizer=in_groups(model))
    run.step(5)
    deep = run.change(Deepen("0"))
    deep.step(3)
    wide = deep.change(Widen("2", by=3))
    wide.step(3)
    hold(wide, initial, "mlp", tidy=True)


CURVED = {
    "lbfgs": lambda model: "lbfgs",
    "newton": lambda model: "newton",
    "own": lambda model: torch.optim.LBFGS(model.parameters(), lr=0.5),
}


@pytest.mark.parametrize("optimizer", CURVED)
def test_what_is_remembered_of_all_weights_together_is_forgotten(optimizer):
    model = model_of("mlp")
    given = {"epochs": 14, "batch_size": 10, "weight_decay": 0.01, "optimizer": CURVED[optimizer](model)}
    run, initial = make(model, DATA["mlp"], DATA["mlp"], **given)
    run.step(5)
    deep = run.change(Deepen("0"))
    before = [weight.clone() for weight in deep.model[0].parameters()]
    deep.step(2)
    assert not any(map(torch.equal, before, deep.model[0].parameters()))  # those that came train too
    deep.edit(Widen("2", by=3))
    deep.step(3)
    hold(deep, initial, "mlp", tidy=True)


def test_an_optimizer_of_all_weights_swapped_in_after_an_edit_has_their_order():
    run, initial = run_of("mlp", clip_norm=0.0, epochs=14)
    run.step(5)
    deep = run.change(Deepen("0"))
    deep.step(2)
    deep.set(optimizer="lbfgs", weight_decay=0.01)
    deep.step(3)
    deep.edit(Deepen("0"))
    deep.step(1)
    hold(deep, initial, "mlp", tidy=True)


GRADUAL = {"sparsity": 0.5, "sparsity_begin": 0.1, "sparsity_end": 0.9, "sparsity_every": 2}
BY_GRADIENT = {"sparsity": 0.5, "sparsity_method": "gradient", "sparsity_every": 3, "sparsity_regrow": False}
GOES_ON = {  # a model and an edit; what acts before it, what is changed with it, and what later
    "sparsity comes": ("mlp", Widen("0", by=5), {}, {}, {"sparsity": 0.5}),
    "sparsity": ("mlp", Shrink(amount=0.3), {"sparsity": 0.5}, {"sparsity": 0.3}, {"sparsity": 0.1}),
    "by gradient": ("mlp", Shrink(amount=0.3), BY_GRADIENT, {"sparsity": 0.3}, {"sparsity": 0.6}),
    "neurons": ("cnn", Shrink(), {"sparsity": 0.5, "sparsity_pattern": "neurons"}, {"sparsity": 0}, {"sparsity": 0.4}),
    "gradual": ("mlp", Factorize(rank=2), GRADUAL, {"sparsity": 0.3}, {"sparsity": 0.2}),
    "stays": ("mlp", Deepen("0"), {"sparsity": 0.5, "sparsity_regrow": False}, {"sparsity": 0}, {"sparsity": 0.8}),
    "bits": ("mlp", Widen("0", by=5), {"weight_bits": 4}, {"weight_bits": 0}, {"weight_bits": 3}),
    "steps": ("mlp", Deepen("0"), {}, {}, {"weight_bits": 4, "step_size_rate": 0.01}),
    "activations": ("mlp", Widen("0", by=5), {}, {}, {"activation_bits": 6}),
    "codebook": ("mlp", Widen("0", by=5), {}, {}, {"codebook": 4}),
    "bits end": ("cnn", Shrink(amount=0.5), {"weight_bits": 4}, {"weight_bits": 0}, {"weight_bits": 3}),
    "codebook ends": ("cnn", Widen("0", by=2), {"codebook": 8}, {"codebook": 0}, {"codebook": 4}),
    "inputs of few bits": ("cnn", Shrink(amount=0.5), {"activation_bits": 4}, {}, {"activation_bits": 3}),
    "group lasso": ("mlp", Shrink(amount=0.4), {"group_lasso": 0.01}, {}, {"group_lasso": 0.1}),
}


@pytest.mark.parametrize("kind", GOES_ON)
def test_a_technique_that_is_told_of_other_weights_acts_on_them(kind):
    name, edit, before, along, later = GOES_ON[kind]
    run, initial = run_of(name, epochs=6, early_stopping=True, patience=9, **before)
    run.step(6)
    changed = run.change(edit, **along)
    changed.step(5)
    changed.set(**later)
    changed.start()
    changed.wait()
    hold(changed, initial, name, tidy=True)


class Mean(nbopt.Technique):
    """Take the weights a part of the way to their running mean."""

    pull = nbopt.Float(0.0, low=0.01, high=1.0, zero=True, ge=0.0, label="Pull", group="Mean")
    memory = ("means",)
    means = ()

    @property
    def acts(self):
        return self.pull > 0

    def train(self, weights):
        self.weights, self.means = weights, []

    def after_step(self, loss):
        if not len(self.means):
            self.means = [w.detach().clone() for w in self.weights]
        for w, mean in zip(self.weights, self.means, strict=True):
            mean.lerp_(w.detach(), 0.5)
            w.data.lerp_(mean, self.pull)


def test_a_technique_of_the_users_own_is_told_too():
    run, initial = run_of("mlp", techniques=[Mean], pull=0.1)
    run.step(6)
    deep = run.change(Deepen("0"))
    deep.step(6)
    hold(deep, initial, "mlp", tidy=True)


@pytest.mark.parametrize(("before", "name", "value"), [({"sparsity": 0.5}, "sparsity", 0.7), ({}, "weight_bits", 3)])
def test_weights_that_an_edit_went_on_with_before_a_step_used_them_are_not_a_scripts(before, name, value):
    run, initial = run_of("mlp", **before)
    run.step(6)
    run.set(**{name: value})
    wide = run.change(Widen("0", by=4), **{name: 0})
    wide.step(2)
    with pytest.raises(ValueError, match=rf"in step 6 .*: {name} was set in the same step, before it; do a step in"):
        wide.to_python()
    run.step(1)
    wide = run.change(Widen("0", by=4), **{name: 0})
    wide.step(2)
    hold(wide, initial, "mlp")
