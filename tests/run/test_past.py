"""A run's past: snapshots, rewind, branch, replay."""

from __future__ import annotations

import random
import threading
from contextlib import suppress
from itertools import pairwise

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from nbopt import Run, RunState
from nbopt.errors import InvalidHyperparam
from nbopt.hyperparams import Choice, Flag, Float, Int, Text
from nbopt.record import snapshots
from nbopt.techniques.initialization import Initialization
from tests.tries import tries

SECONDS = 60
CALM = {"tier", "recover", "micro_batch"}  # what these schedules leave alone


def values_of(spec, chance):
    """Draw a value a control offers, or the true zero."""
    if isinstance(spec, Choice):
        return chance.choice(spec.options)
    if isinstance(spec, Flag):
        return chance.random() < 0.5
    if isinstance(spec, Text):
        return spec.default
    if isinstance(spec, Int):
        return chance.randint(spec.low, min(spec.high, 60))
    assert isinstance(spec, Float)
    if spec.zero and chance.random() < 0.3:
        return 0.0
    return chance.uniform(spec.low, min(spec.high, 0.1) if spec.log else spec.high)


def wander(run, chance, moves):
    """Move every hyperparameter at random between random numbers of steps, with pauses, rewinds and ends."""
    for _move in range(moves):
        fixed = CALM | Initialization.declared().keys() if run.step_count else CALM
        names = [name for name in run.hyperparams if name not in fixed]
        for name in chance.sample(names, chance.randint(0, 3)):
            with suppress(InvalidHyperparam):  # not all go together
                run.set(**{name: values_of(run.hyperparams.spec(name), chance)})
        what = chance.random()
        if what < 0.15 and run.step_count:
            run.rewind(chance.choice([chance.randint(0, run.step_count), "best"]) if run.snapshots.best else 0)
        elif what < 0.25:
            run.set(epochs=run.epoch + 1)
            try:
                run.start()
                run.wait(SECONDS)
            except RuntimeError:
                run.set(epochs=run.epoch + 2, steps=0)  # it was complete
        else:
            run.set(epochs=max(run.hyperparams["epochs"], run.epoch + 2), steps=0)
            run.step(chance.randint(1, 9))


