"""A script holds what the run used, and nothing else."""

import ast
import threading

from torch import nn

from nbopt.techniques.catalogue import PARTS
from nbopt.techniques.initialization import Initialization
from nbopt.techniques.losses.choice import LOSSES
from nbopt.techniques.optimizers.standard import OPTIMIZERS
from tests.export import scripts
from tests.export.scripts import is_tidy

make, follow, check = scripts.make, scripts.follow, scripts.check


def test_a_plain_run_gives_a_plain_script(mlp, blobs):
    run, _ = make(nn.Sequential(nn.Linear(4, 3)), blobs, blobs, epochs=2, name='"""; raise SystemExit #\\')
    text = follow(run, {}).to_python()
    for word in (
        "SCHEDULE",
        "dropout",
        "l1",
        "micro",
        "OPTIMIZERS",
        "best",
        "waited",
        "METRICS",
        "manual_seed(derive_seed(N",
    ):
        assert word not in text, word
    assert ast.get_docstring(ast.parse(text)).startswith("Train a model as the run")
    assert is_tidy(text)


def test_early_stopping_that_never_acted_is_not_there(mlp, blobs):
    run, _ = make(mlp(), blobs, blobs, epochs=3, patience=50)
    assert "patience" not in follow(run, {}).to_python()


def test_what_no_step_used_is_not_there(mlp, blobs):
    run, _ = make(mlp(), blobs, blobs, epochs=3, batch_size=20)
    text = follow(run, {2: {"momentum": 0.5}, 3: {"recover": False}, 4: {"patience": 9}}).to_python()
    assert "SCHEDULE" not in text


def declared_by(item):
    """Return the hyperparameters of an item of the catalogue of parts."""
    if isinstance(item, type):
        return set(item.declared())
    return {item.name} | {name for kind in item.classes.values() for name in kind.declared()}


def test_scripts_know_every_hyperparameter_loss_and_metric(mlp, blobs):
    run, _ = make(mlp(), blobs)
    of_parts = {"optimizer", "loss", "epochs", "steps", "validate_every", "batch_size", "micro_batch", "dropout", "l1"}
    of_parts |= {"early_stopping", "patience", "min_delta", "recover", "tier"}  # shown as a rewind, or not at all
    of_parts |= {name for item in (*PARTS, Initialization) for name in declared_by(item)}
    of_optimizers = {name for kind in OPTIMIZERS.values() for name in kind.declared()}
    of_losses = {name for kind in LOSSES.values() for name in kind.declared()}
    assert set(run.hyperparams) <= of_parts | of_optimizers | of_losses
    assert all(kind.source for kind in LOSSES.values())


def test_a_run_tells_while_it_trains(mlp, blobs):
    run, _ = make(mlp(), blobs, blobs, epochs=10**9)
    run.start()
    try:
        texts = [run.to_python() for _ in range(5)]
        assert threading.active_count() > 1
    finally:
        run.stop()
    assert all("STEPS_DONE = " in text for text in texts)
