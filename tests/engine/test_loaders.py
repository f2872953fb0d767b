"""Loaders as people write them: a run gives the model what a plain loop over the loader would."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset


class Counted(IterableDataset):
    """Tells how many samples it yields."""

    def __len__(self):
        return 320

    def __iter__(self):
        generator = torch.Generator().manual_seed(1)
        for _sample in range(320):
            x = torch.randn(4, generator=generator)
            yield x, x.sum().reshape(1)


def test_a_warm_up_rises_within_the_epoch_of_a_stream_whose_length_is_known(make_run):
    settings = {"loss": "mse", "optimizer": "sgd", "lr": 0.1, "warmup": 0.5, "epochs": 1}
    run = make_run(nn.Linear(4, 1), train=DataLoader(Counted(), batch_size=16), **settings).fit()
    right = [0.1 * (0.01 + 0.99 * min(1.0, step / 10)) for step in range(20)]
    assert run.history["lr"][1].tolist() == pytest.approx(right)
