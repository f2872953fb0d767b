"""CONTRIBUTING's table "Where a new thing goes" is true: one of each kind, made in a module of its own, is used.

Each module is what the table says is to be written, and `ENTRIES` what else is to change. Nothing else is touched.
"""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import nbopt
from nbopt import Run
from nbopt.notebook.playground import playground
from nbopt.notebook.playground.lessons import LESSONS
from nbopt.search.samplers import pruners, samplers
from nbopt.techniques.losses.choice import LOSSES
from nbopt.techniques.metrics.choice import METRICS, NUMBERS
from nbopt.techniques.models import FAMILIES
from nbopt.techniques.optimizers.standard import OPTIMIZERS
from nbopt.techniques.schedules.choice import SCHEDULE, SCHEDULES
from nbopt.testing import check_technique
from nbopt.training.structure.edits import EDITS
from tests.new_things import (
    EDIT,
    EXECUTOR,
    FAMILY,
    LESSON,
    LOSS,
    METRIC,
    OPTIMIZER,
    PICTURE,
    PRUNER,
    SAMPLER,
    SCHEDULE_MODULE,
    SOURCE,
    TECHNIQUE,
)

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
Y = (X.sum(1) > 0).long()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that writes a module and imports it."""

    def write(text):
        path = tmp_path / "a_new_thing.py"
        path.write_text(text.lstrip())
        spec = importlib.util.spec_from_file_location("a_new_thing", path)
        made = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "a_new_thing", made)
        spec.loader.exec_module(made)
        return made

    return write


def make(train=(X, Y), **settings):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    return Run(model, train, **{"store": None, "epochs": 2, "batch_size": 20, "device": "cpu", **settings})


def trains(run):
    run.fit()
    assert run.step_count == 6 and all(torch.isfinite(weight).all() for weight in run.model.parameters())
    again = run.replay()
    again.wait(60)
    for weight, other in zip(run.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(weight, other)
    return run


def new_technique(module, _monkeypatch):
    check_technique(module(TECHNIQUE).Shrink, {"shrink": 0.9}, {"shrink": 0.99})


def new_schedule(module, monkeypatch):
    monkeypatch.setitem(SCHEDULES, "root", module(SCHEDULE_MODULE).Root)
    monkeypatch.setattr(SCHEDULE, "options", tuple(SCHEDULES))  # read once, when the package is imported
    run = trains(make(schedule="root", root_offset=2.0))
    assert "class Root" in run.to_python() and run.hyperparams.spec("root_offset").label == "Offset"


def new_optimizer(module, monkeypatch):
    monkeypatch.setitem(OPTIMIZERS, "rprop", module(OPTIMIZER).Rprop)
    run = trains(make(optimizer="rprop"))
    assert "torch.optim.Rprop" in run.to_python()
    run = make(optimizer="sgd")
    run.step()
    run.set(optimizer="rprop")
    run.step()
    assert type(run.optimizer).__name__ == "Rprop"


def new_loss(module, monkeypatch):
    monkeypatch.setitem(LOSSES, "smooth_l1", module(LOSS).SmoothL1)
    run = trains(make((X, X[:, :2]), loss="smooth_l1"))
    assert "functional.smooth_l1_loss" in run.to_python()
    assert "smooth_l1" in make((X, X[:, :2]), loss="mse").hyperparams.spec("loss").options


def new_metric(module, monkeypatch):
    worst = module(METRIC).worst
    monkeypatch.setitem(METRICS, "worst", worst)
    NUMBERS.add(worst)
    run = trains(make((X, X[:, :2]), val=(X, X[:, :2]), loss="mse", metrics=["worst"]))
    assert run.history.last("val_worst") > 0 and "def worst" in run.to_python()
    NUMBERS.discard(worst)


def new_model_family(module, monkeypatch):
    family = module(FAMILY).Wide
    monkeypatch.setitem(FAMILIES, "wide", family)
    model = family(inputs=4, outputs=2, width=16)
    run = Run(model, (X, Y), epochs=1, store=None).fit()
    assert model.layers[0].out_features == 16 and run.history.last("loss") < 2


def new_kind_of_data(module, _monkeypatch, folder):
    path = folder / "rows.csv"
    path.write_text("\n".join(",".join(map(str, [*row.tolist(), int(y)])) for row, y in zip(X, Y, strict=True)))
    run = trains(make(module(SOURCE).CsvSource(path)))
    same = trains(make())
    assert run.history["loss"][1].tolist() == same.history["loss"][1].tolist()


def new_edit(module, monkeypatch):
    reorder = module(EDIT).Reorder
    monkeypatch.setitem(EDITS, reorder.kind, reorder)
    run = make()
    run.step(2)
    branch = run.branch(at=2, edit=reorder("0", "2"))
    before, after = (each.model[0].weight.detach() for each in (run, branch))
    assert not torch.equal(before, after) and sorted(before.tolist()) == sorted(after.tolist())
    torch.testing.assert_close(run.predict(X), branch.predict(X))
    branch.step(2)
    twin = branch.replay()
    twin.wait()
    assert all(map(torch.equal, twin.model.parameters(), branch.model.parameters()))
    with pytest.raises(ValueError, match="outputs or loss of the next batch would be others"):
        branch.edit(reorder("0", "0"))


def new_picture(module, _monkeypatch):
    run = make().fit()
    assert module(PICTURE).sparkline(run.history).values == run.history["loss"][1].tolist()


def new_lesson(module, monkeypatch):
    monkeypatch.setitem(LESSONS, "patience", module(LESSON).PATIENCE)
    page = playground.Playground("patience")
    assert page.run.hyperparams["lr"] == 0.02
    page.close()


def make_study(**options):
    space = {"lr": (0.01, 0.1)}
    return nbopt.Study(nn.Linear(4, 2), (X, Y), 0.25, space=space, epochs=2, trials=2, store=None, **options)


def new_sampler(module, monkeypatch):
    monkeypatch.setitem(samplers.OWN, "ends", module(SAMPLER).ends)
    monkeypatch.setattr(samplers, "SAMPLERS", (*samplers.SAMPLERS, "ends"))
    study = make_study(sampler="ends").fit()
    assert [trial.values["lr"] for trial in study.trials] == pytest.approx([0.01, 0.1])


def new_pruner(module, monkeypatch):
    monkeypatch.setitem(pruners._PRUNERS, "strict", module(PRUNER).strict)
    study = make_study(pruner="strict", executor="inline").fit()
    assert [trial.state for trial in study.trials] == ["pruned", "pruned"]


def new_executor(module, _monkeypatch):
    executor = module(EXECUTOR).Counting()
    study = make_study(executor=executor).fit()
    assert len(study.trials) == executor.taken == 2


ROWS = {
    "technique": new_technique,
    "schedule": new_schedule,
    "optimizer": new_optimizer,
    "loss": new_loss,
    "metric": new_metric,
    "model family": new_model_family,
    "kind of data": new_kind_of_data,
    "edit of a model's structure": new_edit,
    "picture": new_picture,
    "sampler": new_sampler,
    "pruner": new_pruner,
    "executor": new_executor,
    "lesson": new_lesson,
}


@pytest.mark.parametrize("kind", ROWS)
def test_one_of_each_kind_can_be_added_as_the_table_says(kind, module, monkeypatch, tmp_path):
    ROWS[kind](module, monkeypatch, *([tmp_path] if kind == "kind of data" else []))


def test_the_table_has_these_rows_and_names_files_that_there_are():
    root = Path(nbopt.__file__).parents[1]
    text = (root / "CONTRIBUTING.md").read_text().partition("## Where a new thing goes")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:4] for line in text.splitlines() if line.startswith("| ")][1:]
    assert [row[0].strip() for row in rows] == list(ROWS)
    for name in re.findall(r"`(\w+/[\w/]*\w\.?\w+)`", (root / "CONTRIBUTING.md").read_text()):
        if "." in name:
            assert (root / "nbopt" / name).exists() or (root / name).exists(), name
