"""Names, stars and the table of a store's runs, and deleting one of them."""

import re

import pytest
import torch
from torch import nn

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.store import writer
from nbopt.store.cleaning import delete
from nbopt.store.marking import rename, star, stars
from nbopt.store.values import differing

X = torch.linspace(-1, 1, 60)[:, None]


@pytest.fixture
def folder(tmp_path):
    """Return a store with two runs that nobody holds, with other rates and seeds."""
    for name, lr, seed in (("<b>one</b>", 0.01, 0), ("two", 0.1, 1)):
        run = nbopt.Run(nn.Linear(1, 1), (X, X), (X, X), "mse", lr=lr, seed=seed, epochs=2, name=name, store=tmp_path)
        run.step(1)
        run.set(weight_decay=seed / 100)
        run.step(1)
        run.stop()
        writer.flush()
        run.recorder.leave()
    return tmp_path


def test_stars_and_names_stay_with_the_store(folder):
    one, two = nbopt.runs(folder)
    star(two.id, store=folder)
    rename(one.id, "first", folder)
    again = nbopt.runs(folder)
    assert [(line.name, line.starred) for line in again] == [("first", False), ("two", True)]
    assert ">★ two<" in again._repr_html_() and ">first<" in again._repr_html_()
    assert nbopt.open(one.id, store=folder).name == "first"
    star(two.id, on=False, store=folder)
    assert stars(folder) == frozenset()


@pytest.mark.parametrize("content", ["", "{", '{"a": 1}', "[1, null]", "[" * 10**5])
def test_a_spoilt_file_of_stars_hides_no_run(folder, content):
    (folder / "stars.json").write_text(content)
    assert [line.starred for line in nbopt.runs(folder)] == [False, False]
    star(nbopt.runs(folder)[0].id, store=folder)
    assert [line.starred for line in nbopt.runs(folder)] == [True, False]


def test_what_cannot_be_renamed_is_told(folder):
    with pytest.raises(InvalidHyperparam, match="abcd"):
        rename("abcd", "x", folder)
    with pytest.raises(InvalidHyperparam, match="name must be"):
        rename(nbopt.runs(folder)[0].id, "", folder)


def test_the_table_has_the_newest_run_first_and_the_settings_that_differ(folder):
    html = nbopt.runs(folder)._repr_html_()
    heads = re.findall(r"<th[^>]*>([^<]*)</th>", html)
    assert {"lr", "weight_decay", "seed"} <= set(heads) and "batch_size" not in heads
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in html.split("<tr>")[2:]]
    assert [row[0] for row in rows] == ["two", "&lt;b&gt;one&lt;/b&gt;"] and all(heads)
    cells = dict(zip(heads, rows[0], strict=True))
    assert (cells["lr"], cells["weight_decay"], cells["seed"], cells["step"]) == ("0.1", "0.01", "1", "2")
    assert "<b>" not in html
    assert all("white-space:nowrap" in cell for cell in re.findall(r"<t[dh] [^>]*>", html))


def test_the_newest_value_and_the_settings_it_ended_with_are_told(folder):
    one, two = nbopt.runs(folder)
    assert one.last == nbopt.open(one.id, store=folder).history.last("val_loss")
    assert (two.settings["lr"], two.settings["weight_decay"], two.settings["seed"]) == (0.1, 0.01, 1)


def test_settings_that_a_run_does_not_know_are_not_compared():
    assert differing([{"a": 1, "b": 2}, {"a": 1.0}, {"b": 2}]) == ["a"]
    assert differing([]) == []


def test_a_run_is_deleted_with_all_that_belongs_to_it_and_one_in_use_is_not(folder):
    one, two = nbopt.runs(folder)
    delete(one.id, folder)
    assert [line.id for line in nbopt.runs(folder)] == [two.id]
    assert not (folder / "snapshots" / one.id).exists()
    delete("abcd", folder)
    opened = nbopt.open(two.id, nn.Linear(1, 1), (X, X), (X, X), store=folder)
    with pytest.raises(RuntimeError, match="held by a live process"):
        delete(two.id, folder)
    assert opened.step_count == 2
