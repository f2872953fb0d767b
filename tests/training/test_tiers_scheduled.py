"""Learning rates enter compiled steps as numbers: each step of a call has its own, the one that an eager step has."""

import itertools

import pytest
import torch

from nbopt.techniques.schedules.planned import Cosine
from tests.training.tiered import STEPS, pull, switches

SCHEDULES = {
    "cosine": {"schedule": "cosine", "epochs": 8},
    "cosine by steps": {"schedule": "cosine", "steps": 131},
    "one cycle": {"schedule": "one_cycle", "epochs": 8},
    "linear": {"schedule": "linear", "epochs": 8, "final_share": 0.1},
    "exponential": {"schedule": "exponential", "exponential_gamma": 0.7},
    "stairs within an epoch": {"schedule": "step", "step_size": 0.3},
    "warm-up": {"warmup": 3.0},
    "warm-up in steps": {"warmup_steps": 50, "schedule": "cosine", "epochs": 8},
    "plateau": {"schedule": "plateau", "plateau_patience": 0},
    "bold driver": {"schedule": "bold_driver"},
}

PLANNED = ["cosine by steps", "stairs within an epoch", "warm-up in steps", "plateau", "bold driver"]


def sizes(ends):
    return [b - a for a, b in itertools.pairwise([0, *ends])]


def agree(ours, eager, weights):
    """See that two runs are the same but for rounding; their rates, to the bit."""
    assert ours.step_count == eager.step_count
    torch.testing.assert_close(weights(ours), weights(eager), rtol=1e-4, atol=1e-5)
    assert ours.history["loss"][1].tolist() == pytest.approx(eager.history["loss"][1].tolist(), rel=1e-4, abs=1e-5)
    for one, other in zip(ours.history["lr"], eager.history["lr"], strict=True):
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize(
    ("compiled", "name", "optimizer"),
    [
        *(("captured", name, "adam") for name in SCHEDULES),
        *(("compiled", name, "adam") for name in ("cosine by steps", "one cycle", "warm-up", "bold driver")),
        *((tier, "cosine", optimizer) for tier in ("captured", "compiled") for optimizer in ("sgd", "adamw")),
    ],
    indirect=["compiled"],
)
def test_scheduled_steps_are_the_same_on_both_tiers(make_tiered, compiled, weights, name, optimizer):
    runs, ends, settings = [], [], SCHEDULES[name]
    for tier in ("compiled", "eager"):
        run = make_tiered(optimizer=optimizer, lr=0.02, weight_decay=0.01, tier=tier, **settings)
        ends.append(pull(run, 105))  # seven epochs: both are there at the same time
        run.training.flush()
        runs.append(run)
    assert switches(runs[0]) == [(2, 0, compiled.steps)]
    assert max(sizes(ends[0])) == STEPS
    assert set(sizes(ends[1])) == {1}
    agree(*runs, weights)
    assert runs[0].history["lr"][0].tolist() == list(range(105))
    groups = [run.training.torch_optimizer.param_groups[0]["lr"] for run in runs]
    assert groups[0] == groups[1] == runs[0].history["lr"][1][-1]


@pytest.mark.parametrize("every", [0, 7])
@pytest.mark.parametrize("name", ["plateau", "bold driver"])
def test_what_goes_by_validations_is_told_of_them_between_two_calls(make_tiered, compiled, weights, name, every):
    runs = []
    for tier in ("compiled", "eager"):
        run = make_tiered(tier=tier, optimizer="sgd", lr=0.1, val=0.2, validate_every=every, **SCHEDULES[name])
        pull(run, 96)
        run.training.flush()
        runs.append(run)
    assert switches(runs[0])
    agree(*runs, weights)
    assert len(set(runs[0].history["lr"][1].tolist())) > 2


def test_a_rate_or_schedule_changed_in_the_midst_acts_at_the_next_step(make_tiered, compiled, weights):
    changes = [{"lr": 0.05}, {"final_share": 0.5}, {"schedule": "one_cycle"}, {"epochs": 30}, {"schedule": "constant"}]
    runs = []
    for tier in ("compiled", "eager"):
        run = make_tiered(tier=tier, lr=0.02, **SCHEDULES["cosine"])
        for number, change in enumerate(changes, 1):
            pull(run, 15 * number + 4 * (number % 2))  # at an epoch's end, or after a call in its midst
            run.set(**change)
        pull(run, 90)
        run.training.flush()
        runs.append(run)
    assert len(switches(runs[0])) == len(compiled) == 1
    assert [entry.step for entry in runs[0].journal.changes()] == [entry.step for entry in runs[1].journal.changes()]
    agree(*runs, weights)


@pytest.mark.parametrize(
    ("compiled", "name"),
    [
        *(("captured", name) for name in PLANNED),
        *(("compiled", name) for name in ("warm-up in steps", "bold driver")),
    ],
    indirect=["compiled"],
)
def test_a_schedule_planned_and_rewound_is_replayed_bit_for_bit(make_tiered, compiled, weights, name):
    run = make_tiered(val=0.2, **SCHEDULES[name])
    run.step(30)
    run.set(lr=0.05)
    for count in (3, 9, 1, 20):
        run.step(count)
    run.rewind(41)
    run.step(13)
    run = run.branch(at=run.step_count - 6)
    run.step(17)
    again = run.replay()
    again.wait(60)
    assert compiled.steps in {steps for _step, _before, steps in switches(run)}
    assert switches(again) == switches(run)
    assert torch.equal(weights(again), weights(run))
    for name in ("loss", "lr"):
        assert again.history[name][1].tolist() == run.history[name][1].tolist()


def test_a_rate_that_goes_by_gradients_stays_eager_and_says_so(make_tiered, compiled):
    run = make_tiered(schedule="hypergradient", optimizer="sgd")
    pull(run, 20)
    assert not switches(run)
    assert "Hypergradient acts" in run.tier
    run.set(schedule="cosine")
    pull(run, 40)
    assert run.training.tiers.steps == compiled.steps
    run.set(schedule="hypergradient")
    pull(run, 45)
    assert run.training.tiers.steps == 0
    assert "Hypergradient acts" in run.tier


class Looking(Cosine):
    """Looks at weights: what its base class says of itself does not hold for it."""

    def change_rate(self, rate, step, epoch, done):
        return rate / (1 + float(self.weights[0].detach().norm()))


def test_a_schedule_made_of_another_one_does_not_compile_unless_it_says_so(make_tiered, compiled):
    run = make_tiered(schedule=Looking)
    pull(run, 20)
    assert not switches(run)
    assert "Looking acts" in run.tier
