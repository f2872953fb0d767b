"""Data, samplers, models and losses that draw, from wherever a user's code may."""

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, Sampler, default_collate

SAMPLES, BATCH = 48, 8


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


def start(make_run, place, rng, **more):
    settings = {"model": Net(), "optimizer": "sgd", "lr": 0.1, "epochs": 3, **place(rng), **more}
    return make_run(**settings)


def finish(run):
    run.resume()
    run.wait(60)
    return run
