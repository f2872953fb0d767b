"""Whatever the user's code draws from, a run is exact: done again it gives the same weights, bit for bit."""

import copy
import random
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from nbopt import open as reopen
from nbopt.training.compile.marks import Marks

SAMPLES, BATCH = 48, 8


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


def number(generator):
    """Draw a number between 0 and 1 from a generator of any library."""
    if generator is None or isinstance(generator, torch.Generator):
        return float(torch.rand((), generator=generator))
    return float(generator.random())


def columns():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(SAMPLES, 4, generator=generator), torch.arange(SAMPLES) % 3


class Samples(Dataset):
    """Adds noise, if there is a generator to draw it from."""

    def __init__(self, *rng):
        self.x, self.y = columns()
        self.rng = rng

    def __len__(self):
        return SAMPLES

    def __getitem__(self, index):
        return self.x[index] + sum(map(number, self.rng)), self.y[index]


class Stream(IterableDataset):
    def __init__(self, rng):
        self.rows, self.rng = Samples(), rng

    def __iter__(self):
        for index in range(SAMPLES):
            if number(self.rng) < 0.8:
                yield self.rows[index][0] + number(self.rng), self.rows[index][1]


class Order(Sampler):
    """A user's own: some samples twice, others not at all."""

    def __init__(self, rng):
        self.rng = rng

    def __len__(self):
        return SAMPLES

    def __iter__(self):
        for _place in range(SAMPLES):
            yield int(number(self.rng) * SAMPLES)


class Net(nn.Module):
    def __init__(self, *rng):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 3))
        self.rng = rng

    def forward(self, x):
        return self.body(x * (1 + sum(map(number, self.rng))))


def collating(rng):
    def collate(samples):
        x, y = default_collate(samples)
        return x * number(rng), y

    return collate


def mixing(rng):
    def forward(net, batch):
        x, y = batch
        if number(rng) < 0.5:
            share = number(rng)
            x = share * x + (1 - share) * x.flip(0)
        return net(x), y

    return forward


def noisy_loss(rng):
    def loss(output, target):
        return functional.cross_entropy(output * (1 + number(rng)), target)

    return loss


def dealt(dataset, **settings):
    return DataLoader(dataset, batch_size=BATCH, **settings)


PLACES = {
    "samples": lambda rng: {"train": dealt(Samples(rng), shuffle=True)},
    "collate": lambda rng: {"train": dealt(Samples(), shuffle=True, collate_fn=collating(rng))},
    "stream": lambda rng: {"train": dealt(Stream(rng))},
    "sampler": lambda rng: {"train": dealt(Samples(rng), sampler=Order(rng))},
    "batch sampler": lambda rng: {"train": DataLoader(Samples(rng), batch_sampler=BatchSampler(Order(rng), 7, True))},
    "forward": lambda rng: {"train": columns(), "forward": mixing(rng), "batch_size": BATCH},
    "model": lambda rng: {"train": columns(), "model": Net(rng), "batch_size": BATCH},
    "loss": lambda rng: {"train": columns(), "loss": noisy_loss(rng), "batch_size": BATCH},
    "validation": lambda rng: {"train": dealt(Samples(), shuffle=True), "val": dealt(Samples(rng), sampler=Order(rng))},
    "all": lambda rng: {
        "train": dealt(Samples(rng), sampler=Order(rng)),
        "val": dealt(Stream(rng)),
        "forward": mixing(rng),
        "loss": noisy_loss(rng),
    },
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


def start(make_run, place, rng, **more):
    settings = {"model": Net(), "optimizer": "sgd", "lr": 0.1, "epochs": 3, **place(rng), **more}
    return make_run(**settings)


def states(rng):
    """Return what the user's cells would draw from."""
    own = copy.deepcopy(rng.get_state() if isinstance(rng, torch.Generator) else None)
    own = rng.getstate() if isinstance(rng, random.Random) else own
    own = str(rng.bit_generator.state) if isinstance(rng, np.random.Generator) else own
    own = str(rng.get_state()) if isinstance(rng, np.random.RandomState) else own
    return [own, random.getstate(), str(np.random.get_state()), torch.get_rng_state()]


def same(before, after):
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(before, after, strict=True))


def finish(run):
    run.resume()
    run.wait(60)
    return run


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


