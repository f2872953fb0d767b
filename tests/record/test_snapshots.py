"""The shelf of snapshots: which stay where memory is short, and where it is plenty."""

import pytest
import torch

from nbopt.record import memory
from nbopt.record.snapshots import FEW, SHARE, Snapshot, Snapshots


def add(shelf, step):
    shelf.add(Snapshot(step, {"weight": torch.zeros(1024)}, {}))


def fill(shelf, count):
    for step in range(count):
        add(shelf, step)
    return [snapshot.step for snapshot in shelf]


def size_of_one():
    shelf = Snapshots()
    add(shelf, 0)
    return shelf.nbytes


SIZE = size_of_one()


def test_a_few_large_ones_stay_beyond_the_budget_while_memory_is_plenty():
    steps = fill(Snapshots(2 * SIZE, lambda: 10**9), 100)
    assert len(steps) == FEW
    assert (steps[0], steps[-1]) == (0, 99)
    assert steps[-4:] == [96, 97, 98, 99]  # dense in the recent past


def test_many_small_ones_keep_to_the_budget_however_much_memory_there_is():
    assert len(fill(Snapshots(30 * SIZE, lambda: 10**9), 100)) == 30


@pytest.mark.parametrize("available", [0, 12 * SIZE, 36 * SIZE])
def test_the_share_of_what_is_available_is_kept_to(available):
    free = [available]
    shelf = Snapshots(2 * SIZE, lambda: free[0] - shelf.nbytes)
    fill(shelf, 50)
    assert shelf.nbytes <= max(2 * SIZE, SHARE * available)
    assert len(shelf) >= min(FEW, max(2, SHARE * available // SIZE))
    free[0] = 0  # another process needs the memory
    add(shelf, 50)
    assert len(shelf) == 2


@pytest.mark.parametrize("best", [1, 20, 48])
def test_the_best_one_stays_however_short_memory_is(best):
    shelf = Snapshots(3 * SIZE, lambda: 0)
    for step in range(100):
        shelf.add(Snapshot(step, {"weight": torch.zeros(1024)}, {}), best=step == best)
    assert [snapshot.step for snapshot in shelf] == [0, best, 99]
    assert shelf.before(best) is shelf.best and shelf.find("best", 99) == best


def test_what_the_shelf_takes_is_told():
    shelf = Snapshots()
    shelf.add(Snapshot(3, {"weight": torch.zeros(500_000)}, {}))
    assert repr(shelf) == "Snapshots([3], 2.0 MB)"


def test_the_memory_available_is_the_least_that_anybody_tells(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_INFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    (tmp_path / "meminfo").write_text("MemTotal: 900 kB\nMemAvailable:    600 kB\n")
    assert memory.available_memory() == 600 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_memory() == 600 * 1024
    (tmp_path / "memory.max").write_text("300000\n")
    (tmp_path / "memory.current").write_text("100000\n")
    assert memory.available_memory() == 200000
    (tmp_path / "meminfo").write_text("nothing of the kind")
    assert memory.available_memory() == 200000
    (tmp_path / "memory.max").unlink()
    assert memory.available_memory() > 0
