"""Changes from many threads at once: none is lost, each thread's order is kept."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.utils.data import TensorDataset

from nbopt import RunState

pytestmark = pytest.mark.usefixtures("restless_threads")
FOREVER = 10**9


def check_journal(run, initial, asked):
    """Hold that the journal tells every change asked for, in each source's order, and how the values came about."""
    values, steps = dict(initial), []
    for entry in run.journal.changes():
        assert entry.old == values[entry.name]
        values[entry.name] = entry.new
        steps.append(entry.step)
    assert values == dict(run.hyperparams)
    assert steps == sorted(steps)
    for source, changes in asked.items():
        assert [(e.name, e.new) for e in run.journal.changes() if e.source == source] == changes


def asks(source, run, count):
    """Ask for so many changes, all different, and return them."""
    changes = []
    for number in range(count):
        name = ("lr", "weight_decay", "batch_size", "l1")[number % 4]
        value = 1 + source * count + number if name == "batch_size" else (1 + source * count + number) * 1e-6
        run.set(**{name: value}, source=f"thread {source}")
        changes.append((name, value))
    return changes


@pytest.mark.parametrize("form", ["tensors", "dataset"])
def test_changes_from_many_threads_all_arrive_while_the_run_trains(make_run, blobs, form):
    seen = []

    def forward(model, batch):
        if model.training:
            seen.extend(batch[0][:, 0].tolist())
        return model(batch[0]), batch[1]

    train = blobs if form == "tensors" else torch.utils.data.ConcatDataset([TensorDataset(*blobs)])
    run = make_run(train=train, val=blobs, forward=forward, epochs=FOREVER)
    initial = dict(run.hyperparams)
    run.start()
    with ThreadPoolExecutor() as pool:
        results = [pool.submit(asks, source, run, 60) for source in range(4)]
        asked = {f"thread {source}": result.result(60) for source, result in enumerate(results)}
    assert run.state is RunState.RUNNING
    run.pause()  # sees a validation through, and what waits behind it
    assert not run.pending
    check_journal(run, initial, asked)
    every = sorted(blobs[0][:, 0].tolist())
    assert all(sorted(seen[at : at + 60]) == every for at in range(0, 60 * run.epoch, 60))
    assert run.epoch == len(seen) // 60


def test_no_change_is_lost_where_the_run_comes_to_rest_and_goes_on(make_run):
    run = make_run(epochs=FOREVER, batch_size=30)
    initial = dict(run.hyperparams)
    done = threading.Event()

    def transport():
        while not done.is_set():
            run.step(2)
            run.start()
            run.pause()

    with ThreadPoolExecutor() as pool:
        driver = pool.submit(transport)
        try:
            results = [pool.submit(asks, source, run, 100) for source in range(3)]
            asked = {f"thread {source}": result.result(60) for source, result in enumerate(results)}
        finally:
            done.set()
        driver.result(60)
    run.pause()
    assert not run.pending
    check_journal(run, initial, asked)


def test_several_values_of_one_call_change_together(make_run):
    pairs = set()

    def forward(model, batch):
        pairs.add((run.hyperparams["lr"], run.hyperparams["l1"]))
        return model(batch[0]), batch[1]

    run = make_run(forward=forward, epochs=FOREVER, lr=0.0, l1=0.0)
    run.start()
    for number in range(1, 50):
        run.set(lr=number * 1e-6, l1=number * 1e-6)
        steps = run.step_count
        while run.step_count < steps + 2:
            pass
    run.stop()
    assert len(pairs) > 40
    assert all(lr == l1 for lr, l1 in pairs)


def test_a_reader_sees_history_journal_and_values_of_a_running_run_whole(make_run, blobs):
    run = make_run(val=blobs, metrics="accuracy", epochs=FOREVER, batch_size=20)
    run.start()
    for number in range(100):
        run.set(lr=number * 1e-6)
        for name in run.history.names:
            steps, values = run.history[name]
            assert len(steps) == len(values)
        entries = list(run.journal)
        assert [entry.time for entry in entries] == sorted(entry.time for entry in entries)
        assert repr(run).startswith("<Run") and repr(run.hyperparams)
        epoch = run.epoch  # first: the run goes on
        assert run.progress >= epoch - 1
    run.stop()
