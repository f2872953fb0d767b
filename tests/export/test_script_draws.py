"""A script draws what its run drew, from whatever generator."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    Sampler,
    TensorDataset,
    WeightedRandomSampler,
)

from tests.export.scripts import execute, follow, make

SAMPLES = 48


def columns():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(SAMPLES, 4, generator=generator), torch.arange(SAMPLES) % 3


def own():
    return torch.Generator().manual_seed(7)


class Noisy(Dataset):
    def __init__(self):
        self.x, self.y = columns()

    def __len__(self):
        return SAMPLES

    def __getitem__(self, index):
        return self.x[index] + np.random.normal(0, 0.3, 4).astype("float32"), self.y[index]


class OwnNoise(Noisy):
    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(1)

    def __getitem__(self, index):
        return self.x[index] * self.rng.random(), self.y[index]


class Picked(Sampler):
    def __len__(self):
        return SAMPLES

    def __iter__(self):
        for _place in range(SAMPLES):
            yield random.randrange(SAMPLES)


def dimmed(samples):
    x, y = torch.utils.data.default_collate(samples)
    return x * random.random(), y


def mixed(net, batch):
    x, y = batch
    if random.random() < 0.5:
        share = float(np.random.beta(1.0, 1.0))
        x = share * x + (1 - share) * x.flip(0)
    return net(x), y


def noisy_loss(output, target):
    return functional.cross_entropy(output * (1 + float(np.random.rand())), target)


def loader(dataset, **settings):
    return DataLoader(dataset, batch_size=8, **settings)


DRAWN = {
    "samples": lambda: {"train": loader(Noisy(), shuffle=True), "val": loader(Noisy())},
    "collate": lambda: {"train": loader(Noisy(), shuffle=True, collate_fn=dimmed)},
    "forward": lambda: {"train": columns(), "val": columns(), "forward": mixed},
    "loss": lambda: {"train": columns(), "loss": noisy_loss},
    "sampler": lambda: {"train": loader(Noisy(), sampler=Picked()), "val": loader(Noisy(), sampler=Picked())},
    "share": lambda: {"train": Noisy(), "val": 0.25},
}
OWNED = {
    "rows": lambda: {"train": loader(TensorDataset(*columns()), shuffle=True, generator=own()), "val": columns()},
    "samples": lambda: {"train": loader(OwnNoise(), shuffle=True, generator=own())},
    "weighted": lambda: {
        "train": loader(
            OwnNoise(), sampler=WeightedRandomSampler([1.0] * SAMPLES, 40, generator=own()), generator=own()
        )
    },
    "batches": lambda: {"train": DataLoader(OwnNoise(), batch_sampler=batched(own()))},
}
REFUSED = {
    "each validation": lambda: {"train": columns(), "val": loader(OwnNoise())},
    "several places": lambda: {"train": loader(shared := Sharing(), sampler=weighted(shared.generator))},
    "over what val left": lambda: {
        "train": loader(TensorDataset(*columns()), shuffle=True, generator=own()),
        "val": 0.25,
    },
}


class Sharing(Noisy):
    def __init__(self):
        super().__init__()
        self.generator = own()


def batched(generator):
    return BatchSampler(RandomSampler(range(40), generator=generator), 7, False)


def weighted(generator):
    return WeightedRandomSampler([1.0] * SAMPLES, 40, generator=generator)


def trained(form):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 3))
    return make(net, **{"epochs": 2, "lr": 0.05, **form})


@pytest.mark.parametrize("form", [*DRAWN.values(), *OWNED.values()], ids=[*DRAWN, *(f"own: {name}" for name in OWNED)])
def test_the_script_ends_where_the_run_did_bit_for_bit(form):
    run, initial = trained(form())
    follow(run, {})
    text = run.to_python()
    again = form()
    data = [again["train"], None if isinstance(again.get("val"), float) else again.get("val")]
    history = execute(text, initial, *data)
    assert all(map(torch.equal, run.model.parameters(), initial.parameters()))
    if "val" in again:
        assert history["val_loss"][-1] == run.history.last("val_loss")


def test_generators_of_python_and_numpy_are_seeded_where_one_may_be_drawn_from():
    texts = {}
    for name, form in {**DRAWN, "rows": OWNED["rows"]}.items():
        run, _initial = trained(form())
        run.step(2)
        texts[name] = run.to_python()
    assert "random.seed" not in texts["rows"] and "seed_all" not in texts["rows"]
    for name in ("loss", "forward"):
        assert "    random.seed(seed)" in texts[name] and "np.random.seed" in texts[name]


@pytest.mark.parametrize("reason", REFUSED)
def test_what_a_script_would_draw_otherwise_is_refused(reason):
    run, _initial = trained(copy.copy(REFUSED[reason]()))
    run.step(2)
    with pytest.raises(ValueError, match=reason):
        run.to_python()
