"""Whatever the user's code draws from, a run is exact: done again it gives the same weights, bit for bit."""

import copy
import random

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from nbopt import open as reopen
from tests.training.draws import BATCH, PLACES, SAMPLES, Net, Samples, Stream, columns, dealt, finish, number, start


class Shared:
    """Draws from a library's own generator."""

    def __init__(self, draw):
        self.random = draw


MAKERS = {
    "numpy's generator": lambda: np.random.default_rng(5),
    "numpy's old one": lambda: np.random.RandomState(5),
    "Python's": lambda: random.Random(5),
    "torch's": lambda: torch.Generator().manual_seed(5),
    "torch's shared": lambda: None,
    "Python's shared": lambda: Shared(lambda: random.random()),
    "numpy's shared": lambda: Shared(lambda: np.random.normal() % 1.0),
}
LOADERS = {
    "shuffled rows": lambda g: dealt(TensorDataset(*columns()), shuffle=True, generator=g),
    "shuffled samples": lambda g: dealt(Samples(np.random.default_rng(1)), shuffle=True, generator=g),
    "shuffled by a sampler": lambda g: dealt(
        TensorDataset(*columns()), sampler=RandomSampler(range(SAMPLES), generator=g)
    ),
    "with replacement": lambda g: dealt(Samples(), sampler=RandomSampler(range(SAMPLES), True, 30, generator=g)),
    "weighted": lambda g: dealt(Samples(), sampler=WeightedRandomSampler([1.0] * SAMPLES, 40, generator=g)),
    "weighted, and the loader's": lambda g: dealt(
        Samples(), sampler=WeightedRandomSampler([1.0] * SAMPLES, 40, generator=g), generator=g
    ),
    "in order": lambda g: dealt(Samples(np.random.default_rng(1)), generator=g),
    "the last dropped": lambda g: DataLoader(
        Samples(np.random.default_rng(1)), batch_size=7, shuffle=True, generator=g, drop_last=True
    ),
    "own batch sampler": lambda g: DataLoader(
        Samples(np.random.default_rng(1)),
        batch_sampler=BatchSampler(RandomSampler(range(SAMPLES), generator=g), 7, False),
        generator=g,
    ),
    "stream": lambda g: dealt(Stream(g), generator=g),
}


def states(rng):
    """Return what the user's cells would draw from."""
    own = copy.deepcopy(rng.get_state() if isinstance(rng, torch.Generator) else None)
    own = rng.getstate() if isinstance(rng, random.Random) else own
    own = str(rng.bit_generator.state) if isinstance(rng, np.random.Generator) else own
    own = str(rng.get_state()) if isinstance(rng, np.random.RandomState) else own
    return [own, random.getstate(), str(np.random.get_state()), torch.get_rng_state()]


def same(before, after):
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("kind", "place"),
    [(kind, place) for kind in ("numpy's generator", "numpy's shared") for place in PLACES]
    + [(kind, "all") for kind in MAKERS if not kind.startswith("numpy")],
)
def test_a_run_is_exact_whatever_draws(make_run, weights, kind, place):
    rng = MAKERS[kind]()
    run = start(make_run, PLACES[place], rng)
    np.random.normal()  # one of a pair: the other one is held back
    before = states(rng)
    run.step(10)
    branch = run.branch(at=4)
    finish(run)
    end, curve = weights(run), run.history["loss"][1].tolist()
    again = run.replay()
    finish(branch)
    again.wait(60)
    assert torch.equal(weights(again), end)
    assert torch.equal(weights(branch), end)
    run.rewind(3)
    finish(run)
    assert torch.equal(weights(run), end)
    assert run.history["loss"][1].tolist() == curve
    if "val_loss" in run.history.names:
        assert again.history["val_loss"][1].tolist() == run.history["val_loss"][1].tolist()
    assert same(before, states(rng))


@pytest.mark.parametrize("kind", MAKERS)
def test_noise_differs_from_step_to_step_and_from_seed_to_seed(make_run, kind):
    seen = []

    rng = MAKERS[kind]()

    def forward(net, batch):
        seen.append(number(rng))
        return net(batch[0]), batch[1]

    make_run(train=columns(), model=Net(), forward=forward, batch_size=BATCH, epochs=2).step(12)
    assert len(set(seen)) == len(seen) == 12
    if kind.endswith("shared"):
        make_run(train=columns(), model=Net(), forward=forward, batch_size=BATCH, epochs=2, seed=1).step(12)
        assert len(set(seen)) == 24


@pytest.mark.parametrize(
    ("kind", "place"),
    [("numpy's generator", place) for place in ("samples", "sampler", "stream", "model")]
    + [(kind, "all") for kind in ("Python's", "torch's", "numpy's shared", "numpy's old one")],
)
def test_a_run_opened_again_goes_on_exactly(make_run, weights, tmp_path, kind, place):
    whole = finish(start(make_run, PLACES[place], MAKERS[kind]()))
    broken = start(make_run, PLACES[place], MAKERS[kind](), store=tmp_path)
    broken.step(9)
    rng = MAKERS[kind]()
    number(rng)  # in whatever state: what counts is what is stored
    made = {"model": Net(), **PLACES[place](rng)}
    made.pop("batch_size", None)
    opened = reopen(broken.id, **made, store=tmp_path)
    assert torch.equal(weights(opened), weights(broken))
    assert torch.equal(weights(finish(opened)), weights(whole))


@pytest.mark.parametrize("loader", LOADERS)
def test_batches_are_the_plain_loop_s_in_every_epoch(make_run, loader):
    plain = LOADERS[loader](torch.Generator().manual_seed(7))
    expected = [batch for _epoch in range(3) for batch in plain]
    seen = []

    def forward(net, batch):
        if net.training:
            seen.append([part.clone() for part in batch])
        return net(batch[0]), batch[1]

    train = LOADERS[loader](torch.Generator().manual_seed(7))
    run = make_run(train=train, val=LOADERS[loader](torch.Generator()), model=Net(), forward=forward, epochs=3)
    finish(run)
    assert len(seen) == len(expected)
    for got, batch in zip(seen, expected, strict=True):
        assert all(map(torch.equal, got, batch))


def test_an_own_generator_orders_what_is_left_when_validation_is_cut_off(make_run, weights):
    def make():
        train = dealt(TensorDataset(*columns()), shuffle=True, generator=torch.Generator().manual_seed(7))
        return make_run(train=train, val=0.25, model=Net(), epochs=2)

    first = finish(make())
    assert torch.equal(weights(first), weights(finish(make())))
    again = first.replay()
    again.wait(60)
    assert torch.equal(weights(first), weights(again))


@pytest.mark.parametrize("kind", ["numpy's generator", "torch's", "Python's shared"])
@pytest.mark.parametrize("data", ["samples", "stream"])
def test_workers_draw_what_can_be_drawn_again(make_run, weights, kind, data):
    rng = MAKERS[kind]() if kind != "Python's shared" else None
    dataset = Samples(rng) if data == "samples" else Stream(rng)
    run = make_run(train=dealt(dataset, num_workers=2, shuffle=data == "samples" or None), model=Net(), epochs=3)
    run.step(9)
    at_nine = weights(run)
    run.step(3)
    end = weights(run)
    run.rewind(9)
    assert torch.equal(weights(run), at_nine)
    run.step(3)
    assert torch.equal(weights(run), end)
