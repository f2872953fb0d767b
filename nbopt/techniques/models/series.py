"""Models that read a series."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nbopt.hyperparams import Int
from nbopt.i18n import N_, _
from nbopt.techniques.models.base import DROPOUT, GROUP, Model, depth_of, width_of


class GRU(Model):
    """Gated recurrent units over a series (Cho et al. 2014), read in both directions, their mean over time.

    Examples
    --------
    >>> nbopt.models.GRU(inputs=2, outputs=4)(torch.randn(5, 100, 2)).shape
    torch.Size([5, 4])
    """

    depth = depth_of(1, N_("Layers of units."))
    width = width_of(32)
    dropout = DROPOUT
    cell: type[nn.RNNBase] = nn.GRU

    def build(self, inputs: int, outputs: int) -> None:
        """Make the layers."""
        between = self.dropout if self.depth > 1 else 0.0
        cell: Any = self.cell
        self.units = cell(inputs, self.width, self.depth, batch_first=True, dropout=between, bidirectional=True)
        self.head = nn.Sequential(nn.Dropout(self.dropout), nn.Linear(2 * self.width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Turn (n, time, inputs), or (n, time) of single numbers, into (n, outputs)."""
        states, _last = self.units(x if x.ndim == 3 else x[:, :, None])
        out: Tensor = self.head(states.mean(1))
        return out


class LSTM(GRU):
    """Long short-term memory over a series (Hochreiter and Schmidhuber 1997), as `GRU`.

    Examples
    --------
    >>> nbopt.models.LSTM(inputs=2, outputs=4)(torch.randn(5, 100, 2)).shape
    torch.Size([5, 4])
    """

    cell = nn.LSTM


class Transformer(Model):
    """A small encoder over a series (Vaswani et al. 2017), norms first, with learnt positions, its mean over time.

    Examples
    --------
    >>> nbopt.models.Transformer(inputs=2, outputs=4)(torch.randn(5, 100, 2)).shape
    torch.Size([5, 4])
    """

    depth = depth_of(2, N_("Layers of attention."))
    width = width_of(32)
    dropout = DROPOUT
    heads = Int(
        4,
        low=1,
        high=8,
        powers=True,
        ge=1,
        label=N_("Heads"),
        group=GROUP,
        help=N_("Attention heads, among which the width is divided."),
    )
    length = Int(
        128,
        low=8,
        high=1024,
        powers=True,
        ge=1,
        label=N_("Length"),
        group=GROUP,
        help=N_("Longest series the model can read."),
    )

    def build(self, inputs: int, outputs: int) -> None:
        """Make the layers."""
        if self.width % self.heads:
            rule = _("width must be a multiple of heads")
            raise ValueError(_("{rule}; got {width} and {heads}.", rule=rule, width=self.width, heads=self.heads))
        self.embed = nn.Linear(inputs, self.width)
        self.place = nn.Parameter(0.02 * torch.randn(self.length, self.width))
        layer = nn.TransformerEncoderLayer(
            *(self.width, self.heads, 4 * self.width, self.dropout), "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, self.depth, enable_nested_tensor=False)
        self.head = nn.Linear(self.width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Turn (n, time, inputs), or (n, time) of single numbers, into (n, outputs)."""
        x = self.embed(x if x.ndim == 3 else x[:, :, None])
        out: Tensor = self.head(self.layers(x + self.place[: x.shape[1]]).mean(1))
        return out
