"""A dataset of indices, and what a cursor over it deals out."""

import torch
from torch.utils.data import Dataset

from nbopt.data.cursor import Cursor
from nbopt.data.sources import as_source


class Rows(Dataset):
    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return torch.tensor([float(index)]), index


def cursor_over(data, seed=0, batch_size=64):
    cursor = Cursor(as_source(data, "train"), seed)
    cursor.batch_size = batch_size
    return cursor


def indices(batch):
    return batch[0].reshape(-1).int().tolist()


def step(cursor):
    """Use the next batch; return whether the epoch is complete."""
    cursor.peek()
    return cursor.advance()


def take(cursor, sizes):
    """Deal out one batch of each size; return the samples seen, epoch by epoch, the last maybe unfinished."""
    epochs = [[]]
    for size in sizes:
        cursor.batch_size = size
        batch = cursor.peek()
        epochs[-1].extend(indices(batch))
        if cursor.advance():
            epochs.append([])
    return epochs