@tries(30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_any_schedule_of_changes_pauses_and_rewinds_replays_bit_for_bit(mlp, blobs, weights, seed):
    chance = random.Random(seed)
    run = Run(mlp(dropout=0.3), blobs, val=0.2, metrics=["accuracy"], seed=seed % 1000, recover=False, batch_size=10)
    wander(run, chance, chance.randint(1, 6))
    again = run.replay()
    if run.step_count:
        again.wait(SECONDS)
    assert torch.equal(weights(run), weights(again))
    assert dict(run.hyperparams) == dict(again.hyperparams)
    assert {name: run.history[name][1].tolist() for name in run.history} == {
        name: again.history[name][1].tolist() for name in again.history
    }
    assert again.step_count == run.step_count


def test_a_rewind_is_exact_at_any_step_and_the_run_goes_on_as_it_did(make_run, weights):
    run = make_run(val=0.2, batch_size=10, epochs=10**6, optimizer="adam")
    passed = {}
    for step in range(1, 26):
        run.step()
        passed[step] = weights(run)
        if step == 12:
            run.set(lr=0.05, optimizer="sgd", momentum=0.9)
    for step in (25, 13, 12, 3, 1):
        run.rewind(step)
        assert run.state is RunState.PAUSED
        assert run.step_count == step
        assert torch.equal(weights(run), passed[step])
        assert len(run.history["loss"][1]) == step
        assert run.hyperparams["optimizer"] == ("sgd" if step > 12 else "adam")
    run.step(11)
    assert torch.equal(weights(run), passed[12])
    run.set(lr=0.05, optimizer="sgd", momentum=0.9)
    run.step(13)
    assert torch.equal(weights(run), passed[25])


def test_a_rewind_to_the_best_gives_its_weights_back(make_run, weights):
    run = make_run(val=0.2, batch_size=10, epochs=8, lr=0.05)
    run.start()
    run.wait(SECONDS)
    best = run.stopping.best_step
    run.rewind("best")
    assert run.step_count == best
    assert run.history.last("val_loss") == run.history["val_loss"][1].min() == run.stopping.best


@pytest.mark.parametrize("to", [-1, 10**6, "bets", 1.5, None, True])
def test_a_rewind_to_where_the_run_has_not_been_is_refused(make_run, to):
    run = make_run(epochs=9)
    run.step(3)
    with pytest.raises(InvalidHyperparam, match="a step from 0 to 3"):
        run.rewind(to)
    assert run.step_count == 3


def test_a_branch_has_its_own_model_and_leaves_the_run_alone(make_run, weights):
    run = make_run(val=0.2, batch_size=10, epochs=5)
    run.set(weight_decay=0.01)
    run.step(20)
    before, entries = weights(run), len(run.journal)
    branch = run.branch(at=11, lr=0.1, batch_size=7)
    assert (branch.state, branch.step_count) == (RunState.PAUSED, 11)
    assert (branch.hyperparams["lr"], branch.hyperparams["batch_size"]) == (0.1, 7)
    assert branch.hyperparams["weight_decay"] == 0.01
    assert len(branch.history["loss"][1]) == 11
    branch.resume()
    branch.wait(SECONDS)
    assert branch.model is not run.model
    assert torch.equal(weights(run), before)
    assert (run.step_count, len(run.journal), run.hyperparams["lr"]) == (20, entries, 1e-3)
    again = branch.replay()
    again.wait(SECONDS)
    assert torch.equal(weights(again), weights(branch))


def test_a_branch_without_changes_ends_where_the_run_ends(make_run, weights):
    run = make_run(val=0.2, batch_size=10, epochs=5, optimizer="rmsprop")
    run.start()
    run.wait(SECONDS)
    branch = run.branch(at=7)
    branch.resume()
    branch.wait(SECONDS)
    assert torch.equal(weights(branch), weights(run))


def test_a_user_s_own_optimizer_is_copied_for_a_replay(mlp, blobs, weights):
    model = mlp()
    own = torch.optim.SGD([{"params": model[0].parameters(), "lr": 0.1}, {"params": model[3].parameters(), "lr": 0.01}])
    run = Run(model, blobs, optimizer=own, epochs=3, batch_size=10)
    run.step(8)
    run.set(lr=0.2)
    run.step(5)
    again = run.replay()
    again.wait(SECONDS)
    assert torch.equal(weights(again), weights(run))


def test_the_shelf_keeps_first_best_and_newest_and_thins_out_the_far_past(make_run):
    run = make_run(val=0.2, batch_size=10, epochs=10**6)
    run.step()
    run.snapshots.budget = 60 * run.snapshots.nbytes // len(run.snapshots)
    for step in range(120):
        run.set(lr=1e-3 + step * 1e-6)  # each change is preceded by a snapshot
        run.step()
    steps = [snapshot.step for snapshot in run.snapshots]
    assert run.snapshots.nbytes <= run.snapshots.budget
    assert steps[0] == 0 and steps[-1] >= 120
    assert run.snapshots.best in list(run.snapshots)
    gaps = [later - earlier for earlier, later in pairwise(steps)]
    assert min(gaps[-3:]) < max(gaps[:3])


def test_a_run_cannot_go_back_in_the_middle_of_its_own_step(make_run):
    def loss(output, target):
        run.rewind(0)

    run = make_run(loss=loss)
    with pytest.raises(RuntimeError, match="middle of its own step"):
        run.fit()


def test_going_back_withstands_those_who_let_it_go_on_meanwhile(make_run):
    run = make_run(epochs=10**6)
    run.step(20)
    done = threading.Event()

    def resume():
        while not done.is_set():
            run.resume(wait=False)

    other = threading.Thread(target=resume)
    other.start()
    for to in (17, 11, 5, 3):
        run.rewind(to)
    done.set()
    other.join()
    run.pause()
    again = run.replay()
    again.wait(60)
    assert all(torch.equal(a, b) for a, b in zip(run.model.parameters(), again.model.parameters(), strict=True))


def test_a_small_models_snapshots_are_bounded_in_number_and_count_what_holds_them(make_run, monkeypatch):
    monkeypatch.setattr(snapshots, "MOST", 30)
    run = make_run(val=0.2, batch_size=10, epochs=10**6)
    run.step()
    sizes = []
    for step in range(120):
        run.set(lr=1e-3 + step * 1e-6)
        run.step()
        sizes.append(run.snapshots.nbytes)
    assert len(run.snapshots) == 30
    held = {id(tensor): tensor for snapshot in run.snapshots for tensor in snapshot.tensors.values()}
    numbers = sum(tensor.nbytes for tensor in held.values())
    assert run.snapshots.nbytes == numbers + 512 * len(held) + 8192 * 30
    assert max(sizes) < 1.3 * sizes[40]
    run.rewind(60)
    again = [snapshot for snapshot in run.snapshots if snapshot.step <= 60]
    assert list(run.snapshots) == again and run.snapshots.nbytes < sizes[40]
