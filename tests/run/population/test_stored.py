"""Populations in the store: killed, opened, listed; they go on where they were, to the bit."""

import math
import random
import shutil
import sqlite3
from contextlib import closing

import pytest
import torch

import nbopt
from nbopt.record.ledger import unwrap
from nbopt.store import schema, writer
from nbopt.store.marking import rename
from nbopt.store.reading import read
from tests.run.population.shared import SETTINGS, dense, digits, model_of
from tests.run.population.victim import are_the_same, change

__all__ = ["digits"]
pytestmark = pytest.mark.usefixtures("one_torch_thread")


def populate(digits, store, **given):
    values = {"lr": [1e-3, 3e-3, 0.01, 0.03], "seed": [0, 0, 1, 2], **SETTINGS, "epochs": 50, **given}
    return nbopt.Population(model_of(dense), digits, 0.2, store=store, **values)


def left_by(population, tmp_path, name="left"):
    """Return a store as a kernel killed now leaves it: what is written by then, and nobody who holds it."""
    copy = tmp_path / name
    shutil.copytree(population.store, copy)
    with closing(sqlite3.connect(copy / schema.FILE)) as connection:
        connection.execute("UPDATE runs SET owner = NULL")
        connection.commit()
    return copy


def open_again(population, digits, store, **given):
    return nbopt.open(population.id, model_of(dense), digits, store=store, **given)


def live(population):
    """Do something of each kind."""
    population.set(weight_decay=0.1, members=[2])
    population.step(7)
    population.set(lr=0.5, members=[1])
    population.stop(members=[0])
    population.step(3)
    population.clone(2, into=3, lr=0.02)
    population.step(6)
    population.set(batch_size=16)
    population.clone(1, into=0)
    population.step(5)
    population.set(lr=0.011)


def assert_goes_on(population, again):
    """What was opened is where the population is, and they stay the same."""
    assert again.ticks == population.ticks and all(map(are_the_same, population, again))
    for member, other in zip(population, again, strict=True):
        assert list(member.journal) == list(other.journal)
        assert dict(member.hyperparams) == dict(other.hyperparams)
        assert (member.seed, member.state, member.end_reason) == (other.seed, other.state, other.end_reason)
    assert "not_exact" not in [entry.name for entry in again.journal]
    for one in (population, again):
        one.step(9)
    assert all(map(are_the_same, population, again))


def test_a_population_left_by_a_kill_goes_on_where_it_was(digits, tmp_path):
    population = populate(digits, tmp_path / "store", metrics=["accuracy"])
    live(population)
    again = open_again(population, digits, left_by(population, tmp_path))
    assert list(again.journal)[:-1] == list(population.journal)
    assert_goes_on(population, again)
    alone = again.run(3, store=None)
    assert [entry.name for entry in alone.journal.changes()] == ["weight_decay", "lr", "batch_size", "lr"]
    assert len(alone.history["loss"][1]) == alone.step_count == 30


def test_it_is_led_there_from_a_state_long_before(digits, tmp_path, monkeypatch):
    """All after some state of all members is done again: copies, stops, ends, other values."""
    from nbopt.run.population.keeping import Keeping

    population = populate(digits, tmp_path / "store", early_stopping=True, patience=2, min_delta=0.05)
    take, left = Keeping.take, [1]

    def take_some(keeping):
        left[0] -= 1
        if left[0] >= 0:
            take(keeping)
            writer.flush()

    monkeypatch.setattr(Keeping, "take", take_some)
    live(population)
    population.step(60)
    store = left_by(population, tmp_path)
    monkeypatch.setattr(Keeping, "take", take)
    assert read(population.id, store).files["latest"].step < population.ticks - 30
    assert nbopt.RunState.FINISHED in {member.state for member in population}
    again = open_again(population, digits, store)
    for one in (population, again):
        one.set(patience=12)
    assert again.fit().ticks == population.fit().ticks
    assert all(map(are_the_same, population, again))


