import threading
import time

from nbopt.record.journal import Journal


def test_changes_and_events_stand_in_the_order_they_happened():
    journal, before = Journal(), time.time()
    journal.event(0, "start", source="panel")
    journal.change(5, "lr", 0.1, 0.2, "panel")
    journal.event(9, "finished", "all 3 epochs done")
    assert [entry[:5] for entry in journal] == [
        (0, "start", None, None, "panel"),
        (5, "lr", 0.1, 0.2, "panel"),
        (9, "finished", None, "all 3 epochs done", "run"),
    ]
    assert [entry.name for entry in journal.changes()] == ["lr"]
    times = [entry.time for entry in journal]
    assert before <= times[0] <= times[1] <= times[2] <= time.time()


def test_it_behaves_as_a_sequence():
    journal = Journal()
    entries = [journal.change(step, "lr", step, step + 1, "code") for step in range(4)]
    assert (len(journal), journal[0], journal[-1], journal[1:3]) == (4, entries[0], entries[3], entries[1:3])
    assert entries[2] in journal and journal.index(entries[2]) == 2
    assert repr(journal) == "Journal(4 entries)"


def test_entries_appended_while_somebody_walks_do_not_disturb_the_walk():
    journal, done = Journal(), threading.Event()
    journal.event(0, "start")

    def write():
        for step in range(20_000):
            journal.change(step, "lr", 0, 1, "code")
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        steps = [entry.step for entry in journal.changes()]
        assert steps == list(range(len(steps)))
    writer.join()
    assert len(journal.changes()) == 20_000


def test_to_pandas_has_a_row_per_entry():
    journal = Journal()
    journal.event(0, "start")
    journal.change(3, "lr", 0.1, 0.01, "panel")
    frame = journal.to_pandas()
    assert list(frame.columns) == ["step", "name", "old", "new", "source", "time", "kind"]
    assert frame[["step", "name", "new", "source"]].iloc[1].tolist() == [3, "lr", 0.01, "panel"]
    assert str(frame["time"].dtype).endswith("UTC]")
    assert list(Journal().to_pandas().columns) == list(frame.columns)
