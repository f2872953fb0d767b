"""A store that is spoilt, or that somebody else made: what reads it touches nothing outside, and hides no other run."""

import json
import shutil
import warnings
from datetime import timedelta

import pytest

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.store import lease, schema
from nbopt.store.schema import StoreError
from tests.store.garbage import change, ids_of
from tests.store.spoiling import make_example, material, outside, try_one
from tests.tries import FACTOR

# -- nothing read from a store is a path


def test_listing_deletes_no_file_that_the_store_names_as_its_owner(folder):
    victim = folder.parent / "thesis.ipynb"
    for token in (str(victim), "../../thesis.ipynb", "..", ""):
        change(folder, "UPDATE runs SET state = 'running', owner = ?", token)
        assert {line.state for line in nbopt.runs(folder)} == {"spoilt"}
        assert "spoilt: owner" in repr(nbopt.runs(folder))
        nbopt.clean(older_than=timedelta(days=1), store=folder)
        assert victim.read_text() == "years of work"


def test_a_run_whose_id_leads_out_of_the_store_is_neither_opened_nor_swept(folder):
    run = ids_of(folder)[0]
    evil = f"{run}/../../.."
    for table, column in (("runs", "id"), ("journal", "run"), ("history", "run"), ("snapshots", "run")):
        change(folder, f"UPDATE {table} SET {column} = ? WHERE {column} = ?", evil, run)
    before = outside(folder)
    with pytest.raises(StoreError, match="is spoilt: id"):
        nbopt.open(run, *material(), store=folder)
    assert sorted(line.state for line in nbopt.runs(folder)) == ["spoilt", "stopped"]
    assert len(nbopt.clean(keep=0, store=folder)) == 2
    assert outside(folder) == before and nbopt.runs(folder) == []


@pytest.mark.parametrize("name", ["../../thesis.ipynb", "/etc/passwd", "nbopt.sqlite", "snapshots/x", ""])
def test_a_snapshot_is_read_from_its_runs_own_folder_alone(folder, name):
    run = ids_of(folder)[0]
    change(folder, "UPDATE snapshots SET file = ? WHERE run = ?", name, run)
    with pytest.raises(StoreError, match="list of snapshots"):
        nbopt.open(run, store=folder)


@pytest.mark.parametrize("name", ["locks", "snapshots", schema.FILE])
def test_links_out_of_the_store_are_not_followed(folder, tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    (folder / "locks").mkdir(exist_ok=True)
    shutil.move(folder / name, elsewhere)
    (folder / name).symlink_to(elsewhere)
    with pytest.raises(StoreError, match="is a link, and a store follows none"):
        nbopt.runs(folder)
    run = nbopt.Run(*material(), loss="mse", store=folder)
    run.step()  # trains, and tells
    assert "is a link" in next(entry.new for entry in run.journal if entry.name == "store_failed")


def test_a_lock_behind_a_link_is_neither_tried_nor_removed(tmp_path):
    token, place = "0123456789abcdef", tmp_path / "elsewhere"
    place.mkdir()
    (place / token).write_text("")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "locks").symlink_to(place)
    assert not lease.is_alive(tmp_path / "store", token)
    assert (place / token).exists()


def test_what_the_user_keeps_among_the_snapshots_stays(folder):
    kept = folder / "snapshots" / "my best model"
    kept.mkdir()
    (kept / "weights.pt").write_text("")
    (folder / "snapshots" / ids_of(folder)[0] / "notes.txt").write_text("")
    (folder / "snapshots" / "abcdef").symlink_to(kept)
    assert len(nbopt.clean(keep=0, store=folder)) == 2
    assert (kept / "weights.pt").exists()
    assert [path.name for path in folder.rglob("*.txt")] == ["notes.txt"]
    assert not list((folder / "snapshots").glob("*/*.safetensors"))


# -- nothing in it is executed


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON journal BEGIN DELETE FROM runs; END",
        "CREATE VIEW v AS SELECT 1",
        "ALTER TABLE runs ADD COLUMN more TEXT AS (hex(id))",
        "DROP TABLE history",
        "DELETE FROM schema",
        "UPDATE schema SET version = 'x'",
    ],
)
def test_a_database_that_nbopt_did_not_make_is_refused(folder, statement):
    change(folder, statement)
    with pytest.raises(StoreError, match=r"not as nbopt makes it|tells no version"):
        nbopt.runs(folder)
    run = nbopt.Run(*material(), loss="mse", store=folder)
    run.step()
    assert any(entry.name == "store_failed" for entry in run.journal)


