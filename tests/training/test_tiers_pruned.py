"""Masks enter compiled steps as tensors: new ones cost no compiling, and a call ends where others are due."""

import pytest
import torch

from tests.training.tiered import STEPS, batch_norm, pull, switches


@pytest.mark.parametrize("kind", ["mlp", "batch norm"])
def test_pruned_steps_are_the_same_on_both_tiers(make_tiered, mlp, compiled, weights, kind):
    runs = []
    for tier in ("compiled", "eager"):
        model = mlp(dropout=0.3) if kind == "mlp" else batch_norm()
        settings = {"sparsity": 0.5, "sparsity_end": 0.5, "sparsity_every": 7, "epochs": 8}
        run = make_tiered(model, optimizer="adam", tier=tier, lr=0.01, **settings)
        pull(run, 45)
        for change in ({"sparsity": 0.8}, {"sparsity_method": "random"}, {"sparsity_regrow": False}):
            run.set(**change)
            pull(run, run.step_count + 15)
        runs.append(run)
    ours, eager = runs
    assert switches(ours) == [(2, 0, STEPS)]
    assert len(compiled) == 1
    torch.testing.assert_close(weights(ours), weights(eager), rtol=1e-4, atol=1e-5)
    assert ours.history["loss"][1].tolist() == pytest.approx(eager.history["loss"][1].tolist(), rel=1e-4, abs=1e-5)
    ours.set(sparsity_method="gradient")
    pull(ours, ours.step_count + 3)
    assert ours.training.tiers.reason == "pruning looks at gradients"


@pytest.mark.parametrize("tier", ["compiled", "eager"])
def test_a_share_that_grows_is_all_there_once_it_has_grown_and_not_only_at_the_next_look(make_tiered, mlp, tier):
    run = make_tiered(mlp(), tier=tier, sparsity=0.5, sparsity_end=0.5, sparsity_every=100, steps=40)
    pull(run, 20)
    assert dict(run.technique_facts)["pruned"] == "0.0%"
    pull(run, 24)
    assert dict(run.technique_facts)["pruned"] == "50.0%"
    masks = run.training.acting.factors()
    assert sum(int(mask.sum()) for mask in masks.values()) * 2 == sum(mask.numel() for mask in masks.values())
