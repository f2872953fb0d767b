"""Each setting of what compresses, changed while a run trains, is repeated, stored and exported."""

import pytest
import torch
from torch import nn

from nbopt.techniques.compression.activation_bits import ActivationBits
from nbopt.techniques.compression.bits import WeightBits
from nbopt.techniques.compression.codebook import Codebook
from nbopt.techniques.compression.group_lasso import GroupLasso
from nbopt.techniques.compression.sparsity import Sparsity
from nbopt.testing import check_run

pytestmark = pytest.mark.usefixtures("one_torch_thread")

GROWN = {"sparsity": 0.5, "sparsity_end": 0.9, "sparsity_every": 2}
CHANGES = [  # what a run is made with, and what is changed
    (GROWN, {"sparsity_pattern": "neurons", "sparsity_begin": 0.2, "sparsity_end": 0.7, "sparsity_every": 1}),
    (GROWN, {"sparsity": 0.7, "sparsity_method": "random", "sparsity_scope": "layer", "sparsity_regrow": False}),
    ({"weight_bits": 4}, {"bits_by_channel": False, "bits_symmetric": False}),
    ({"weight_bits": 4, "bits_by_channel": False}, {"fold_batch_norm": True, "step_size_rate": 0.1}),
    ({"weight_bits": 4, "activation_bits": 5}, {"weight_bits": 3, "activation_bits": 4, "bits_layers": "0=2, 3, 6"}),
    ({"codebook": 8}, {"codebook": 4, "bits_ends": False}),
    ({"group_lasso": 0.1}, {"group_lasso": 0.2, "group_lasso_of": "inputs"}),
]


def net():
    torch.manual_seed(0)
    convolutions = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Flatten()
    return nn.Sequential(*convolutions, nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 3))


def data():
    y = torch.arange(24) % 3
    return torch.randn(24, 1, 6, 6, generator=torch.Generator().manual_seed(0)) + y.view(-1, 1, 1, 1), y


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_a_change_of_any_setting_is_repeated_stored_and_exported(number):
    settings, change = CHANGES[number]
    check_run(net, data(), change, **settings)


def test_all_settings_are_changed():
    parts = (Sparsity, WeightBits, ActivationBits, Codebook, GroupLasso)
    assert {name for part in parts for name in part.declared()} == {
        name for _made, change in CHANGES for name in change
    }
