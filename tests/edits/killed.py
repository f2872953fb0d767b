"""Runs that are edited or compressed: made alike by a process that is killed, and by one that is not."""

import torch

import nbopt
from nbopt.edits import Deepen, Factorize, Fuse, Merge, Share, Shrink, Widen
from tests.edits.nets import NETS

AT, DONE = 3, 5  # steps before the change, and steps in all

EDITS = {
    "widen": Widen("0", by=3),
    "deepen": Deepen("2"),
    "shrink": Shrink(amount=0.5),
    "factorize": Factorize(rank=2),
    "cluster": Share("*", clusters=8),
    "merge": Merge(distance=1.2),
    "merge by activations": Merge(distance=0.9, by="activations"),
    "average": Fuse(NETS["batch norm"](1)[0]),
    "join": Fuse(NETS["batch norm"](1)[0], "features"),
}

PRUNED = {"sparsity": 0.5, "sparsity_every": 2}
SETTINGS = {  # what a run is made with, and what is changed
    "gradual": ({**PRUNED, "sparsity_scope": "layer", "sparsity_begin": 0.1, "sparsity_end": 0.9}, {"sparsity": 0.75}),
    "neurons, none returns": ({**PRUNED, "sparsity_pattern": "neurons", "sparsity_regrow": False}, {"sparsity": 0.7}),
    "random": ({**PRUNED, "sparsity_method": "random"}, {"sparsity": 0.2}),
    "folded": ({"weight_bits": 4, "fold_batch_norm": True, "bits_by_channel": False}, {"weight_bits": 3}),
    "skewed": ({"weight_bits": 3, "bits_symmetric": False}, {"bits_symmetric": True}),
    "learned steps": ({"weight_bits": 2, "step_size_rate": 0.1}, {"step_size_rate": 0.01}),
    "codebook, activations": ({"codebook": 4, "activation_bits": 5}, {"codebook": 8, "activation_bits": 3}),
    "group lasso": ({"group_lasso": 0.01}, {"group_lasso": 0.1}),
}


def make(name, store):
    """Return a run some steps after it was changed."""
    model, data = NETS["batch norm"]()
    before, change = SETTINGS.get(name, ({}, {}))
    run = nbopt.Run(
        model, data, data, epochs=10**6, batch_size=20, lr=0.01, device="cpu", recover=False, store=store, **before
    )
    run.step(AT)
    if name in EDITS:
        run = run.change(EDITS[name])
    else:
        run.set(**change)
    run.step(DONE - AT)
    return run


def main(store):
    """Make all of them, and tell what they are called."""
    torch.set_num_threads(1)
    for name in (*EDITS, *SETTINGS):
        print(make(name, store).id, flush=True)
