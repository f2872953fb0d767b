"""Steps of all members as one compiled function; the compiler itself is left out."""

import pytest

import nbopt
from nbopt.training.compile.background import BackgroundCompile
from nbopt.training.compile.build import Build
from tests.run.population.shared import SETTINGS, assert_same, convolutional, dense, digits, model_of

__all__ = ["digits"]
pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.parametrize(("make", "optimizer"), [(dense, "adam"), (dense, "sgd"), (convolutional, "sgd")])
def test_compiled_members_are_the_single_runs(digits, monkeypatch, make, optimizer):
    made = []
    monkeypatch.setattr(Build, "compile", lambda self, chunk, example: made.append(chunk) or chunk)
    monkeypatch.setattr(BackgroundCompile, "start", BackgroundCompile.run)
    monkeypatch.setattr("nbopt.training.many.compiled._LOOK_SECONDS", -1.0)
    given = {**SETTINGS, "optimizer": optimizer, "weight_decay": 1e-3, "l1": 1e-4, "metrics": ["accuracy"]}
    population = nbopt.Population(model_of(make), digits, 0.2, lr=[0.003, 0.01, 0.02], tier="compiled", **given)
    population.step(4)
    assert population.tier == "all members at once, compiled"
    population.set(lr=0.005, members=[1])
    population.stop(members=[0])
    population.fit()
    assert len(made) == 2  # of three members, then of two
    for member in population:
        run = nbopt.Run(model_of(make), digits, 0.2, lr=member.initial["lr"], store=None, **given)
        run.step(4)
        if member.number == 1:
            run.set(lr=0.005)
        if member.step_count > 4:
            run.fit()
        assert_same(member, run)
