"""The script of a run whose model got another structure: the edit in plain PyTorch, to the same weights."""

import pytest
import torch
from torch import nn

from nbopt.edits import Deepen, Factorize, Fuse, Merge, Share, Shrink, Widen
from tests.export.edited import DATA, hold, model_of, run_of
from tests.export.scripts import execute, make

RELU = {"mlp": "3", "cnn": "1"}

EDITS = {
    "widen": lambda name: (Widen("0", by=5), Shrink(amount=0.25, layers="0")),
    "deepen": lambda name: (Deepen("0"), Deepen(RELU[name])),
    "factorize": lambda name: (Factorize(rank=2), Deepen(RELU[name])),
    "share": lambda name: (Share("*", clusters=8), Deepen(RELU[name])),
    "merge": lambda name: (Merge(distance=1.3), Widen("0", by=2)),
    "shrink": lambda name: (Shrink(amount=0.5), Widen("0", by=2)),
    "fuse": lambda name: (Fuse(model_of(name, 1)), Widen("0", by=2)),
    "join": lambda name: (Fuse(model_of(name, 1), "features", 0.25), Deepen(RELU[name])),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("name", DATA)
def test_a_script_makes_edits_and_ends_with_the_same_weights(name, edit):
    first, second = EDITS[edit](name)
    run, initial = run_of(name, early_stopping=True, patience=9)
    run.step(6)
    changed = run.change(first)
    changed.step(5)
    changed.edit(second)
    changed.start()
    changed.wait()
    hold(changed, initial, name, name == "mlp", **({"other": first.other} if isinstance(first, Fuse) else {}))


def test_a_script_goes_on_with_the_weights_that_pruning_made():
    run, initial = run_of("mlp", sparsity=0.5, sparsity_pattern="neurons", optimizer="sgd", momentum=0.9)
    run.step(6)
    small = run.change(Shrink(), sparsity=0.0)
    assert small.model[0].out_features < 16
    small.step(7)
    hold(small, initial, "mlp")


OPTIMIZERS = {
    "adagrad": lambda model: "adagrad",
    "groups": lambda model: torch.optim.AdamW(
        [
            {"params": list(model[0].parameters()), "lr": 0.1},
            {"params": [*model[2].parameters(), *model[4].parameters()]},
        ]
    ),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_new_weights_train_in_the_group_of_what_they_replace(optimizer):
    model = model_of("mlp")
    given = OPTIMIZERS[optimizer](model)
    run, initial = make(model, DATA["mlp"], DATA["mlp"], epochs=3, batch_size=10, optimizer=given)
    run.step(5)
    deep = run.change(Deepen("0"))
    deep.edit(Factorize(rank=1, layers="2"))
    deep.step(5)
    hold(deep, initial, "mlp")


def test_an_edit_made_where_the_run_was_left_is_made_at_the_end():
    run, initial = run_of("mlp", clip_norm=0.0)
    run.step(5)
    hold(run.change(Share(["0"], clusters=4)), initial, "mlp")


def test_layers_that_share_are_one_in_a_script_too():
    layers = [nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Linear(8, 3)]
    run, initial = make(nn.Sequential(*layers), DATA["mlp"], epochs=2, batch_size=10)
    run.step(3)
    tied = run.change(Share(["2", "4"]))
    tied.step(4)
    execute(tied.to_python(), initial, DATA["mlp"])
    assert initial[2] is initial[4]
    assert all(map(torch.equal, tied.model.state_dict().values(), initial.state_dict().values()))
