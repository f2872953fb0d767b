"""Runs that are stored and opened again."""

import warnings

import pytest

import nbopt
from tests.run.reopened.alike import FOREVER


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture(autouse=True)
def _no_warnings():
    """Nobody here is to be brought back other than bit for bit."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert [str(each.message) for each in caught] == []


@pytest.fixture
def reopen(make_run, mlp, blobs, store):
    """Return a maker of runs that are stored, and what opens them again with the same model and data."""

    def opened(run, **given):
        return nbopt.open(run.id, given.pop("model", mlp(0.3)), given.pop("train", blobs), **{"store": store, **given})

    return opened


@pytest.fixture
def make(make_run, mlp, blobs, store):
    def made(**settings):
        given = {"val": blobs, "epochs": FOREVER, "batch_size": 20, "metrics": ["accuracy"], "store": store}
        return make_run(mlp(0.3), **{**given, **settings})

    return made
