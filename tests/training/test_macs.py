"""Counting multiply-accumulate operations."""

import threading

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nbopt.training.structure.macs import count_macs


class Recurrent(nn.Module):
    def __init__(self, kind, **settings):
        super().__init__()
        self.rnn = kind(5, 6, batch_first=True, **settings)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1, :6])


def layer(**settings):
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **settings)


MACS = {
    "linear": (nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), (7, 4), {"0": 7 * 12, "2": 7 * 6}),
    "convolution": (nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()), (2, 2, 6, 6), {"0": 2 * 16 * 3 * 2 * 9}),
    "depthwise": (nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4)), (1, 4, 6, 6), {"0": 36 * 4 * 9}),
    "lstm": (Recurrent(nn.LSTM), (3, 7, 5), {"rnn": 3 * 7 * 4 * 6 * (5 + 6), "head": 3 * 18}),
    "gru": (Recurrent(nn.GRU), (3, 7, 5), {"rnn": 3 * 7 * 3 * 6 * (5 + 6), "head": 3 * 18}),
    "two ways": (
        Recurrent(nn.LSTM, num_layers=2, bidirectional=True),
        (3, 7, 5),
        {"rnn": 3 * 7 * 2 * 24 * (5 + 6) + 3 * 7 * 2 * 24 * (12 + 6), "head": 3 * 18},
    ),
}


@pytest.mark.parametrize("name", MACS)
@pytest.mark.parametrize("graph", [True, False], ids=["with a graph", "without"])
def test_they_are_those_of_the_formula(name, graph):
    model, shape, expected = MACS[name]
    with torch.set_grad_enabled(graph):
        assert count_macs(model.eval(), lambda: model(torch.randn(shape))) == expected


def test_a_transformer_counts_the_same_by_torchs_own_functions_and_scores_count_too():
    model, x = nn.Sequential(layer(), layer()).eval(), torch.randn(3, 5, 8)
    with torch.no_grad():
        fast = count_macs(model, lambda: model(x))
    with FlopCounterMode(display=False) as theirs:
        model(x)
    slow = count_macs(model, lambda: model(x))
    scores = 2 * 3 * 2 * 5 * 5 * 8  # of two layers: queries with keys, and what is summed of values
    assert sum(fast.values()) == sum(slow.values()) == theirs.get_total_flops() // 2 + scores


def test_the_pass_computes_what_it_would():
    model, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.randn(2, 4)
    outputs = []
    count_macs(model, lambda: outputs.append(model(x)))
    assert torch.equal(outputs[0], model(x))


def test_a_module_used_twice_counts_twice_and_hooks_are_gone():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    assert count_macs(model, lambda: model(torch.randn(2, 4))) == {"0": 2 * 2 * 16}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_what_another_thread_computes_does_not_count():
    model = nn.Sequential(nn.Linear(4, 4))

    def do():
        other = threading.Thread(target=lambda: torch.randn(9, 9) @ torch.randn(9, 9))
        other.start()
        other.join()
        return model(torch.randn(2, 4))

    assert count_macs(model, do) == {"0": 32}


def test_a_pass_that_raises_leaves_no_hooks():
    model = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(RuntimeError):
        count_macs(model, lambda: model(torch.randn(2, 3)))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
