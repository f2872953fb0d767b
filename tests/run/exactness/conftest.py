"""Warnings are caught, and snapshots may be kept from being made."""

from __future__ import annotations

import warnings

import pytest


@pytest.fixture(autouse=True)
def said():
    """Return the list of what is warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


@pytest.fixture
def no_snapshots(monkeypatch):
    """Keep none but the first snapshot, those before changes and those of the best validation."""
    monkeypatch.setattr("nbopt.training.snapshots.securing.SECONDS", 1e9)