def test_how_steps_are_done_is_not_told_again_where_it_is_as_it_was(digits, tmp_path, monkeypatch):
    from nbopt.run.population.keeping import Keeping

    population = populate(digits, tmp_path / "store")
    monkeypatch.setattr(Keeping, "take", lambda keeping: None)
    population.step(9)
    store = left_by(population, tmp_path)
    monkeypatch.undo()
    again = open_again(population, digits, store)
    again.step(9)
    for member in again:
        assert [entry.step for entry in member.journal if entry.name == "switch"] == [0]


def test_where_a_member_went_back_to_is_stored(digits, tmp_path, monkeypatch):
    """The guard's way back is one to a state that no other file has."""
    from nbopt.run.population.keeping import Keeping

    population = populate(digits, tmp_path / "store", optimizer="sgd", seed=0)
    population.step(6)
    writer.flush()
    monkeypatch.setattr(Keeping, "take", lambda keeping: None)
    population.set(lr=1e30, members=[1])
    population.step(12)
    assert "rewind" in [entry.name for entry in population[1].journal]
    writer.flush()  # a copy takes its time, in which more would be written
    store = left_by(population, tmp_path)
    monkeypatch.undo()
    again = open_again(population, digits, store)
    assert_goes_on(population, again)


def test_it_is_one_line_of_the_list_and_is_renamed_and_deleted(digits, tmp_path):
    store = tmp_path / "store"
    population = populate(digits, store, name="many")
    population.step(2)
    run = nbopt.Run(model_of(dense), digits, store=store, name="one", **SETTINGS)
    run.step(2)
    lines = nbopt.runs(store)
    assert [(line.title, line.members, line.step) for line in lines] == [("many (4 members)", 4, 2), ("one", 0, 2)]
    assert "many (4 members)" in lines._repr_html_()
    rename(population.id, "another", store)
    with pytest.raises(RuntimeError, match="held by a live process"):
        from nbopt.store.cleaning import delete

        delete(population.id, store)
    left = left_by(population, tmp_path)
    record = nbopt.open(population.id, store=left)
    assert (record.name, len(record.members), record.members[3].hyperparams["lr"]) == ("another", 4, 0.03)
    assert len(record.members[2].history["loss"][1]) == 2
    delete(population.id, left)
    with closing(sqlite3.connect(left / schema.FILE)) as connection:
        for table in ("records", "journal", "snapshots"):
            assert not connection.execute(f"SELECT 1 FROM {table} WHERE run = ?", (population.id,)).fetchall()
    assert not (left / "snapshots" / population.id).exists()


def test_members_have_their_samples_and_the_order_of_the_first_again(digits, tmp_path):
    folds = [torch.arange(200) % 4 != fold for fold in range(4)]
    population = nbopt.Population(
        model_of(dense),
        digits,
        digits,
        samples=folds,
        seed=range(4),
        same_batches=True,
        store=tmp_path / "s",
        **SETTINGS,
    )
    population.step(3)
    population.clone(2, into=0)
    population.step(2)
    again = open_again(population, digits, left_by(population, tmp_path), val=digits)
    assert_goes_on(population, again)


def test_one_of_a_run_is_stored_where_the_run_is(digits, tmp_path):
    run = nbopt.Run(model_of(dense), digits, 0.2, store=tmp_path / "store", **{**SETTINGS, "epochs": 9})
    run.step(8)
    population = run.population(lr=[1e-3, 0.02], seed=[5, 6])
    population.step(6)
    again = open_again(population, digits, left_by(population, tmp_path))
    assert [len(member.history["loss"][1]) for member in again] == [14, 14]
    assert_goes_on(population, again)


def test_what_was_asked_for_before_the_first_step_is_there(digits, tmp_path):
    population = populate(digits, tmp_path / "store")
    population.set(lr=0.5, members=[1])
    again = open_again(population, digits, left_by(population, tmp_path))
    assert again.state is nbopt.RunState.CREATED and [one.hyperparams["lr"] for one in again][:2] == [1e-3, 0.5]
    assert_goes_on(population, again)


