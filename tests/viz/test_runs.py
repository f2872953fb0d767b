"""Runs side by side, as plain data."""

import numpy as np
import pytest
from torch import nn

import nbopt
from nbopt.record.history import History
from nbopt.store import writer
from nbopt.viz.runs import differences, differing_settings, grouped, list_runs, mean_and_band


def history_of(values, start=0):
    made = History()
    made.extend("loss", range(start, start + len(values)), np.array(values, float))
    return made


def test_mean_and_band_count_each_run_as_far_as_it_reaches():
    mean, low, high = mean_and_band([history_of([4.0, 2.0, 1.0]), history_of([2.0, 4.0])])
    assert mean["loss"][0].tolist() == [0, 1, 2]
    assert mean["loss"][1].tolist() == [3.0, 3.0, 1.0]
    assert low["loss"][1].tolist() == [2.0, 2.0, 1.0] and high["loss"][1].tolist() == [4.0, 4.0, 1.0]


def test_steps_that_one_of_them_did_not_measure_are_filled_in_between():
    sparse = History()
    sparse.extend("loss", [0, 4], np.array([0.0, 4.0]))
    mean, _low, _high = mean_and_band([sparse, history_of([0.0, 0.0, 0.0, 0.0, 0.0])])
    assert mean["loss"][1].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_a_long_run_becomes_a_mean_of_some_hundred_points():
    mean, _low, _high = mean_and_band([history_of(np.zeros(5000)), history_of(np.ones(5000))])
    steps, values = mean["loss"]
    assert len(steps) <= 400 and set(values) == {0.5}


@pytest.fixture
def stored(tmp_path):
    """Return a store with one run that nobody holds, and a run that lives there."""
    x = np.linspace(-1, 1, 40)[:, None]
    runs = []
    for name, lr in (("old", 0.1), ("new", 0.01)):
        runs.append(nbopt.Run(nn.Linear(1, 1), (x, x), loss="mse", lr=lr, name=name, store=tmp_path, epochs=5))
        runs[-1].step(3)
        writer.flush()
    runs[0].stop()
    runs[0].recorder.leave()
    return tmp_path, runs[1]


def test_each_run_is_listed_once_the_newest_first_and_that_of_the_process_as_it_is_now(stored):
    folder, live = stored
    live.step(2)
    live.set(lr=0.5)
    rows = list_runs([live], nbopt.runs(folder))
    assert [(row.name, row.is_live, row.is_stored) for row in rows] == [("new", True, True), ("old", False, True)]
    assert rows[0].step == 5 and rows[0].settings["lr"] == 0.5 and rows[0].settings["seed"] == 0
    assert differing_settings(rows) == ["lr"]
    assert differences(rows) == [("lr", (0.5, 0.1))]
    assert {value: [row.name for row in members] for value, members in grouped(rows, "lr").items()} == {
        "0.5": ["new"],
        "0.1": ["old"],
    }
    assert list(grouped(rows, "")) == [""]
