"""Weights that are computed from other tensors: they are not read beside the training, and not made small."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import nbopt
from nbopt.errors import InvalidHyperparam

pytestmark = pytest.mark.usefixtures("one_torch_thread")
X, Y = torch.randn(24, 4, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 3
MAKERS = {
    "weight_norm": nn.utils.weight_norm,
    "spectral_norm": nn.utils.spectral_norm,
    "parametrized weight_norm": parametrizations.weight_norm,
    "parametrized spectral_norm": parametrizations.spectral_norm,
}


def net(maker):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), maker(nn.Linear(8, 3)))


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
@pytest.mark.parametrize("maker", MAKERS)
def test_making_a_run_reads_none(maker):
    model, plain = net(MAKERS[maker]), net(MAKERS[maker])
    nbopt.Run(model, (X, Y), optimizer=torch.optim.SGD(model.parameters(), 0.1), batch_size=24, epochs=3, store=None)
    # Had something read a weight, spectral_norm would have done a step of its power iteration.
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), plain.buffers(), strict=True))


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
@pytest.mark.parametrize("values", [{"sparsity": 0.5}, {"weight_bits": 4}, {"codebook": 4}], ids=str)
@pytest.mark.parametrize("maker", MAKERS)
def test_they_are_not_made_small(maker, values):
    run = nbopt.Run(net(MAKERS[maker]), (X, Y), epochs=1, store=None)
    with pytest.raises(InvalidHyperparam, match=r"the weight of 2 is computed by .* call .*remove_"):
        run.set(**values)
    run.fit()
