"""The script of a run whose model got another structure: the edit in plain PyTorch, to the same weights."""

import pytest
import torch
from torch import nn

from nbopt.edits import Deepen, Factorize, Fuse, Merge, Share, Shrink, Widen
from tests.edits.nets import NETS, cnn, mlp
from tests.export.scripts import compare, execute, is_tidy, make

Y = torch.arange(48) % 3
DATA = {
    "mlp": (torch.randn(48, 4, generator=torch.Generator().manual_seed(0)) + Y[:, None], Y),
    "cnn": (torch.randn(48, 1, 8, 8, generator=torch.Generator().manual_seed(0)) + Y.reshape(-1, 1, 1, 1), Y),
}
RELU = {"mlp": "3", "cnn": "1"}


def model_of(name, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return {"mlp": mlp, "cnn": cnn}[name]()


def run_of(name, **settings):
    given = {"epochs": 4, "batch_size": 10, "metrics": ["accuracy"], "clip_norm": 0.5}
    return make(model_of(name), DATA[name], DATA[name], **{**given, **settings})


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


def hold(run, initial, name, tidy=False, **given):
    """Hold that the script of a run ends with its weights, to the bit."""
    text = run.to_python()
    measured = execute(text, initial, DATA[name], DATA[name], **given)
    assert run.model.state_dict().keys() == initial.state_dict().keys()
    assert compare(run, measured, initial) == 0
    assert not tidy or is_tidy(text)


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


REFUSED = {
    "normed": ("batch norm", Fuse, {}, "batch normalization is measured anew on training data"),
    "pruned": ("mlp", Widen, {}, "sparsity, which acts from then on, is told of other weights"),
    "lbfgs": ("mlp", Widen, {"optimizer": "lbfgs"}, "what lbfgs remembers is of all weights together"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_script_cannot_hold_of_an_edit_is_said(kind):
    name, edit, settings, words = REFUSED[kind]
    model, data = NETS[name]()
    run, _initial = make(model, data, epochs=2, batch_size=20, **settings)
    run.step(2)
    changed = run.change(Fuse(NETS[name](1)[0]) if edit is Fuse else Widen("0", by=2))
    if kind == "pruned":
        changed.set(sparsity=0.5)
    changed.step(1)
    with pytest.raises(ValueError, match=rf"in step 2 the model got another shape \(.*\).*{words}"):
        changed.to_python()
    changed.rewind(2)
    assert "def train(" in changed.to_python()
