"""The still picture that a saved notebook shows."""

from __future__ import annotations

import copy
import html
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nbopt
from nbopt.notebook import static_view
from nbopt.notebook.charts.colours import MARK
from nbopt.notebook.frontend import bridge
from nbopt.notebook.naming import in_own_names
from nbopt.notebook.static_view import MOST_BYTES, still
from tests.notebook.frontend import eventually

TITLES = {"loss": "Loss", "accuracy": "Accuracy"}


def drawn(run, titles=TITLES):
    return ET.fromstring(still(run, titles))  # well-formed, whatever is in it


def lines(root, colour):
    return [path for path in root.iter("{http://www.w3.org/2000/svg}path") if path.get("stroke") == colour]


def test_it_tells_curves_marks_state_and_the_way_back(make_run, tmp_path):
    run = make_run(store=tmp_path)
    run.step(10)
    run.set(lr=0.5, batch_size=7)
    run.step(10)
    root = drawn(run)
    text = "".join(root.itertext())
    for part in (
        "Paused",
        "step 20",
        "Learning rate 0.001 → 0.5, Batch size 64 → 7 @ 10",
        f'nbopt.open("{run.id}", model',
    ):
        assert part in text
    assert f"store='{tmp_path}'" in text and "val=" not in text  # it was a share of train
    assert len(lines(root, "#2b8cd6")) == len(lines(root, "#e0701b")) == 2
    assert all("Learning rate 0.001" in path[0].text for path in lines(root, MARK))


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_of_many_charts_the_first_is_as_wide_as_two_of_the_others(make_run, count):
    run = make_run(store=None)
    run.step(10)
    run.set(lr=0.5)
    run.step(10)
    names = ["loss", *(f"metric {k}" for k in range(1, count))]
    for name in names[1:]:
        run.history.extend(name, range(20), [0.5] * 20)
    root = drawn(run, {name: name for name in names})
    boxes = [svg.get("viewBox") for svg in root.iter("{http://www.w3.org/2000/svg}svg")]
    few = ["0 0 560 230"] * count
    assert boxes == (few if count < 3 else ["0 0 732 230"] + ["0 0 360 150"] * (count - 1))
    marks = lines(root, MARK)
    assert len(marks) == count and [len(mark) for mark in marks[1:]] == [int(count < 3)] * (count - 1)
    assert "Learning rate 0.001 → 0.5" in marks[0][0].text


def test_before_the_start_it_tells_what_the_run_is(make_run):
    text = "".join(drawn(make_run(store=None)).itertext())
    assert "Ready" in text and "Learning rate 0.001" in text and "not stored" in text


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_it_is_never_too_long_nor_broken(make_run, data):
    count = data.draw(st.integers(1, 12))
    names = data.draw(st.lists(st.text("ab<&\"'é", min_size=1, max_size=300), min_size=count, max_size=count))
    names = [f"{k}{name}" for k, name in enumerate(names)]
    run = make_run(name=data.draw(st.text("x<&>\"'", min_size=1, max_size=500)), store=None)
    value = st.floats(allow_nan=True, allow_infinity=True)
    for name in ["loss", *names]:
        for row in (name, f"val_{name}"):
            steps = data.draw(st.sampled_from([0, 1, 2, 500, 5000]))
            some = data.draw(st.lists(value, min_size=1, max_size=7))
            if steps:
                run.history.extend(row, range(steps), [some[k % len(some)] for k in range(steps)])
    for step in range(data.draw(st.sampled_from([0, 3, 300]))):
        run.journal.change(step, "lr", 1e-3, step * 1.23456789e-9, "<code>")
    drawn(run, {name: f"<{name}>" for name in ["loss", *names]})
    assert len(still(run, {name: name for name in ["loss", *names]}).encode()) <= MOST_BYTES


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_no_text_of_the_users_becomes_html(make_run, name):
    run = make_run(name=name, store=None)
    run.step(3)
    text = still(run, TITLES)
    assert name not in text and html.escape(name) in text


@pytest.mark.parametrize("spike", [1.0, 1e5])
def test_a_spike_is_told_by_an_arrow_and_leaves_the_curve_its_room(make_run, spike):
    run = make_run(metrics=[])
    values = 1 + np.sin(np.arange(300)) / 4
    values[100] = spike
    run.history.extend("loss", range(300), values)
    text = still(run, {"loss": "Loss"})
    assert ("▲" in text) is (spike > 2)
    assert ">1.2</text>" in text  # on the axis: a number of the curve's, not of the spike's
    (line,) = lines(ET.fromstring(text), "#2b8cd6")
    _left, *pieces = line.get("d").split("M")
    assert len(pieces) == (2 if spike > 2 else 1)
    ends = {round(float(pieces[0].rsplit(" ", 1)[1])), round(float(pieces[-1].split("L")[0].split(" ")[1]))}
    assert spike == 1.0 or ends == {10}  # it leaves by the top and comes back from there


def test_while_a_run_trains_it_is_drawn_anew_once_a_minute_whoever_looks(make_run, monkeypatch):
    published = []
    monkeypatch.setattr(static_view, "display", lambda bundle, **keys: published.append(bundle["text/html"]))
    clock = [1000.0]
    monkeypatch.setattr(static_view.time, "monotonic", lambda: clock[0])
    run = make_run(store=None)
    picture = static_view.StaticView(run, TITLES)  # without a panel, which draws it as the run comes to rest
    picture.put()
    run.step(3)
    picture.keep_up()
    clock[0] += 40
    picture.keep_up()
    assert len(published) == 1  # not yet
    clock[0] += 15
    picture.keep_up()
    assert len(published) == 2 and "step 3" in published[-1]


def test_the_bridge_has_it_keep_up_where_nobody_looks(make_run, show, monkeypatch):
    monkeypatch.setattr(bridge, "_BESIDE_SECONDS", 0.01)
    run = make_run(store=None)
    panel = show(run)  # and no page answers
    called = []
    panel.bridge._beside = lambda: called.append(run.state.name)
    run.start()
    panel.bridge.wake()
    eventually(lambda: called.count("RUNNING") > 3)
    run.pause()


def test_the_way_back_names_model_and_data_as_the_notebook_does(make_run, tmp_path):
    run = make_run(store=tmp_path)
    run.step(2)
    data = run.spec.origin
    own = {"mlp": run.model, "X_train": data[0], "y_train": data[1], "other": 3}
    told = in_own_names(run.opening, run, own)
    assert told.startswith(f'run = nbopt.open("{run.id}", mlp, train=(X_train, y_train), store=')
    assert in_own_names(run.opening, run, {"pairs": data}) == run.opening.replace("(X, y)", "pairs")
    assert in_own_names(run.opening, run, {"X_train": data[0]}) == run.opening
    opened = eval(told.removeprefix("run = "), {"nbopt": nbopt, **own, "mlp": copy.deepcopy(run.model)})
    assert opened.id == run.id
