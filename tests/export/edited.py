"""Runs whose models get another structure, small ones on data of their own, and what their scripts end with."""

import torch

from tests.edits.nets import cnn, mlp
from tests.export.scripts import compare, execute, is_tidy, make

Y = torch.arange(48) % 3
DATA = {
    "mlp": (torch.randn(48, 4, generator=torch.Generator().manual_seed(0)) + Y[:, None], Y),
    "cnn": (torch.randn(48, 1, 8, 8, generator=torch.Generator().manual_seed(0)) + Y.reshape(-1, 1, 1, 1), Y),
}


def model_of(name, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return {"mlp": mlp, "cnn": cnn}[name]()


def run_of(name, **settings):
    given = {"epochs": 4, "batch_size": 10, "metrics": ["accuracy"], "clip_norm": 0.5}
    return make(model_of(name), DATA[name], DATA[name], **{**given, **settings})


def hold(run, initial, name, tidy=False, **given):
    """Hold that the script of a run ends with its weights, to the bit."""
    text = run.to_python()
    measured = execute(text, initial, DATA[name], DATA[name], **given)
    assert run.model.state_dict().keys() == initial.state_dict().keys()
    assert compare(run, measured, initial) == 0
    assert not tidy or is_tidy(text)
