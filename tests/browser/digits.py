"""A run over the digits, and what its panel shows."""

from __future__ import annotations

import re

DIGITS = """
%load_ext nbopt
import nbopt, torch
from sklearn.datasets import load_digits
from torch import nn
X, y = load_digits(return_X_y=True)
def make(**settings):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
    return nbopt.Run(model, train=(X / 16, y), val=0.2, metrics=["accuracy"], **{"epochs": 100_000, **settings})
"""


def applied_step(notebook, name: str) -> int:
    """Wait for the badge of a control and return the step it names."""
    badge = notebook.page.locator(f".nbopt-hp-{name} .nbopt-applied").first
    badge.wait_for()
    return int(re.search(r"[\d,]+", badge.inner_text()).group().replace(",", ""))


def wait_for_text(notebook, selector: str, text: str) -> None:
    notebook.page.locator(selector, has_text=text).first.wait_for()
