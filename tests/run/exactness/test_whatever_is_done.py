"""Whatever is done to a run, it is told whether it is exact; an exact one is never told otherwise."""

from __future__ import annotations

import random
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from nbopt import Run
from nbopt.run.exactness.recorded import find_places
from tests.run.exactness.telling import SECONDS, jitter, tells
from tests.run.test_past import values_of
from tests.training.tiered import batch_norm
from tests.tries import tries

MOVES = [("lr", [0.001, 0.05]), ("batch_size", [10, 20]), ("dropout", [0.0, 0.4]), ("micro_batch", [0, 4])]
random_settings = tries(15, suppress_health_check=list(HealthCheck))


@random_settings
@given(st.integers(0, 2**32))
def test_whatever_is_done_to_a_run_that_is_not_exact_is_told(mlp, blobs, seed):
    chance = random.Random(seed)
    run = Run(mlp(), blobs, forward=jitter(1e-3), val=chance.choice([None, 0.2]), batch_size=20, store=None)
    run.step(chance.randint(2, 9))
    for _move in range(chance.randint(0, 4)):
        name, values = chance.choice(MOVES[:3])
        run.set(**{name: chance.choice(values)})
        run.step(chance.randint(1, 5))
    what = chance.choice(["rewind", "branch", "replay"])
    target = chance.randrange(run.step_count)
    if what == "replay":
        twin = run.replay()
        twin.wait(SECONDS)
    else:
        twin = run.branch(at=target) if what == "branch" else run
        if what == "rewind":
            run.rewind(target)
        if twin.exact is None:  # just where a snapshot was: the next step is the first that is done again
            changed = {entry.step for entry in twin.journal.effective()} | {
                entry.step for entry in run.journal if entry.kind == "change" and entry.name != "lr"
            }
            twin.step(1)
            if target in changed:
                return
    assert twin.exact is False
    assert len(tells(twin)) == 1


# -- what does not differ is not said


def wander(run, chance, rounds, moves=MOVES):
    """Change, train, go back and branch off at random; return all runs that there were."""
    runs = [run]
    for _round in range(rounds):
        if chance.random() < 0.6:
            name, values = chance.choice(moves)
            run.set(**{name: chance.choice(values)})
        if run.step_count and chance.random() < 0.5:
            target = chance.randrange(run.step_count + 1)
            if chance.random() < 0.3:
                run = run.branch(at=target)
                runs.append(run)
            else:
                run.rewind(target)
        run.set(epochs=run.epoch + 9)
        run.step(chance.randint(1, 9))
    again = run.replay()
    if run.step_count:
        again.wait(SECONDS)
    return [*runs, again]


@random_settings
@given(st.integers(0, 2**32))
def test_an_exact_run_is_never_told_otherwise(mlp, blobs, seed):
    chance = random.Random(seed)
    val = chance.choice([None, 0.2])
    kind = chance.choice(["sgd", "adam", "lbfgs"])
    moves = MOVES if kind != "lbfgs" else MOVES[:1]
    with pytest.MonkeyPatch.context() as patch:
        if chance.random() < 0.3:
            patch.setattr("nbopt.record.history.MOST", chance.choice([20, 32]))  # thinned again and again
        if chance.random() < 0.5:
            patch.setattr("nbopt.training.snapshots.securing.SECONDS", 1e9)
        run = Run(
            mlp(dropout=chance.choice([0.0, 0.3])), blobs, val=val, optimizer=kind, metrics=["accuracy"], batch_size=10,
            recover=False, store=None,
        )  # fmt: skip
        runs = wander(run, chance, chance.randint(2, 7), moves)
    assert [tells(each) for each in runs] == [[]] * len(runs)
    assert runs[-1].exact is True


@tries(8, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32))
def test_whatever_control_is_moved_an_exact_run_is_told_as_exact(mlp, blobs, seed):
    chance = random.Random(seed)
    run = Run(mlp(dropout=0.3), blobs, val=0.2, recover=False, batch_size=10, store=None)
    names = [name for name in run.hyperparams if name not in ("tier", "recover", "initialization", "epochs")]
    for _move in range(4):
        for name in chance.sample(names, 2):
            with suppress(ValueError):  # not all go together, some are for the beginning
                run.set(**{name: values_of(run.hyperparams.spec(name), chance)})
        run.set(epochs=run.epoch + 9)
        run.step(chance.randint(1, 6))
        run.rewind(chance.randint(0, run.step_count))
        run.set(epochs=run.epoch + 9)
        run.step(chance.randint(1, 6))
    assert tells(run) == []