# -- one spoilt row hides no other


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("created", "x"),
        ("created", 1e18),
        ("created", -1e18),
        ("best", "x"),
        ("epoch", "x"),
        ("step", -1),
        ("step", 1.5),
        ("name", "a" * 10**7),
        ("name", b"\xff"),
        ("state", "running<"),
        ("owner", "/etc/passwd"),
        ("parent", "../x"),
        ("reason", b"x"),
        ("entries", 2**60),
    ],
)
def test_a_spoilt_field_of_one_run_is_named_and_the_other_is_listed(folder, field, value):
    one, two = ids_of(folder)
    change(folder, f"UPDATE runs SET {field} = ? WHERE id = ?", value, one)
    found = {line.id: line for line in nbopt.runs(folder)}
    assert (found[one].state, found[one].problem, found[two].state) == ("spoilt", field, "stopped")
    assert len(repr(nbopt.runs(folder))) < 1000 and len(repr(nbopt.runs(folder)).splitlines()) == 4
    with pytest.raises(StoreError, match=f"run '{one}' is spoilt: {field} is not what nbopt writes"):
        nbopt.open(one, store=folder)
    assert nbopt.open(two, store=folder).step == 15
    assert len(nbopt.clean(keep=0, store=folder)) == 2


def test_a_name_with_odd_letters_stays_on_its_line(folder):
    change(folder, "UPDATE runs SET name = ? WHERE id = ?", "two\nlines\x1b[31m", ids_of(folder)[0])
    assert "two�lines�[31m" in repr(nbopt.runs(folder))


@pytest.mark.parametrize(
    ("table", "field", "value"),
    [
        ("journal", "new", "{"),
        ("journal", "new", "[" * 10**5),
        ("journal", "step", "x"),
        ("journal", "kind", "code"),
        ("history", "steps", b"123"),
        ("history", "numbers", "x"),
        ("snapshots", "bytes", "x"),
    ],
)
def test_rows_beside_it_are_looked_at_too(folder, table, field, value):
    one, two = ids_of(folder)
    change(folder, f"UPDATE {table} SET {field} = ? WHERE run = ?", value, one)
    found = {line.id: line for line in nbopt.runs(folder)}
    assert (found[one].state, found[one].problem, found[two].state) == ("spoilt", table, "stopped")
    with pytest.raises(StoreError, match="is spoilt"):
        nbopt.open(one, store=folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", "fast"), ("lr", -1), ("batch_size", 0), ("no such thing", 1), ("loss", "__import__('os')"), ("switch", 5)],
)
def test_a_change_that_no_run_would_make_is_not_made_again(folder, name, value):
    run = ids_of(folder)[0]
    kind = "event" if name == "switch" else "change"
    change(
        folder,
        "UPDATE journal SET name = ?, new = ?, kind = ? WHERE run = ? AND name = 'lr'",
        name,
        json.dumps(value),
        kind,
        run,
    )
    with pytest.raises(StoreError, match="its journal at step 10"):
        nbopt.open(run, *material(), store=folder)


def test_steps_that_nobody_did_are_not_done_again(folder):
    run = ids_of(folder)[0]
    change(folder, "UPDATE journal SET step = ? WHERE run = ? AND name = 'stopped'", 10**12, run)
    with pytest.raises(StoreError, match="how many steps it did"):
        nbopt.open(run, *material(), store=folder)


# -- what is no store, no run, no age


def test_a_file_in_place_of_the_store_is_told_of_and_stays(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for name in ("mine", "nowhere"):
        with pytest.raises(StoreError, match=f"{name} is a file, and a store is a folder"):
            nbopt.runs(tmp_path / name)
        run = nbopt.Run(*material(), loss="mse", store=tmp_path / name)
        run.step()
        assert "is a file, and a store is a folder" in run.journal[-2].new + run.journal[1].new
    assert (tmp_path / "mine").read_text() == "mine"
    with pytest.raises(TypeError, match="store must be a folder, as text or path, or None; got 5"):
        nbopt.runs(5)


@pytest.mark.parametrize("run", [None, 5, b"abc", ["a"]], ids=repr)
def test_what_is_no_id_is_refused_in_words(folder, run):
    with pytest.raises(InvalidHyperparam, match="the id of a run is a text; got"):
        nbopt.open(run, store=folder)


@pytest.mark.parametrize("run", ["", "..", "../..", "' OR 1=1 --", "\udc80", "a" * 10**6], ids=len)
def test_an_id_of_no_run_names_those_there_are(folder, run):
    with pytest.raises(InvalidHyperparam, match=f"unknown run .* Allowed: {ids_of(folder)[-1]}"):
        nbopt.open(run, store=folder)


@pytest.mark.parametrize(
    "limits",
    [{"keep": -1}, {"keep": 1.5}, {"keep": "3"}, {"keep": True}]
    + [{"older_than": age} for age in (-1, float("nan"), float("inf"), 1e300, "7", timedelta(days=-1), 10**6)],
    ids=repr,
)
def test_limits_that_are_none_delete_nothing(folder, limits):
    with pytest.raises(ValueError, match=f"{next(iter(limits))} must be"):
        nbopt.clean(**limits, store=folder)
    assert len(nbopt.runs(folder)) == 2


# -- any of it


@pytest.mark.parametrize("logged", [False, True])
def test_garbage_in_a_field_or_a_flipped_bit_is_told_and_touches_nothing_else(tmp_path, logged):
    example = make_example(tmp_path / "example", logged)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not exact
        tried = [try_one(example, tmp_path / str(k), 2 * k + logged) for k in range(16 * FACTOR)]
    assert sum(one.noticed for one in tried) > 2
