"""Runs that are not exact, and what they tell."""

from __future__ import annotations

import secrets

SECONDS = 60


def tells(run):
    return [entry for entry in run.journal if entry.name == "not_exact"]


def jitter(scale=1e-2):
    """Return a forward that is another at each call, without any run seeing how."""

    def forward(model, batch):
        return model(batch[0]) * (1 + scale * (1 + secrets.randbelow(10**6) / 10**6)), batch[1]

    return forward
