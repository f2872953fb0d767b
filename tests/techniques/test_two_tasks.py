"""Two tasks with a loss, a weight and a metric each, as a user would write them: they keep what all runs promise."""

import pytest
import torch
from torch import nn

from nbopt import Run
from nbopt.testing import check_run

pytestmark = pytest.mark.usefixtures("one_torch_thread")


class Turned(nn.Module):
    """Tells the class of an image, and by what angle it is turned."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Dropout(0.2))
        self.digit, self.angle = nn.Linear(64, 3), nn.Linear(64, 1)

    def forward(self, x):
        h = self.body(x)
        return {"digit": self.digit(h), "angle": self.angle(h)}


def turned():
    generator = torch.Generator().manual_seed(0)
    digit = torch.arange(24) % 3
    x = torch.randn(24, 1, 6, 6, generator=generator) + digit.view(-1, 1, 1, 1)
    return x, {"digit": digit, "angle": x[:, 0, 0, 0] - x[:, 0, 5, 5]}


TASKS = {
    "loss": {"digit": "cross_entropy", "angle": (0.3, "mse")},
    "metrics": {"digit": ["accuracy"], "angle": ["mae"]},
}


def test_two_tasks_are_trained_at_once():
    run = Run(Turned(), turned(), turned(), **TASKS, lr=0.01, epochs=30, device="cpu", store=None)
    run.fit()
    for name in ("digit_loss", "angle_loss", "digit_accuracy", "angle_mae"):
        for series in (run.history[name][1], run.history[f"val_{name}"][1]):
            assert (series[-1] > series[0]) == (name == "digit_accuracy"), name


@pytest.mark.parametrize("change", [{"angle_weight": 2.0}, {"digit_label_smoothing": 0.1}, {"balance": "uncertainty"}])
def test_two_tasks_keep_what_all_runs_promise(change):
    check_run(Turned, turned(), change, **TASKS)