@pytest.mark.parametrize("recover", [True, False])
def test_losses_that_are_no_numbers_are_alike(make_run, blobs, recover):
    x = blobs[0].clone()
    x[::7] = torch.nan
    run = make_run(train=(x, blobs[1]), batch_size=20, recover=recover, val=0.2)
    with suppress(FloatingPointError):
        run.step(12)
    again = run.replay()
    if run.step_count:
        again.wait(SECONDS)
    run.rewind(run.step_count // 2)
    with suppress(FloatingPointError):
        run.step(4)
    assert tells(run) == tells(again) == []


def test_a_run_that_the_guard_led_back_is_exact(make_run):
    run = make_run(batch_size=20, optimizer="sgd", lr=0.1)
    run.step(7)
    run.set(lr=1e9)
    run.step(12)
    assert [entry.name for entry in run.journal if entry.source == "guard"]
    again = run.replay()
    again.wait(SECONDS)
    for target in (run.step_count - 1, 8, 5):
        run.rewind(target)
        run.step(6)
    assert (run.exact, again.exact) == (True, True)


def test_memory_that_ran_out_makes_no_difference(make_run, mlp, blobs, no_snapshots):
    class Narrow(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = mlp()

        def forward(self, x):
            if len(x) > (7 if self.training else 5):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
            return self.inner(x)

    val = DataLoader(TensorDataset(*blobs), batch_sampler=[range(5), range(5, 17), range(17, 22), range(22, 60)])
    run = make_run(Narrow(), batch_size=12, val=val, epochs=40)
    run.step(12)
    assert run.hyperparams["micro_batch"] == 6
    again = run.replay()
    again.wait(SECONDS)
    run.training.snapshots.clear(run.snapshots[0])
    run.rewind(11)
    run.step(9)
    assert (run.exact, again.exact) == (True, True)


@pytest.mark.parametrize(
    ("compiled", "seed"),
    [(kind, seed) for seed, kind in enumerate(["compiled", "captured"] * 4)],
    indirect=["compiled"],
)
def test_compiled_steps_are_exact_but_for_those_done_in_another_way(make_tiered, compiled, seed):
    chance = random.Random(seed)
    run = make_tiered(batch_norm(), lr=0.01, val=chance.choice([None, 0.2]))
    run.step(30)
    runs = [run]
    for _round in range(4):
        if chance.random() < 0.5:
            run.set(lr=chance.choice([0.001, 0.02]))
        run.rewind(chance.randrange(run.step_count))
        run.step(chance.choice([1, 3, 7, 20]))
        if chance.random() < 0.5:
            run = run.branch(at=chance.randrange(run.step_count))
            run.events()
            run.training.meter.tick(running=True)
            run.step(chance.choice([3, 20]))
            runs.append(run)
    again = run.replay()
    again.wait(SECONDS)
    assert again.exact is True
    assert {entry.new["name"] for each in runs for entry in tells(each)} <= {"switch"}


def test_a_rewind_into_a_compiled_call_says_that_rounding_may_differ(make_tiered, compiled, no_snapshots):
    run = make_tiered()
    run.step(43)
    [start, *_rest] = [entry.step for entry in run.journal if entry.name == "switch"]
    run.rewind(start + 2)
    if compiled.steps == 1:  # machine code goes to any step
        assert tells(run) == []
        return
    [entry] = tells(run)
    assert (entry.new["name"], entry.new["step"]) == ("switch", start)
    assert "may differ by rounding" in run.exactness


def test_a_change_made_after_going_back_ends_the_comparison_without_a_word(make_run):
    run = make_run(batch_size=10)
    run.step(20)
    run.rewind(11)
    run.set(dropout=0.5, batch_size=20)
    run.step(20)
    assert run.exact is not False
    assert run.history.check is None  # nothing is kept for a comparison that is over


# -- where the values are


@given(
    st.integers(0, 5),
    st.integers(1, 4),
    st.integers(0, 12),
    st.lists(st.integers(0, 60), min_size=1, max_size=9, unique=True),
)
def test_steps_are_found_where_they_were_recorded(start, stride, count, wanted):
    recorded = range(start, start + stride * count, stride)
    steps = np.array(sorted(wanted))
    for form in (recorded, np.array(recorded, np.int64)):
        there, places = find_places(form, steps)
        assert there.tolist() == [step in recorded for step in sorted(wanted)]
        assert [recorded[place] for place in places[there]] == steps[there].tolist()


def test_what_was_measured_twice_at_a_step_is_compared_with_neither():
    there, _places = find_places(np.array([1, 3, 3, 4]), np.array([1, 3, 4]))
    assert there.tolist() == [True, False, True]
