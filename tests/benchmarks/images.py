"""Pictures for figures of accuracy: digits of scikit-learn, and 10,000 of Fashion-MNIST's."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

FASHION = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package dataset-fashion-mnist puts it
NAMES = ("digits", "fashion")

Pair = tuple[Tensor, Tensor]


class Images(NamedTuple):
    """Images (n, 1, size, size) from 0 to 1, and labels: to train on, to choose settings by, and to report on."""

    train: Pair
    val: Pair
    test: Pair

    @property
    def size(self) -> int:
        """Pixels of a side."""
        return self.train[0].shape[-1]


def load(name: str) -> Images:
    """Return the images of that name; whoever chooses settings by ``val`` reports on ``test``.

    Raises
    ------
    SystemExit
        Where Fashion-MNIST is not installed.
    """
    return _digits() if name == "digits" else _fashion()


def halved(size: int, narrow: int, wide: int) -> list[nn.Module]:
    """Return two convolutions after which images of 8 pixels have 2, and those of 28 have 7.

    Small images are pooled; of large ones, the convolutions take every other place, which costs a fifth.
    """
    if size == 8:
        first = nn.Conv2d(1, narrow, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        return [*first, nn.Conv2d(narrow, wide, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    first = nn.Conv2d(1, narrow, 5, stride=2, padding=2), nn.ReLU()
    return [*first, nn.Conv2d(narrow, wide, 3, stride=2, padding=1), nn.ReLU()]


def _digits() -> Images:
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = torch.tensor(x / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)[order], torch.tensor(y)[order]
    return Images((x[:1000], y[:1000]), (x[1000:1297], y[1000:1297]), (x[1297:], y[1297:]))


def _fashion() -> Images:
    """Return the first 10,000 images to train on, the next 5,000, and the 10,000 that are for tests."""
    if len(found := sorted(FASHION.rglob("*ubyte.gz"))) < 4:
        raise SystemExit(f"Fashion-MNIST is not there: apt-get install dataset-fashion-mnist puts it into {FASHION}.")

    def read(name: str, skip: int) -> np.ndarray:
        path = next(path for path in found if path.name.startswith(name))
        return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=skip)

    def pair(name: str, begin: int, end: int) -> Pair:
        x = read(f"{name}-images", 16).reshape(-1, 1, 28, 28)[begin:end]
        return torch.tensor(x, dtype=torch.float32) / 255, torch.tensor(read(f"{name}-labels", 8)[begin:end]).long()

    return Images(pair("train", 0, 10_000), pair("train", 10_000, 15_000), pair("t10k", 0, 10_000))