def test_it_is_opened_with_what_it_was_made_with_or_not_at_all(digits, tmp_path):
    population = populate(digits, tmp_path / "store")
    population.step(2)
    left = left_by(population, tmp_path)
    with pytest.raises(ValueError, match=r"data train: values \(checksum\) was"):
        open_again(population, (digits[0] + 1, digits[1]), left)
    with pytest.raises(ValueError, match="model"):
        nbopt.open(population.id, torch.nn.Linear(64, 10), digits, store=left)
    population.start()
    with pytest.raises(RuntimeError, match="pause it before you open it again"):
        open_again(population, digits, population.store)
    population.pause()
    again = open_again(population, digits, population.store)
    population.step(1)
    again.step(1)
    assert "store_failed" in [entry.name for entry in population.journal] and again.ticks == population.ticks > 3


def test_steps_that_are_not_what_they_were_are_told(digits, tmp_path, monkeypatch):
    from nbopt.run.population.keeping import Keeping

    monkeypatch.setattr("nbopt.store.populations.SHARE", math.inf)  # each state is written, however soon it comes
    population = populate(digits, tmp_path / "store", dropout=0.0)
    population.step(2)
    writer.flush()
    monkeypatch.setattr(Keeping, "take", lambda keeping: None)
    population.step(3)
    writer.flush()
    left = left_by(population, tmp_path)
    monkeypatch.undo()

    class Other(torch.nn.ReLU):
        def forward(self, x):
            return super().forward(x) * 1.5

    model = model_of(dense)
    model[1] = Other()
    with pytest.warns(UserWarning, match="not exact: of member 0, loss at step 2 is"):
        again = nbopt.open(population.id, model, digits, store=left)
    assert again.ticks == 5 and again.journal[-1].name == "not_exact"


def test_what_is_journaled_at_once_is_stored_at_once(digits, tmp_path):
    """A change of all members is one transaction."""
    population = populate(digits, tmp_path / "store")
    population.step(2)
    made = []
    population.keeping.recorder._store._connection.set_trace_callback(made.append)
    population.set(lr=0.123)
    population.keeping.recorder._store._connection.set_trace_callback(None)
    assert sum(text.startswith("INSERT INTO journal") for text in made) == 5
    assert sum(text.startswith("BEGIN") for text in made if "BEGIN" in text) <= 2


def test_histories_stay_bounded(digits, tmp_path, monkeypatch):
    from nbopt.record import history

    monkeypatch.setattr(history, "MOST", 256)
    monkeypatch.setattr(history, "_FEW", 64)
    population = populate(digits, tmp_path / "store")
    population.step(80)
    assert max(len(member.history["loss"][1]) for member in population) <= 64 and population.ticks == 80
    again = open_again(population, digits, left_by(population, tmp_path))
    for member, other in zip(population, again, strict=True):
        assert len(other.history["loss"][1]) <= 64 and member.history.last("loss") == other.history.last("loss")


def test_spoilt_parts_of_a_population_are_named(digits, tmp_path):
    population = populate(digits, tmp_path / "store")
    live(population)
    spoil = {
        "its history": "UPDATE records SET data = x'00' WHERE number = 0",
        "of its journal": "UPDATE journal SET new = '[9, 0, \"lr\", 0, 1, \"change\"]' WHERE name = 'member'",
        "what it was made with": "UPDATE runs SET settings = json_set(settings, '$.population.rows', 3)",
    }
    for number, (told, statement) in enumerate(spoil.items()):
        left = left_by(population, tmp_path, str(number))
        with closing(sqlite3.connect(left / schema.FILE)) as connection:
            connection.execute(statement)
            connection.commit()
        with pytest.raises(schema.StoreError, match=told):
            open_again(population, digits, left)


def test_lives_that_are_opened_in_the_middle(digits, tmp_path):
    population = nbopt.Population(
        model_of(dense), digits, 0.2, seed=range(6), store=tmp_path / "store", **{**SETTINGS, "epochs": 90}
    )
    chance = random.Random(2)
    for _event in range(12):
        population.step(chance.randint(1, 5))
        change(population, chance, "population")
        population.pause()
    assert math.isfinite(population[0].history.last("val_loss"))
    assert len({unwrap(entry)[0] for entry in population.keeping.ledger}) > 3
    assert_goes_on(population, open_again(population, digits, left_by(population, tmp_path)))
