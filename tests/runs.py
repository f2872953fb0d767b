"""Small models and data, and runs that are stopped when their test is over."""

import contextlib

import pytest
import torch
from torch import nn

from nbopt import Run
from nbopt.training.compile.background import BackgroundCompile
from nbopt.training.compile.build import Build
from nbopt.training.compile.captured import RECORDERS
from nbopt.training.compile.step import make_chunk
from tests.training import graphs
from tests.training.tiered import STEPS


@pytest.fixture(autouse=True)
def _one_torch_thread(one_torch_thread):
    """Every test here trains on one thread."""


@pytest.fixture(scope="session")
def blobs():
    """Return 60 samples of three classes that a line can tell apart."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 3
    x = torch.randn(60, 4, generator=generator) + 3 * nn.functional.one_hot(y, 4)
    return x, y


@pytest.fixture
def mlp():
    """Return a maker of a model for `blobs`, always with the same weights."""

    def make(dropout=0.0, seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))

    return make


@pytest.fixture
def make_run(mlp, blobs):
    """Return a maker of runs: of `mlp` over `blobs` where nothing else is given."""
    runs = []

    def make(model=None, train=blobs, **settings):
        run = Run(mlp() if model is None else model, train, **settings)
        runs.append(run)
        return run

    yield make
    for run in runs:
        with contextlib.suppress(Exception):
            run.stop()


@pytest.fixture
def weights():
    """Return a function that copies a run's weights and buffers into one vector."""

    def copied(run):
        return torch.cat([v.detach().flatten() for v in run.model.state_dict().values() if torch.is_tensor(v)]).clone()

    return copied


class Made(list):
    """The chunks that were made; ``steps`` is how many each of them does."""

    steps = 1


@pytest.fixture(params=["compiled", "captured"])
def compiled(request, monkeypatch):
    """Take chunks for compiled, or capture them, at once; look at the tier after every step; return the chunks made.

    The compiler is left out, chunks run as they are; graphs are those of `tests.training.graphs`, for want of a GPU.
    Either way, `STEPS` steps are done in a call.
    """
    made = Made()

    def note(*arguments):
        made.append(make_chunk(*arguments))
        return made[-1]

    monkeypatch.setattr("nbopt.training.compile.compiled.make_chunk", note)
    if request.param == "captured":
        monkeypatch.setitem(RECORDERS, "cpu", graphs.record)
        made.steps = STEPS
    monkeypatch.setattr(Build, "compile", lambda self, chunk, example: chunk)
    monkeypatch.setattr("nbopt.training.loss_buffer._FLUSH_SECONDS", -1.0)
    monkeypatch.setattr("nbopt.training.core._LOOK_SECONDS", -1.0)
    monkeypatch.setattr("nbopt.training.step.mode._WATCHED_SECONDS", 0.0)
    monkeypatch.setattr("nbopt.training.step.mode._fitting", lambda speed: STEPS)
    monkeypatch.setattr("nbopt.training.step.mode._most_in_row", lambda seconds: STEPS)
    monkeypatch.setattr(BackgroundCompile, "start", BackgroundCompile.run)
    return made


@pytest.fixture
def make_tiered(make_run, mlp, blobs):
    """Return a maker of runs that compile; 15 batches an epoch."""

    def make(model=None, **settings):
        settings = {"tier": "compiled", "batch_size": 4, "epochs": 10**6, "store": None, **settings}
        run = make_run(mlp(dropout=0.3) if model is None else model, **settings)
        run.events()
        run.training.meter.tick(running=True)  # also where no worker pulls
        return run

    return make
