"""Steps done again are held against what the history told of them: what differs is said, what does not is not."""

from __future__ import annotations

import itertools
import os
import random
import secrets
import sys
import time
import warnings
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import nbopt
from nbopt import Run, RunState
from nbopt.run.recorded import find_places
from tests.run.test_past import values_of
from tests.training.tiered import batch_norm
from tests.tries import tries

SECONDS = 60
MOVES = [("lr", [0.001, 0.05]), ("batch_size", [10, 20]), ("dropout", [0.0, 0.4]), ("micro_batch", [0, 4])]
random_settings = tries(15, suppress_health_check=list(HealthCheck))


def tells(run):
    return [entry for entry in run.journal if entry.name == "not_exact"]


def jitter(scale=1e-2):
    """Return a forward that is another at each call, without any run seeing how."""

    def forward(model, batch):
        return model(batch[0]) * (1 + scale * (1 + secrets.randbelow(10**6) / 10**6)), batch[1]

    return forward


DRAWS = (number for number in itertools.count())


def drawing(model, batch):
    return model(batch[0]) * (1 + next(DRAWS) % 1000 / 1000), batch[1]


def unseen(model, batch):
    return model(batch[0]) * (1 + sys.getallocatedblocks() / 1e6), batch[1]


def counting(model, batch):
    global COUNT
    COUNT += 1
    return model(batch[0]) * (1 + COUNT / 100), batch[1]


COUNT = 0


