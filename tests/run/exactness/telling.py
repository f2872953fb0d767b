"""Runs that are not exact, and what they tell."""

from __future__ import annotations

import secrets

from torch import nn

SECONDS = 60


def tells(run):
    return [entry for entry in run.journal if entry.name == "not_exact"]


def jitter(scale=1e-2):
    """Return a forward that is another at each call, without any run seeing how.

    What it draws moves the output towards the target, so that two draws hardly ever have the same loss to the last bit.
    """

    def forward(model, batch):
        output, drawn = model(batch[0]), 1 + secrets.randbelow(10**6) / 10**6
        return output + scale * drawn * nn.functional.one_hot(batch[1], output.shape[1]), batch[1]

    return forward
