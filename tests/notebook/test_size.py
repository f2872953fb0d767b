"""The drawer that tells of a model's size, without a page."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import nbopt
from nbopt.notebook.panel.size.drawer import SizeDrawer, _tell_latency
from nbopt.notebook.panel.size.drawer import __file__ as drawer_file
from nbopt.run.size.kernels import Kernel
from nbopt.run.size.latency import Latency
from tests.notebook.frontend import eventually


@pytest.fixture
def run():
    torch.manual_seed(0)
    x = torch.randn(60, 6)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 2))
    made = nbopt.Run(
        model, (x, (x[:, 0] > 0).long()), val=0.3, metrics=["accuracy"], batch_size=14, epochs=20, store=None
    )
    made.step(30)
    yield made
    made.stop()


@pytest.fixture
def drawer(run):
    made = SizeDrawer(run, lambda: None, lambda: True)
    eventually(lambda: made.explorer.trail)
    yield made
    made.close()
    made.widget.close()


def painted(drawer):
    drawer.paint()
    return drawer.widget


def test_it_shows_where_the_model_is(run, drawer):
    page = painted(drawer)
    assert [row[:3] for row in page.layers] == [["0", "Linear", "84"], ["2", "Linear", "26"]]
    facts = dict(map(tuple, page.facts))
    assert facts["Operations for a sample"] == "96" and facts["Weights not 0"] == "110 of 110"
    assert facts["Validation accuracy"].endswith(" %")
    assert [mark[0] for mark in page.chart["marks"]] == ["now"]
    assert {tuple(each[:2]) for each in page.sweeps} >= {("weight_bits", "Weight bits"), ("sparsity", "Sparsity")}


def test_the_page_is_given_all_the_words_that_it_shows(drawer):
    text = (Path(drawer_file).parent / "size.js").read_text()
    kinds = {"now", "was", "stored", "beyond", "full", "run", "front"}
    columns = re.findall(r"'(\w+)'", re.search(r"titles = \[(.*?)\]", text).group(1))
    assert {*re.findall(r"\bwords\.(\w+)", text), *kinds, *columns} == drawer.widget.words.keys()


def test_a_sweep_is_drawn_and_a_point_of_it_taken(run, drawer):
    drawer._hear({"do": "sweep", "name": "weight_bits", "by": "bits_symmetric"})
    eventually(lambda: drawer.explorer.tradeoffs)
    sweep = painted(drawer).sweep
    assert [text for _place, text in sweep["x"]] == ["off", "8", "7", "6", "5", "4", "3", "2"]
    assert {name for name, _points in sweep["lines"]} == {"on", "off"}
    drawer._hear({"do": "take", "value": 3, "by": "off"})
    assert run.hyperparams["weight_bits"] == 3 and run.hyperparams["bits_symmetric"] is False
    assert run.journal.changes()[-1].source == "size"
    eventually(lambda: len(drawer.explorer.trail) > 1 and not drawer.explorer.at_work)
    assert painted(drawer).sweep["at"] == sweep["x"][6][0]
    kinds = [mark[0] for mark in drawer.widget.chart["marks"]]
    assert [kind for kind in kinds if kind not in ("stored", "beyond")] == ["was", "full", "now"]
    eventually(lambda: drawer.explorer.stored)
    eventually(lambda: len(drawer.explorer.stored) == len(run.snapshots))
    drawer.explorer.stored[0] = drawer.explorer.stored[0]._replace(score=0.0)
    chart = painted(drawer).chart
    assert all(0 <= place <= 1 for corner in chart["front"] for place in corner)  # none off the scale
    stored = [mark for mark in chart["marks"] if mark[0] in ("stored", "beyond")]
    assert stored[0][0] == "beyond" and stored[0][2] == 0 and stored[0][3].startswith("step 0, 0.0 %")
    assert all(mark[0] == "stored" for mark in stored if mark[3].split(", ")[0] == f"step {run.step_count}")


def test_layers_and_latency_are_found_when_asked_for(run, drawer):
    drawer._hear({"do": "sensitivity"})
    eventually(lambda: painted(drawer).note.startswith("no layer is compressed now"))
    run.set(weight_bits=8)
    eventually(lambda: len(drawer.explorer.trail) > 1)
    drawer._hear({"do": "sensitivity"})
    drawer._hear({"do": "time", "samples": 2})
    drawer._hear({"do": "axis", "name": "latency"})
    eventually(lambda: drawer.explorer.lost and drawer.explorer.latencies)
    page = painted(drawer)
    assert [row[-2:] for row in page.layers] == [["0.0 %", ""], ["0.0 %", ""]]
    assert [row[4] for row in page.layers] == ["8", "8"]
    assert page.facts[-1][0] == "Latency, batch of 2"
    assert all(text.endswith(" ms") for _place, text in page.chart["x"])
    assert {mark[0] for mark in page.chart["marks"]} >= {"now"}
    drawer.explorer.kernels = [Kernel("ONNX Runtime", 164_087, Latency(0.0005, 0.0002, 64))]
    assert painted(drawer).facts[-1] == ["ONNX Runtime, batch of 64", "0.50 ± 0.10 ms, 164 kB"]


@pytest.mark.parametrize(
    ("median", "spread", "text"),
    [(0.000152, 0.0000784, "0.152 ± 0.039"), (0.0000145, 0.000128, "0.015 ± 0.064"), (2.5, 0.3, "2,500 ± 150")],
)
def test_a_latency_has_as_many_digits_as_its_spread_leaves(median, spread, text):
    assert _tell_latency(Latency(median, spread, 1)) == f"{text} ms"


def test_what_it_does_not_understand_is_said(run, drawer):
    for message in (
        {"do": "sweep", "name": "lr", "by": ""},
        {"do": "sweep", "name": "weight_bits", "by": "lr"},
        {"do": "take", "value": 3, "by": ""},  # nothing was swept
        {"do": "axis", "name": "lr"},
        {"do": "time"},
        None,
    ):
        drawer._hear(message)
        assert painted(drawer).note.startswith("The sizes do not understand")
    drawer._hear({"do": "time", "samples": 0})
    assert painted(drawer).note == "Latency is measured with 1 to 4,096 samples."
    drawer._hear({"do": "axis", "name": "macs"})
    assert painted(drawer).note == "" and drawer.widget.axis == "macs"


def test_a_panel_makes_it_when_it_is_unfolded_and_ends_it_when_it_closes(page, show, run):
    panel = show(run)
    page.do(panel.drawers.toggles["size"], value=True)
    eventually(lambda: "size" in panel.drawers.made)
    explorer = panel.drawers.made["size"].explorer
    eventually(lambda: explorer.trail)
    panel.close()
    eventually(lambda: not explorer._thread.is_alive())