@pytest.fixture(autouse=True)
def said():
    """Return the list of what is warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


@pytest.fixture
def no_snapshots(monkeypatch):
    """Keep none but the first snapshot, those before changes and those of the best validation."""
    monkeypatch.setattr("nbopt.training.securing.SECONDS", 1e9)


# -- what differs is said


def test_a_rewind_that_is_not_exact_is_told_with_the_step_and_both_values(make_run, no_snapshots, said):
    run = make_run(forward=jitter(), batch_size=20)
    run.step(9)
    before = run.history["loss"][1].copy()
    assert (run.exact, run.exactness) == (None, "")
    run.rewind(6)
    [entry] = tells(run)
    first = entry.new["step"]
    assert entry.new["name"] == "loss"
    assert entry.new["old"] == before[first]
    assert entry.new["new"] == run.history["loss"][1][first] != before[first]
    assert (run.exact, run.step_count, run.state) == (False, 6, RunState.PAUSED)
    assert run.exactness == f"not exact: {entry.new['reason']}"
    assert f"step {first} was done again, and its loss is" in entry.new["reason"]
    assert [str(each.message) for each in said if "not exact" in str(each.message)] != []
    run.step(3)
    assert run.step_count == 9
    assert len(tells(run)) == 1


@pytest.mark.parametrize("how", ["branch", "replay"])
def test_another_run_that_is_not_exact_tells_it_itself(make_run, weights, no_snapshots, how):
    run = make_run(forward=jitter(), batch_size=20)
    run.step(9)
    before, entries = weights(run), len(run.journal)
    twin = run.branch(at=6) if how == "branch" else run.replay()
    if how == "replay":
        twin.wait(SECONDS)
    assert len(tells(twin)) == 1
    assert twin.exact is False
    assert run.exact is None
    assert len(run.journal) == entries
    assert torch.equal(weights(run), before)


def test_a_run_that_goes_on_from_a_snapshot_is_compared_with_the_future_it_gave_up(make_run):
    run = make_run(forward=jitter(), batch_size=20)
    run.step(4)
    run.set(lr=0.01)  # a snapshot is taken here
    run.step(4)
    run.rewind(4)
    assert run.exact is None  # nothing was done again yet
    run.step(1)  # at the earlier rate, which acts on the step's weights alone
    assert run.exact is False
    assert tells(run)[0].new["step"] == 4


@pytest.mark.parametrize("how", ["rewind", "branch"])
def test_another_rate_under_a_schedule_is_no_step_done_otherwise(make_run, how):
    run = make_run(batch_size=20, schedule="cosine", epochs=9)
    run.step(6)
    if how == "branch":
        run = run.branch(at=2)
    else:
        run.rewind(2)
    run.set(lr=0.01)  # and so the curve of the rate is another one from this step on
    run.step(3)
    assert run.exact is not False and not tells(run)
    assert run.history["lr"][1][2] > 0.009


def test_a_validation_that_differs_is_told(make_run, mlp, no_snapshots):
    class Restless(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = mlp()

        def forward(self, x):
            return self.inner(x) if self.training else self.inner(x) * secrets.randbelow(1000)

    run = make_run(Restless(), val=0.2, batch_size=24)
    run.step(7)
    again = run.replay()
    again.wait(SECONDS)
    [entry] = tells(again)
    assert entry.new["name"] == "val_loss"
    assert "random numbers that no seed repeats (secrets)" in entry.new["reason"]


def test_an_opened_run_tells_and_goes_on_telling(make_run, mlp, blobs, no_snapshots, tmp_path):
    run = make_run(forward=jitter(), batch_size=20, store=tmp_path)
    run.step(9)
    run.recorder.close()
    opened = nbopt.open(run.id, mlp(), blobs, forward=jitter(0.1), store=tmp_path)
    assert (opened.exact, opened.step_count) == (False, 9)
    again = nbopt.open(run.id, mlp(), blobs, forward=jitter(), store=tmp_path)
    assert again.exact is False  # what was seen once is a fact of the run


def clock(model, batch):
    return model(batch[0]) * (1 + time.time() % 1), batch[1]


def imported(model, batch):
    from time import perf_counter

    return model(batch[0]) * (1 + perf_counter() % 1), batch[1]


def deeper(model, batch):
    return clock(model, batch)


def entropy(model, batch):
    return model(batch[0]) * (1 + int.from_bytes(os.urandom(2)) / 2**16), batch[1]


def unseeded(model, batch):
    return model(batch[0]) * (1 + np.random.default_rng().random()), batch[1]


def closure():
    now = time.perf_counter

    def forward(model, batch):
        return model(batch[0]) * (1 + now() % 1), batch[1]

    return forward


class Shaken(Dataset):
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data[0])

    def __getitem__(self, index):
        return self.data[0][index] + secrets.randbelow(1000) / 1000, self.data[1][index]


@pytest.mark.parametrize(
    ("forward", "why"),
    [
        (clock, "clock reads the clock (time)"),
        (imported, "imported reads the clock"),
        (deeper, "clock reads the clock (time)"),
        (entropy, "entropy reads random numbers that no seed repeats (os.urandom)"),
        (unseeded, "unseeded reads random numbers that no seed repeats (np.default_rng)"),
        (closure(), "forward reads the clock (now)"),
        (unseen, "The cause is not known"),
        (drawing, "no snapshot holds DRAWS, which forward reads"),
        (counting, "no snapshot holds COUNT, which forward sets"),
    ],
    ids=["clock", "imported", "deeper", "entropy", "unseeded", "closure", "unseen", "drawing", "counting"],
)
def test_why_is_told_as_far_as_it_can_be_known(make_run, no_snapshots, forward, why):
    run = make_run(forward=forward, batch_size=20)
    run.step(4)
    run.rewind(3)
    assert why in run.exactness


def test_a_dataset_that_draws_where_no_seed_reaches_is_named(make_run, blobs, no_snapshots):
    run = make_run(train=Shaken(blobs), batch_size=20)
    run.step(4)
    run.rewind(3)
    assert "Shaken.__getitem__ reads random numbers that no seed repeats (secrets)" in run.exactness


def test_data_and_threads_that_changed_are_named(make_run, blobs, no_snapshots):
    data = tuple(part.clone() for part in blobs)
    run = make_run(train=data, batch_size=20)
    run.step(4)
    data[0].mul_(1.5)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        run.rewind(3)
    finally:
        torch.set_num_threads(threads)
    assert "data train: values (checksum) was" in run.exactness
    assert f"threads was {threads}, now it is {threads + 1}" in run.exactness


def test_code_that_changed_is_named(make_run, mlp, no_snapshots):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = mlp()

        def forward(self, x):
            return self.inner(x)

    run = make_run(Net(), batch_size=20)
    run.step(4)
    Net.forward = lambda self, x: 2 * self.inner(x)  # a cell run again
    run.rewind(3)
    assert "the code of Net.forward was changed" in run.exactness


def test_weights_changed_by_hand_are_noticed(make_run, no_snapshots):
    run = make_run(batch_size=20)
    run.step(4)
    with torch.no_grad():
        run.model[0].weight.mul_(2)
    run.step(4)
    run.training.snapshots.clear(run.snapshots[0])
    run.rewind(7)
    assert tells(run)[0].new["step"] == 4
    assert "Why: by hand at step 4, " in run.exactness


def test_early_stopping_that_comes_earlier_the_second_time_does_not_keep_a_run_from_its_step(make_run, no_snapshots):
    measured = []

    def loss(output, target):
        if torch.is_grad_enabled():
            return nn.functional.cross_entropy(output, target)
        measured.append(1)
        return output.sum() * 0 + (1 / len(measured) if len(measured) < 12 else len(measured))

    run = make_run(val=0.2, loss=loss, batch_size=24, patience=3, epochs=50)
    run.step(20)
    run.training.snapshots.clear(run.snapshots[0])  # as where memory is short
    run.rewind(19)
    assert (run.step_count, run.exact) == (19, False)
    assert [entry.step for entry in run.journal if entry.name == "reopen"] == [8, 14]


def test_a_stream_that_cannot_be_begun_anew_is_said_and_the_run_rests_at_a_snapshot(make_run, blobs, no_snapshots):
    class Once(IterableDataset):
        def __init__(self, samples):
            self.samples = samples

        def __iter__(self):
            return self.samples

    samples = iter([(blobs[0][k % 60], blobs[1][k % 60]) for k in range(400)])
    run = make_run(train=DataLoader(Once(samples), batch_size=20))
    run.step(6)
    with suppress(ValueError):
        run.rewind(4)
    assert "samples of Once is an iterator, which cannot be restarted" in run.exactness
    run.step(2)  # of what it still yields
    for _k in range(20):
        with suppress(ValueError):
            run.step(1)
    end = run.step_count
    with pytest.raises(ValueError, match="yielded no batch") as caught:
        run.rewind(end - 1)
    assert "could not be done again, and the run rests there" in caught.value.__notes__[-1]
    assert run.state is RunState.PAUSED
    assert run.step_count == run.journal[-1].new
    assert run.training.bound is None


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
            patch.setattr("nbopt.training.securing.SECONDS", 1e9)
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


@pytest.mark.parametrize("seed", range(8))
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
