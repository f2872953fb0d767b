"""Masks enter compiled steps as tensors: new ones cost no compiling, and a call ends where others are due."""

import pytest
import torch

from tests.training.tiered import batch_norm, only_compiled, pull, switches


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
    assert switches(ours) == [(2, 0, compiled.steps)]
    assert len(compiled) == 1
    torch.testing.assert_close(weights(ours), weights(eager), rtol=1e-4, atol=1e-5)
    assert ours.history["loss"][1].tolist() == pytest.approx(eager.history["loss"][1].tolist(), rel=1e-4, abs=1e-5)
    ours.set(sparsity_method="gradient")
    pull(ours, ours.step_count + 3)
    assert ours.training.tiers.reason == "pruning looks at gradients"


@only_compiled
@pytest.mark.parametrize(
    ("settings", "ends"),
    [
        ({}, [64, 68, 70, 74, 75]),
        ({"sparsity_regrow": False}, [64, 68, 72, 75]),
        ({"sparsity_method": "random"}, [64, 68, 72, 75]),
    ],
)
def test_looks_cut_a_row_only_where_masks_may_change_and_no_step_is_left_for_the_eager_tier(
    make_tiered, mlp, compiled, monkeypatch, settings, ends
):
    run = make_tiered(mlp(), sparsity=0.5, sparsity_every=10, **settings)
    pull(run, 60)
    eager = []
    monkeypatch.setattr(run.training.stepper, "_step", lambda: eager.append(run.step_count))
    assert pull(run, 75) == ends
    assert not eager


@only_compiled
@pytest.mark.parametrize("longest", [1, 3, 7])
def test_how_many_steps_are_done_in_a_row_changes_no_bit(make_tiered, compiled, weights, monkeypatch, longest):
    settings = {"sparsity": 0.5, "sparsity_every": 7, "schedule": "cosine", "epochs": 9, "metrics": ["accuracy"]}
    runs = []
    for most in (4, longest):
        monkeypatch.setattr("nbopt.training.step.mode._most_in_row", lambda seconds, most=most: most)
        run = make_tiered(batch_norm(), optimizer="adam", lr=0.01, **settings)
        pull(run, 75)
        run.training.flush()
        runs.append(run)
    assert torch.equal(*map(weights, runs))
    for name in ("loss", "lr", "accuracy"):
        assert runs[0].history[name][1].tolist() == runs[1].history[name][1].tolist()


@pytest.mark.parametrize("tier", ["compiled", "eager"])
def test_a_share_that_grows_is_all_there_once_it_has_grown_and_not_only_at_the_next_look(make_tiered, mlp, tier):
    run = make_tiered(mlp(), tier=tier, sparsity=0.5, sparsity_end=0.5, sparsity_every=100, steps=40)
    pull(run, 20)
    assert dict(run.technique_facts)["pruned"] == "0.0%"
    pull(run, 24)
    assert dict(run.technique_facts)["pruned"] == "50.0%"
    masks = run.training.acting.factors()
    assert sum(int(mask.sum()) for mask in masks.values()) * 2 == sum(mask.numel() for mask in masks.values())
