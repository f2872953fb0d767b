"""Steps done again, told and stopped while they are done."""

import re
import threading

import pytest

import nbopt
from nbopt import RunState
from nbopt.run.session import work
from nbopt.store.reading import Record
from tests.waiting import eventually


@pytest.fixture
def told(monkeypatch):
    """Tell at every step, and keep what was said."""
    monkeypatch.setattr(work, "_SECONDS", 0.0)
    monkeypatch.setattr(work, "_SHOWN_AFTER", 0.0)
    monkeypatch.setattr("nbopt.training.snapshots.securing.SECONDS", 1e9)  # the only snapshot is that of the beginning
    said = []

    def watch(run):
        run.watch(lambda: said.append(run.work.words) if run.work is not None else None)
        return said

    return watch


def stop_at(run, step):
    """Stop the run's work once so many steps are done again."""
    run.watch(lambda: run.work.stop() if run.work is not None and run.work.done >= step else None)


def test_a_rewind_tells_how_far_it_is(make_run, told):
    run = make_run(epochs=10**6, batch_size=20, store=None)
    run.step(40)
    said = told(run)
    run.rewind(31)
    total = re.fullmatch(r"Going back: 0 of (\d+) steps", said[0]).group(1)
    assert int(total) > 20 and f"Going back: 12 of {total} steps" in said
    assert run.work is None and run.step_count == 31 and run.exact


def test_a_rewind_that_is_stopped_rests_where_it_came_to_and_goes_on_as_if_it_had_been_led_there(
    make_run, weights, told
):
    run, other = (make_run(epochs=10**6, batch_size=20, dropout=0.2, store=None) for _run in range(2))
    for each in (run, other):
        each.step(40)
    stop_at(run, 17)
    told(run)
    run.rewind(31)
    reached = run.step_count
    assert run.state is RunState.PAUSED and 17 <= reached < 31
    assert [entry.new for entry in run.journal if entry.name == "rewind"] == [31, reached]
    other.rewind(reached)
    for each in (run, other):
        each.step(20)
    assert (weights(run) == weights(other)).all() and run.exact
    twin = run.replay()
    twin.wait()
    assert (weights(run) == weights(twin)).all() and twin.exact


def test_a_branch_that_is_stopped_begins_where_it_came_to(make_run, told):
    run = make_run(epochs=10**6, batch_size=20, store=None)
    run.step(40)
    said = told(run)
    stop_at(run, 9)
    twin = run.branch(30, lr=0.5)
    assert said[0].startswith("Branching off: 0 of ") and run.step_count == 40
    assert 9 <= twin.step_count < 30 and twin.hyperparams["lr"] == 0.5
    twin.step(5)
    assert twin.exact


def test_opening_tells_how_far_it_is_and_an_interrupt_leaves_what_is_stored(make_run, mlp, blobs, told, tmp_path):
    run = make_run(epochs=10**6, batch_size=20, store=tmp_path)
    run.step(40)
    run.stop()
    number, said = run.id, []

    def interrupt(at):
        if at.done >= 10:
            raise KeyboardInterrupt
        said.append(at.words)

    class Shown:
        made = staticmethod(lambda session: None)
        follow = staticmethod(lambda: interrupt)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nbopt.Run, "viewer", Shown)
        whole = Record.load_snapshots
        patch.setattr(Record, "load_snapshots", lambda record: {"initial": whole(record)["initial"]})
        with pytest.raises(KeyboardInterrupt):
            nbopt.open(number, mlp(), blobs, store=tmp_path)
    assert said[0] == "Opening: 0 of 40 steps"
    again = nbopt.open(number, mlp(), blobs, store=tmp_path)
    assert again.step_count == 40


def test_a_sweep_tells_how_far_it_is_and_a_stopped_one_has_what_was_tried(make_run, told):
    run = make_run(epochs=10, batch_size=20, store=None)
    said = told(run)
    stop_at(run, 20)
    sweep = run.find_lr(steps=50)
    assert said[0] == "Trying learning rates: 0 of 50 steps" and len(sweep.rates) == 20


def test_it_can_be_stopped_from_another_thread_while_the_run_is_locked(make_run, told):
    run = make_run(epochs=10**6, batch_size=20, store=None)
    run.step(600)
    told(run)
    going = threading.Thread(target=run.rewind, args=(599,), kwargs={"source": "panel"})
    going.start()
    eventually(lambda: run.work).stop()
    going.join(20)
    assert not going.is_alive() and run.step_count < 599


def test_what_takes_less_than_a_second_is_not_told(make_run):
    run = make_run(epochs=10**6, batch_size=20, store=None)
    run.step(10)
    said = []
    run.watch(lambda: said.append(run.work.words) if run.work is not None and run.work.is_shown else None)
    run.rewind(9)
    assert said == []
