"""A store that is spoilt, or that somebody else made: what reads it touches nothing outside, and hides no other run."""

import json
import random
import shutil
import sqlite3
import struct
import warnings
from contextlib import closing
from datetime import timedelta

import pytest
import torch
from torch import nn

import nbopt
from nbopt.names import InvalidHyperparam
from nbopt.record import owner, schema, tensors, writer
from nbopt.record.schema import StoreError
from nbopt.record.snapshots import Snapshot

X = torch.linspace(-1, 1, 60)[:, None]
FIELDS = {
    "runs": "name parent created nbopt settings owner state reason step epoch best entries",
    "journal": "number step name old new source time kind",
    "history": "name chunk steps numbers",
    "snapshots": "kind step entries file bytes",
}


@pytest.fixture(autouse=True)
def _one_thread(one_torch_thread):
    """Every test here trains on one thread."""


def model():
    torch.manual_seed(0)
    return nn.Linear(1, 1)


def material():
    return model(), (X, X**2), (X, X**2)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """Return a store with two runs that nobody holds, and beside it what belongs to the user."""
    root = tmp_path_factory.mktemp("spoilt")
    folder = root / "project" / ".nbopt"
    for name in ("one", "two"):
        run = nbopt.Run(*material(), loss="mse", epochs=100, batch_size=20, name=name, store=folder)
        run.step(10)
        run.set(lr=0.01)
        run.step(5)
        run.stop()
        writer.flush()
        run.recorder.leave()
    schema.checkpoint(folder)
    (folder.parent / "thesis.ipynb").write_text("years of work")
    with closing(sqlite3.connect(folder / schema.FILE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("UPDATE runs SET owner = NULL")
        connection.commit()
        connection.execute("PRAGMA journal_mode = DELETE")
    yield folder


@pytest.fixture
def folder(example, tmp_path):
    """Return a copy of it."""
    shutil.copytree(example.parent, tmp_path / "project", ignore=shutil.ignore_patterns("locks"))
    return tmp_path / "project" / ".nbopt"


def ids_of(folder):
    with closing(sqlite3.connect(folder / schema.FILE)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM runs ORDER BY created")]


def change(folder, statement, *values):
    with closing(sqlite3.connect(folder / schema.FILE)) as connection:
        connection.execute(statement, values)
        connection.commit()


def outside(folder):
    """Return what stands beside the store."""
    return {
        path.relative_to(folder.parent): path.read_bytes()
        for path in folder.parent.rglob("*")
        if path.is_file() and not path.is_relative_to(folder)
    }


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
    assert not owner.is_alive(tmp_path / "store", token)
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


# -- snapshots


def test_a_bit_flipped_in_a_snapshot_is_found(tmp_path):
    path = tmp_path / "a.safetensors"
    held = {"weights": torch.arange(8.0), "turned": torch.randn(3, 4).t(), "none": torch.empty(0, 3)}
    tensors.save(Snapshot(7, held, {"lr": 0.1}), path)
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 7):
        spoilt = bytearray(whole)
        spoilt[bit // 8] ^= 1 << bit % 8
        path.write_bytes(spoilt)
        try:
            found = tensors.load(path)
        except StoreError:
            continue
        # Only the names of keys that nobody reads, and spaces, may differ.
        assert (found.step, found.facts) == (7, {"lr": 0.1})
        assert all(torch.equal(found.tensors[name], tensor) for name, tensor in held.items())


@pytest.mark.parametrize(
    "strides", [{"a": [10**12, 1]}, {"a": [0, 0]}, {"a": [-1, 1]}, {"a": ["x", 1]}, {"a": [1]}, {"b": [1]}, [1], 5]
)
def test_strides_that_ask_for_memory_are_refused(tmp_path, strides):
    from safetensors.torch import save_file

    head = {"step": 1, "facts": {}, "names": ["a"], "strides": strides}
    save_file({"a": torch.ones(3, 4)}, tmp_path / "a.safetensors", {"nbopt": json.dumps(head)})
    with pytest.raises(StoreError, match="damaged"):
        tensors.load(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 8) + b"x" * 8,
        struct.pack("<Q", 2) + b"{}",
        (lambda text: struct.pack("<Q", len(text)) + text)(
            b'{"a":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4]}}'
        )
        + b"1234",
    ],
)
def test_a_header_that_promises_what_is_not_there_is_refused(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        tensors.load(tmp_path / "a.safetensors")


def test_a_run_with_a_damaged_snapshot_goes_on_from_another_one(folder):
    run = ids_of(folder)[0]
    for path in (folder / "snapshots" / run).glob("latest-*"):
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    whole = nbopt.Run(*material(), loss="mse", epochs=100, batch_size=20, store=None)
    whole.step(10)
    whole.set(lr=0.01)
    whole.step(5)
    opened = nbopt.open(run, *material(), store=folder)
    assert opened.step_count == 15 and torch.equal(opened.model.weight, whole.model.weight)


# -- any of it


GARBAGE = [None, 0, -1, 1, 2**53, 2**63 - 1, 1e18, -1e18, float("inf"), "", "x", "a" * 10**6, "\0", b"", b"\xff" * 9]
GARBAGE += ["../../x", "/etc/passwd", "null", "NaN", "[]", "{}", '{"a": 1}', "[[[[", "1e999", "9" * 5000, "[" * 10**5]


def spoil(folder, chance):
    """Put garbage into one field of the store, or flip a bit in one of its files."""
    if chance.random() < 0.6:
        table = chance.choice(list(FIELDS))
        field = chance.choice(FIELDS[table].split())
        with closing(sqlite3.connect(folder / schema.FILE)) as connection:
            key = "id" if table == "runs" else "run"
            where = f"{key} = (SELECT id FROM runs ORDER BY created LIMIT 1)"
            rows = connection.execute(f"SELECT rowid FROM {table} WHERE {where}") if table == "history" else []
            row = chance.choice([r[0] for r in rows]) if table == "history" else None
            keys = {"journal": "number", "snapshots": "kind"}
            if table in keys:
                found = connection.execute(f"SELECT {keys[table]} FROM {table} WHERE {where}").fetchall()
                where += f" AND {keys[table]} = {chance.choice(found)[0]!r}"
            elif row is not None:
                where += f" AND rowid = {row}"
            try:
                connection.execute(f"UPDATE {table} SET {field} = ? WHERE {where}", (chance.choice(GARBAGE),))
                connection.commit()
            except (sqlite3.Error, OverflowError):
                pass  # sqlite itself does not take it
        return f"{table}.{field}"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = chance.choice(files)
    content = bytearray(path.read_bytes())
    for _count in range(chance.choice([1, 1, 8])):
        bit = chance.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    return path.name


def try_spoilt_store(folder, seed):
    """Spoil a store, then list, read, open and clean it; return whether anything was noticed."""
    chance = random.Random(seed)
    one, two = ids_of(folder)
    before = outside(folder)
    what = spoil(folder, chance)
    seen = False
    allowed = (StoreError, InvalidHyperparam, FileNotFoundError, ValueError)
    try:
        found = {line.id: line.state for line in nbopt.runs(folder)}
        repr(nbopt.runs(folder))
        if what in FIELDS or ("." in what and what.split(".")[0] in FIELDS):
            assert found[two] == "stopped", f"{what}: {found}"
        seen = "spoilt" in found.values()
    except StoreError:
        seen = True
    for run in (one, two):
        for arguments in ((), material()):
            try:
                opened = nbopt.open(run, *arguments, store=folder)
                if arguments and opened.step_count < 1000:
                    opened.step(2)
            except allowed:
                seen = True
                assert run == one or what.split(".")[0] not in FIELDS, what
    try:
        nbopt.clean(keep=1, store=folder)
    except StoreError:
        seen = True
    assert outside(folder) == before, what
    return seen


@pytest.mark.parametrize("batch", range(5))
def test_garbage_in_a_field_or_a_flipped_bit_is_told_and_touches_nothing_else(example, tmp_path, batch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the run was brought back, but not bit for bit
        noticed = sum(try_one(example, tmp_path / str(k), 1000 * batch + k) for k in range(40))
    assert noticed > 5


def try_one(example, place, seed):
    shutil.copytree(example.parent, place / "project", ignore=shutil.ignore_patterns("locks"))
    try:
        return try_spoilt_store(place / "project" / ".nbopt", seed)
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    finally:
        shutil.rmtree(place)
