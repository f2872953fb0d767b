"""Small data, in each form that nbopt takes."""

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

N = 10
X = np.arange(2.0 * N).reshape(N, 2)
Y = np.arange(N) % 3


class Rows(Dataset):
    def __len__(self):
        return N

    def __getitem__(self, index):
        return torch.tensor([float(index)]), index % 3


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(torch.tensor([float(i)]), i % 3) for i in range(N)])


def epoch(source, seed=1, size=4):
    source.begin(seed)
    return [source.batch(start, start + size) for start in range(0, source.size, size)]


TENSORS = torch.tensor(X), torch.tensor(Y)
