"""What a step may cost, told without a clock: operations, and waits for the device."""

import collections
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from nbopt.data.noise import Noise
from nbopt.training.compile.captured import Shape
from nbopt.training.state import Stepped
from tests.training.tiered import STEPS, only_compiled, pull

WAITS = ("_local_scalar_dense", "_to_copy", "equal", "is_nonzero")


class Counter(TorchDispatchMode):
    """Counts the operations that reach torch's dispatcher."""

    def __init__(self):
        super().__init__()
        self.calls = collections.Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def _never_flush(monkeypatch):
    monkeypatch.setattr("nbopt.training.loss_buffer._FLUSH_SECONDS", 1e9)


def do_steps(run, count):
    """Do so many steps by hand and return what they called, of torch."""
    events = run.events()
    next(event for event in events if isinstance(event, Stepped))
    with Counter() as counter:
        for _step in itertools.islice((event for event in events if isinstance(event, Stepped)), count):
            pass
    return counter.calls


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("metrics", [None, ["accuracy"]])
def test_no_step_waits_for_the_device(make_run, blobs, optimizer, metrics):
    x, y = (tensor.repeat(100, *[1] * (tensor.ndim - 1)) for tensor in blobs)
    run = make_run(train=(x, y), optimizer=optimizer, metrics=metrics, batch_size=20, epochs=9)
    calls = do_steps(run, 100)
    # RMSprop's and torch's own loops over weights do not read any number either.
    assert not {name: calls[name] for name in WAITS if calls[name]}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_step_calls_no_more_than_a_loop_written_by_hand(make_run, mlp, blobs, optimizer):
    x, y = (tensor.repeat(100, *[1] * (tensor.ndim - 1)) for tensor in blobs)
    ours = do_steps(make_run(train=(x, y), optimizer=optimizer, lr=0.01, batch_size=20, epochs=9), 100)
    model, order = mlp(), torch.randperm(6000)
    by_hand = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer](model.parameters(), lr=0.01)
    with Counter() as counter:
        for start in range(0, 2000, 20):
            index = order[start : start + 20]
            by_hand.zero_grad()
            functional.cross_entropy(model(x[index]), y[index]).backward()
            by_hand.step()
    assert ours.total() <= counter.calls.total()


@only_compiled
def test_around_the_code_of_a_compiled_call_there_is_next_to_no_operation(make_tiered, mlp, compiled, monkeypatch):
    run = make_tiered(mlp(), optimizer="sgd")
    pull(run, 30)
    run.training.meter.due = run.training._look_at = float("inf")
    call, count = run.training.tiers.ready()
    assert count == STEPS
    batches = run.training.cursor.peek_each(STEPS)
    with Counter() as inside:
        call(batches)
    monkeypatch.setattr(call, "_chunk", lambda flat: [flat[0].new_zeros(1)])
    with Counter() as outside:
        call(batches)
        run.training.stepper.take(torch.zeros(STEPS))
    assert inside.calls.total() > 100
    ours = outside.calls.total() - STEPS - 1  # without those that stand here
    assert ours == 3, outside.calls  # the numbers of all steps are cut, and their losses joined


@only_compiled
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_code_is_given_the_types_it_was_made_for_whatever_torchs_default_is(
    make_tiered, compiled, monkeypatch, optimizer
):
    run = make_tiered(optimizer=optimizer)
    pull(run, 30)
    call, _count = run.training.tiers.ready()
    given = []
    monkeypatch.setattr(call, "_chunk", lambda flat: given.append([*map(Shape.of, flat)]) or [torch.zeros(1)])
    before = torch.get_default_dtype()
    for kind in (before, torch.float64):
        torch.set_default_dtype(kind)
        try:
            call(run.training.cursor.peek_each(1))
        finally:
            torch.set_default_dtype(before)
    assert given[0] == given[1] == call._ready.shapes


def count_seeds(monkeypatch):
    """Count from now on how often noise is seeded."""
    seeded, seeds = Noise.seeded, []
    monkeypatch.setattr(Noise, "seeded", lambda self, seed, **rest: seeds.append(seed) or seeded(self, seed, **rest))
    return seeds


class Own(nn.Module):
    """A module of the user's, which may draw what it likes."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x)


@pytest.mark.parametrize(
    ("kind", "settings", "draws"),
    [
        ("mlp", {}, False),
        ("mlp", {"dropout": 0.5}, True),
        ("own", {}, True),
        ("hooked", {}, True),
        ("mlp", {"loss": lambda output, target: functional.cross_entropy(output, target)}, True),
        ("mlp", {"forward": lambda model, batch: (model(batch[0]), batch[1])}, True),
    ],
)
def test_noise_is_seeded_where_some_may_be_drawn(make_run, mlp, monkeypatch, kind, settings, draws):
    model = Own() if kind == "own" else mlp()
    if kind == "hooked":
        model.register_forward_pre_hook(lambda *_args: None)
    run = make_run(model, batch_size=20, **settings)
    run.step(1)  # the first batch is looked at from all sides
    seeds = count_seeds(monkeypatch)
    run.step(6)
    assert bool(seeds) == draws


def test_dropout_that_comes_later_is_seeded(make_run, monkeypatch):
    run = make_run(batch_size=20)
    run.step(2)
    run.set(dropout=0.5)
    seeds = count_seeds(monkeypatch)
    run.step(2)
    assert len(seeds) == 2
