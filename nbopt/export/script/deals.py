"""What scripts hold as it is written here to deal batches, see `nbopt.export.script.plain`."""

import itertools
import random

import numpy as np
import torch
from torch.utils.data import DataLoader

from nbopt.data.tensor_source import permutation
from nbopt.data.tree import to_device

DTYPES = ()
"""Stands for that of a script."""

# -- random numbers


def seed_all(seed):
    """Seed whatever the data, the model or the loss draw from."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed([seed % 2**32, seed >> 32])


def in_order(loader, seed):
    """Return the indices of a dataset's samples."""
    return range(len(loader.dataset))


def shuffled(loader, seed):
    """Return the same in an order drawn from ``seed``."""
    return permutation(len(loader.dataset), seed).tolist()


def picked(loader, seed):
    """Yield indices as a sampler picks them, no earlier than they are needed."""
    seed_all(seed)
    for index in loader.sampler:
        state = torch.get_rng_state()
        pythons = random.getstate()
        numpys = np.random.get_state()
        yield index
        torch.set_rng_state(state)
        random.setstate(pythons)
        np.random.set_state(numpys)


def as_loader(data, **settings):
    """Return a DataLoader of what may be a Dataset."""
    return data if isinstance(data, DataLoader) else DataLoader(data, **settings)


def columns_of(data):
    """Return the columns of a TensorDataset, of a DataLoader of one, or as given."""
    return getattr(getattr(data, "dataset", data), "tensors", data)


def as_tensors(columns, device):
    """Return tensors of arrays or tensors, of the types that the run had."""
    tensors = []
    for values, dtype in zip(columns, DTYPES, strict=True):
        if not isinstance(values, torch.Tensor):
            values = torch.from_numpy(np.array(values))
        tensors.append(values.detach().to(device, dtype))
    return tensors


class Columns:
    """Samples in memory, dealt out batch by batch."""

    def __init__(self, columns, order=None):
        self.columns, self.order = columns, order
        self.size, self.position = len(columns[0]), 0

    def begin(self, seed=None):
        """Begin an epoch, in an order of its own if they have one."""
        self.dealt, self.position = self.columns, 0
        if self.order is not None:
            order = self.order(self.size, seed).to(self.columns[0].device)
            self.dealt = [column[order] for column in self.columns]

    def left(self, count=1):
        """Return how many samples are left of the epoch: ``count``, or fewer."""
        return min(count, self.size - self.position)

    def take(self, count):
        """Return the next ``count`` samples, or as many as are left."""
        end = self.position + count
        batch = tuple(column[self.position : end] for column in self.dealt)
        self.position += len(batch[0])
        return batch


class Samples:
    """Samples of a loader's dataset, fetched and dealt out batch by batch."""

    def __init__(self, loader, device, draw):
        self.loader, self.device, self.draw = loader, device, draw
        self.position = 0

    def begin(self, seed):
        """Begin an epoch; its order and what is drawn in it follow from ``seed``."""
        self.draws, self.ahead = iter(self.draw(self.loader, seed)), []
        self.size, self.seed, self.position = len(self.loader.sampler), seed, 0

    def left(self, count=1):
        """Return how many samples are left of the epoch: ``count``, or fewer."""
        missing = max(0, count - len(self.ahead))
        self.ahead += itertools.islice(self.draws, missing)
        return min(count, len(self.ahead))

    def take(self, count):
        """Return the next ``count`` samples, or as many as are left."""
        self.left(count)
        indices, self.ahead = self.ahead[:count], self.ahead[count:]
        dataset = self.loader.dataset
        seed_all(self.seed + self.position)
        if hasattr(dataset, "__getitems__"):
            samples = dataset.__getitems__(indices)
        else:
            samples = [dataset[index] for index in indices]
        self.position += len(indices)
        return to_device(self.loader.collate_fn(samples), self.device)


class Stream:
    """The batches of a loader, as it yields them."""

    def __init__(self, loader, device):
        self.loader, self.device = loader, device
        self.position = 0  # batches

    def begin(self, seed):
        """Begin an epoch; what its batches draw follows from ``seed``."""
        seed_all(seed)
        self.batches, self.upcoming = iter(self.loader), None
        self.seed, self.position = seed, 0

    def left(self):
        """Return whether the epoch has a batch left."""
        if self.upcoming is None:
            self.seed += 1
            seed_all(self.seed)
            self.upcoming = next(self.batches, None)
        return self.upcoming is not None

    def take(self):
        """Return the next batch."""
        self.left()
        batch, self.upcoming = self.upcoming, None
        self.position += 1
        return to_device(batch, self.device)


def leave_none_alone(batches, count):
    """Return ``count``, or one less, if a new batch size left one sample alone."""
    alone = count > 2 and batches.position % count
    return count - 1 if alone and batches.left(count + 2) == count + 1 else count


def parts_of(batch, size):
    """Yield a batch in parts of ``size``, each with its share of the samples."""
    count = len(batch[0])
    for start in range(0, count, size or count):
        part = tuple(column[start : start + (size or count)] for column in batch)
        yield part, len(part[0]) / count
