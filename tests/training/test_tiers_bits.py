"""Weights of few bits in compiled steps: bits are numbers there, so that others cost no compiling; autocast is not."""

import pytest
import torch

import nbopt
from tests.training.tiered import CLOSE, batch_norm, only_compiled, pull, switches


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"bits_by_channel": False},
        {"bits_symmetric": False},
        {"bits_symmetric": False, "bits_by_channel": False, "sparsity": 0.5},
        {"bits_layers": "*, 5=3", "sparsity": 0.3},
    ],
    ids=str,
)
def test_bits_are_the_same_on_both_tiers_and_others_are_only_numbers(make_tiered, compiled, weights, settings):
    runs = []
    for tier in ("compiled", "eager"):
        run = make_tiered(batch_norm(), optimizer="adam", tier=tier, lr=0.01, weight_bits=8, **settings)
        for bits in (4, 2, 6, 8):
            pull(run, run.step_count + 15)
            run.set(weight_bits=bits)
        pull(run, run.step_count + 15)
        runs.append(run)
    ours, eager = runs
    assert switches(ours) == [(2, 0, compiled.steps)]
    assert len(compiled) == 1
    torch.testing.assert_close(weights(ours), weights(eager), rtol=1e-4, atol=1e-5)
    assert ours.history["loss"][1].tolist() == pytest.approx(eager.history["loss"][1].tolist(), rel=1e-4, abs=1e-5)


def test_a_frozen_weight_has_few_bits_in_compiled_steps_too(make_tiered, mlp, compiled, weights):
    runs = []
    for tier in ("compiled", "eager"):
        model = mlp()
        model[0].weight.requires_grad_(False)
        run = make_tiered(model, tier=tier, weight_bits=2)
        pull(run, 30)
        runs.append(run)
    assert switches(runs[0])
    torch.testing.assert_close(*map(weights, runs), rtol=1e-5, atol=1e-6)


def test_bits_moved_live_off_and_on_are_replayed_bit_for_bit(make_tiered, compiled, weights):
    run = make_tiered(val=0.2)
    for bits in (8, 3, 0, 5, 8):
        run.set(weight_bits=bits)
        run.step(25)
    run.rewind(run.step_count - 7)
    run.set(bits_symmetric=False)
    run.step(25)
    assert len(compiled) == 3  # off and another kind of grid are other code; back on, there is some already
    assert {steps for _step, _before, steps in switches(run)} == {0, compiled.steps}
    again = run.replay()
    again.wait(60)
    assert again.exact
    assert torch.equal(weights(again), weights(run))


def test_a_stored_run_of_few_bits_goes_on_in_compiled_steps(make_tiered, compiled, mlp, blobs, weights, tmp_path):
    run = make_tiered(store=tmp_path, weight_bits=8)
    run.step(30)
    run.set(weight_bits=4)
    run.step(12)
    run.pause()
    run.recorder.close()
    opened = nbopt.open(run.id, mlp(), blobs, store=tmp_path)
    assert torch.equal(weights(opened), weights(run))
    assert opened.training.tiers.place == run.training.tiers.place
    for one in (run, opened):
        one.step(20)
    assert torch.equal(weights(opened), weights(run))
    assert compiled.steps in {steps for _step, _before, steps in switches(opened)}


def test_the_script_of_a_compiled_run_of_few_bits_is_the_run(make_tiered, compiled, mlp, blobs, weights):
    run = make_tiered(mlp(), val=blobs, epochs=4, weight_bits=8)
    run.step(20)
    run.set(weight_bits=3)
    run.fit()
    assert switches(run)
    model, scope = mlp(), {}
    exec(run.to_python(), scope)  # our own text
    scope["train"](model, blobs, blobs)
    expected = torch.cat([value.flatten() for value in model.state_dict().values()])
    torch.testing.assert_close(weights(run), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"step_size_rate": 0.1}, "step_size_rate: learned steps follow from gradients"),
        ({"fold_batch_norm": True, "bits_by_channel": False}, "fold_batch_norm: grids follow from batch norms"),
    ],
)
def test_grids_that_follow_from_more_than_weights_are_not_compiled(make_tiered, compiled, settings, words):
    run = make_tiered(batch_norm(), weight_bits=4, **settings)
    pull(run, 10)
    assert not switches(run)
    assert run.training.tiers.reason == words


@only_compiled
def test_steps_inside_of_a_mode_of_torch_are_not_compiled(make_tiered, compiled, weights):
    runs = []
    for tier in ("compiled", "eager"):
        run = make_tiered(tier=tier)
        pull(run, 15)
        with torch.autocast("cpu", torch.bfloat16):
            pull(run, 30)
        runs.append(run)
    ours, eager = runs
    assert ours.training.tiers.reason == 'torch.autocast("cpu", torch.bfloat16) is on'
    assert [steps for _step, _before, steps in switches(ours)] == [1, 0]
    torch.testing.assert_close(weights(ours), weights(eager), rtol=1e-3, atol=CLOSE["bfloat16"])
    pull(ours, 45)
    assert ours.training.tiers.steps == 1