def test_memory_that_runs_out_within_a_step_changes_no_draw(make_run, weights):
    def make(rng):
        failed = []

        def forward(net, batch):
            share = number(rng)
            if len(batch[0]) > 4 and len(seen) == 5 and not failed:
                failed.append(True)
                raise torch.OutOfMemoryError("CUDA out of memory.")
            seen.append(share)
            return net(batch[0]) * share, batch[1]

        seen = []
        train = dealt(Samples(rng), shuffle=True)
        return make_run(train=train, model=Net(), forward=forward, epochs=2)

    run = make(np.random.default_rng(3))
    finish(run)
    assert any(entry.name == "out_of_memory" for entry in run.journal)
    again = run.replay()
    again.wait(60)
    assert torch.equal(weights(run), weights(again))


def test_looks_at_the_model_take_nothing_from_its_generators(make_run, weights):
    quiet, looked = (start(make_run, PLACES["model"], np.random.default_rng(5)) for _ in range(2))
    for _step in range(6):
        quiet.step()
        looked.step()
        looked.predict(columns()[0])
    assert torch.equal(weights(quiet), weights(looked))


@pytest.mark.parametrize("place", ["forward", "samples"])
def test_two_runs_side_by_side_draw_as_each_alone(make_run, weights, place):
    rng = np.random.default_rng(5)  # the two have one between them
    alone = finish(start(make_run, PLACES[place], rng, epochs=6))
    runs = [start(make_run, PLACES[place], rng, epochs=6) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.wait(60)
        assert torch.equal(weights(run), weights(alone))


def drawing_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3))


def test_draws_in_another_cell_and_in_a_run_do_not_meet(make_run, weights):
    def mine():
        torch.manual_seed(123)
        return torch.stack([torch.rand(()) for _ in range(200)])

    expected = mine()
    still = finish(make_run(train=columns(), model=drawing_net(), batch_size=8, epochs=60))
    run = make_run(train=columns(), model=drawing_net(), batch_size=8, epochs=60)
    run.start()
    drawn = []
    while run.state.value == "running":
        drawn.append(mine())
    assert len(drawn) > 3
    assert all(torch.equal(each, expected) for each in drawn)
    assert torch.equal(weights(run), weights(still))


def test_a_forward_that_seeds_torch_itself_is_obeyed_and_leaves_no_trace(make_run):
    seen = []

    def forward(net, batch):
        state = torch.get_rng_state()
        first = torch.rand(2)
        torch.set_rng_state(state)
        assert torch.equal(torch.rand(2), first)
        torch.manual_seed(4)
        seen.append(torch.rand(3))
        return net(batch[0]), batch[1]

    run = make_run(train=columns(), model=Net(), forward=forward, batch_size=8, epochs=1)
    before = torch.get_rng_state()
    run.step(3)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        expected = torch.rand(3)
    assert all(torch.equal(each, expected) for each in seen)
    assert torch.equal(torch.get_rng_state(), before)


def test_checkpointed_layers_draw_the_same_twice(make_run, weights):
    from torch.utils.checkpoint import checkpoint

    class Saving(Net):
        def forward(self, x):
            return checkpoint(self.body, functional.dropout(x, 0.1, self.training), use_reentrant=False)

    class Plain(Net):
        def forward(self, x):
            return self.body(functional.dropout(x, 0.1, self.training))

    saving, plain = (make_run(train=columns(), model=kind(), batch_size=8, epochs=2) for kind in (Saving, Plain))
    assert torch.equal(weights(finish(saving)), weights(finish(plain)))


def test_what_torch_compiles_draws_from_the_default_generator_seeded_itself(make_run):
    model = torch.compile(Net(), backend="eager")
    run = make_run(train=columns(), model=model, batch_size=8, epochs=2)
    run.events()
    noise = run.training.noise
    assert noise.generator is None
    before = torch.get_rng_state()
    with noise.lock, noise.seeded(5):
        drawn = torch.rand(3)
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(5)))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_compiled_model_is_looked_at_like_another():
    model = torch.compile(Net(), backend="eager")
    marks = Marks(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert marks.are_same()
    model.rng = 1
    assert not marks.are_same()


def test_threads_of_the_user_s_draw_on_while_a_run_holds_its_generator(make_run):
    dataset = Samples()

    class Threaded(Samples):
        def __getitems__(self, indices):
            rows = [dataset[index] for index in indices]
            drawn = []
            thread = threading.Thread(target=lambda: drawn.append(np.random.rand()))
            thread.start()
            thread.join(10)
            assert drawn
            return rows

    run = make_run(train=Threaded(), model=Net(), batch_size=8, epochs=1)
    run.step(2)
    assert run.step_count == 2
