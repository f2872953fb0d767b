"""Datasets and loaders that scripts are given."""

import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)


class Samples(Dataset):
    """Samples with noise of their own, as augmentations draw it."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index] + 0.1 * torch.randn(4), self.y[index]


class Endless(IterableDataset):
    """Samples that come one by one."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __iter__(self):
        for x, y in zip(self.x, self.y, strict=True):
            yield x + 0.1 * torch.randn(4), y


def pairs(samples):
    """Collate samples the other way round."""
    return {"y": torch.stack([y for _, y in samples]), "x": torch.stack([x for x, _ in samples])}


def of_mapping(model, batch):
    return model(batch["x"]), batch["y"]


LOADERS = {
    "dataset": lambda x, y: Samples(x, y),
    "shuffled": lambda x, y: DataLoader(Samples(x, y), batch_size=7, shuffle=True),
    "in_order": lambda x, y: DataLoader(Samples(x, y), batch_size=7),
    "collated": lambda x, y: DataLoader(Samples(x, y), batch_size=7, shuffle=True, collate_fn=pairs),
    "subset": lambda x, y: DataLoader(Subset(Samples(x, y), range(0, len(x), 2)), batch_size=7, shuffle=True),
    "sampler": lambda x, y: DataLoader(Samples(x, y), batch_size=7, sampler=WeightedRandomSampler(y + 1.0, 50)),
    "sampler, dropped": lambda x, y: DataLoader(
        Samples(x, y), batch_size=7, sampler=WeightedRandomSampler(y + 1.0, 50), drop_last=True
    ),
    "batch_sampler": lambda x, y: DataLoader(Samples(x, y), batch_sampler=Halves(len(x))),
    "iterable": lambda x, y: Endless(x, y),
    "stream": lambda x, y: DataLoader(Endless(x, y), batch_size=7),
    "tensors": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=7, shuffle=True),
    "workers": lambda x, y: DataLoader(Samples(x, y), batch_size=25, shuffle=True, num_workers=1),
}


class Halves:
    """A batch sampler that is not torch's."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return 2

    def __iter__(self):
        order = torch.randperm(self.size).tolist()
        yield order[: self.size // 2]
        yield order[self.size // 2 :]


def left_out(x, y):
    return x, torch.where(torch.arange(len(y)) % 7 < 3, -100, y)


def of_list(model, batch):
    return model(torch.stack([x for x, _ in batch])), torch.stack([y for _, y in batch])
