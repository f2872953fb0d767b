"""What a run does on its tiers, a replay repeats bit for bit; so do rewinds, branches, stored runs and scripts."""

import random

import pytest
import torch

import nbopt
from tests.training.tiered import STEPS, batch_norm, only_compiled, pull, switches


def test_another_precision_is_compiled_anew_and_replayed(make_tiered, compiled, weights):
    run = make_tiered()
    for precision in ("bfloat16", "float16", "bfloat16"):
        pull(run, run.step_count + 30)
        run.set(precision=precision)
    pull(run, run.step_count + 30)
    # Back in bfloat16 there is code for it already.
    assert [steps for _step, _before, steps in switches(run)] == [compiled.steps, 0, compiled.steps, 0, compiled.steps]
    assert len(compiled) == 2
    again = run.replay()
    again.wait(60)
    assert switches(again) == switches(run)
    assert torch.equal(weights(again), weights(run))


def test_a_replay_repeats_the_tiers_bit_for_bit(make_tiered, compiled, weights):
    run = make_tiered(val=0.2)
    run.step(30)
    run.set(lr=0.05)
    for count in (3, 9, 1, 1, 20):
        run.step(count)
    run.set(batch_size=6)
    run.step(25)
    run.set(tier="eager")
    run.step(5)
    again = run.replay()
    again.wait(60)
    assert {steps for _step, _before, steps in switches(run)} == {0, compiled.steps}
    assert switches(again) == switches(run)
    assert torch.equal(weights(again), weights(run))
    assert again.history["loss"][1].tolist() == run.history["loss"][1].tolist()


VALUES = {
    "lr": [0.001, 0.02],
    "l1": [0.0, 0.01],
    "weight_decay": [0.0, 0.1],
    "dropout": [0.0, 0.6],
    "momentum": [0.0, 0.9],
    "nesterov": [False, True],
    "clip_norm": [0.0, 1.0],
    "batch_size": [4, 6, 12],
    "precision": ["float32", "bfloat16", "float16"],
    "weight_bits": [0, 3, 8],
    "optimizer": ["sgd", "adam", "adamw", "rmsprop"],
    "tier": ["eager", "compiled"],
}


@pytest.mark.parametrize(
    ("compiled", "seed"),
    [(kind, seed) for seed, kind in enumerate(["compiled", "captured"] * 3)],
    indirect=["compiled"],
)
def test_whatever_is_done_to_a_run_a_replay_repeats_it_bit_for_bit(make_tiered, compiled, weights, seed):
    choice = random.Random(seed)
    run = make_tiered(batch_norm(), lr=0.01, val=choice.choice([None, 0.2]))
    for _round in range(14):
        act = choice.random()
        if act < 0.6:
            name = choice.choice(list(VALUES))
            run.set(**{name: choice.choice(VALUES[name])})
        elif act < 0.8 and run.step_count:
            run.rewind(choice.randrange(run.step_count))
        elif run.step_count:
            run = run.branch(at=choice.randrange(run.step_count))
            run.events()
            run.training.meter.tick(running=True)
        run.step(choice.choice([1, 3, 7, 20, 33]))
    again = run.replay()
    again.wait(60)
    assert torch.equal(weights(again), weights(run))
    assert again.history["loss"][1].tolist() == run.history["loss"][1].tolist()


def test_a_rewind_into_a_call_lands_where_it_should_and_is_replayed(make_tiered, compiled, weights):
    run = make_tiered()
    pull(run, 60)
    snapshots = [run.snapshots.before(k).step for k in range(60)]
    target = next(k for k in range(59, 0, -1) if snapshots[k] not in (k, 0))
    run.rewind(target)
    assert run.step_count == target
    run.step(7)
    again = run.replay()
    again.wait(60)
    assert torch.equal(weights(again), weights(run))


def test_a_branch_goes_on_as_the_run_did(make_tiered, compiled, weights):
    run = make_tiered()
    pull(run, 60)
    at = run.snapshots[-1].step
    twin = run.branch(at=at)
    target = run.step_count + STEPS
    pull(run, target)
    while twin.step_count < run.step_count:
        pull(twin, twin.step_count + 1)
    assert len(compiled) == 1
    torch.testing.assert_close(weights(twin), weights(run), rtol=1e-4, atol=1e-5)


def test_a_stored_run_goes_on_in_the_tier_it_was_on(make_tiered, compiled, mlp, blobs, weights, tmp_path):
    run = make_tiered(store=tmp_path)
    run.step(42)
    run.pause()
    run.recorder.close()
    opened = nbopt.open(run.id, mlp(), blobs, store=tmp_path)
    assert opened.step_count == 42
    assert torch.equal(weights(opened), weights(run))
    assert opened.history["loss"][1].tolist() == run.history["loss"][1].tolist()
    assert opened.training.tiers.place == run.training.tiers.place
    assert compiled.steps in {steps for _step, _before, steps in switches(opened)}


@only_compiled
def test_a_run_of_an_earlier_version_goes_on_with_several_steps_a_call_as_it_was(make_tiered, compiled, weights):
    run = make_tiered()
    run.training.tiers.look = lambda: None  # which would have another tier
    pull(run, 2)
    run.changes.switch({"from": 0, "steps": STEPS, "reason": "compiled, 4 steps a call"})
    assert pull(run, 45)[-6:] == [34, 38, 42, 43, 44, 45]
    again = run.replay()
    again.wait(60)
    assert switches(again) == switches(run) == [(2, 0, STEPS)]
    assert torch.equal(weights(again), weights(run))


def test_the_script_of_a_compiled_run_is_the_run(make_tiered, compiled, mlp, blobs, weights):
    run = make_tiered(mlp(), val=blobs, epochs=4)
    run.fit()
    model, scope = mlp(), {}
    exec(run.to_python(), scope)  # our own text
    scope["train"](model, blobs, blobs)
    expected = torch.cat([value.flatten() for value in model.state_dict().values()])
    torch.testing.assert_close(weights(run), expected, rtol=1e-5, atol=1e-5)
    assert switches(run)
