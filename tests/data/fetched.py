"""Datasets that tell who fetched a sample, and what is dealt out of sources over them."""

import os

import torch
from torch.utils.data import Dataset

from nbopt.data.cursor import Cursor

N = 40


class Rows(Dataset):
    """Tells who fetched a sample, and counts how often each was: in memory shared with the workers."""

    def __init__(self, fails_at=None, error=None):
        self.fetched = torch.zeros(N, dtype=torch.int64).share_memory_()
        self.fails_at = fails_at
        self.error = error

    def __len__(self):
        return N

    def __getitem__(self, index):
        if index == self.fails_at:
            raise self.error
        self.fetched[index] += 1
        return torch.tensor([float(index)]), os.getpid()


def deal(source, sizes, seed=0, place=(0, 0, 0)):
    """Deal out one batch of each size, from ``place`` on."""
    cursor = Cursor(source, seed)
    cursor.seek(*place)
    batches = []
    for size in sizes:
        cursor.batch_size = size
        batches.append(cursor.peek())
        cursor.advance()
    return batches


def indices(batches):
    return [int(index) for x, _y in batches for index in x]


def pids(batches):
    return {int(pid) for _x, y in batches for pid in y}
