"""Trials in processes of their own, by loky."""

import os
import re
import signal
import sqlite3
import threading

import pytest
import torch

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.search import optional
from nbopt.search.executors.processes import Processes, explain
from nbopt.search.optional import need
from tests.search import victim
from tests.search.ending import end_with
from tests.waiting import eventually


def is_alive(process):
    """Whether a process of this number runs; one that is over and not yet waited for does not."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_processes_find_what_one_thread_finds_though_one_is_killed(make):
    """With what only this function knows, as a notebook would define it."""

    class Net(torch.nn.Module):
        def __init__(self, width):
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Linear(width, 2))

        def forward(self, x):
            return self.layers(x)

    def build(width):
        return Net(width)

    space = ["lr", {"width": nbopt.Int(8, low=4, high=16, powers=True)}]
    given = {"space": space, "trials": 6, "sampler": "random", "epochs": 3}
    inline = make(build, **given).fit()
    study = make(build, **given, executor="processes", slots=2)
    killed, pids = [], []

    def kill():
        pids.extend(worker.pid for worker in study.executor._workers if worker.pid not in pids)
        if not killed and len(study.trials) > 2 and study.trials[2].reports:
            killed.append(study.executor._assigned[2].worker.pid)
            os.kill(killed[0], signal.SIGKILL)

    study.watchers.append(kill)
    study.fit()
    assert killed and len(pids) == 3 and not any(map(is_alive, pids))
    assert victim.found(study) == victim.found(inline)
    one, other = study.best.run(store=None), inline.best.run(store=None)
    assert type(one.model).__name__ == "Net"
    weights = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


def test_what_cannot_be_sent_is_named_before_anything_is_started(make, blobs):
    class Samples(torch.utils.data.Dataset):
        def __init__(self):
            self.parts = {"opened": sqlite3.connect(":memory:")}

        def __len__(self):
            return 4

        def __getitem__(self, index):
            return blobs[0][index], blobs[1][index]

    study = nbopt.Study(
        torch.nn.Linear(4, 2), Samples(), space=["lr"], objective="loss", epochs=1, executor="processes", store=None
    )
    with pytest.raises(TypeError, match=r"train\.parts\['opened'\], a sqlite3.Connection, cannot be sent"):
        study.fit()
    lock = threading.Lock()

    def objective(trial):
        with lock:
            return 0.0

    with pytest.raises(TypeError, match=r"objective, its lock, a _thread.lock, cannot be sent"):
        nbopt.Study(objective=objective, executor="processes", store=None).fit()


@pytest.mark.parametrize(
    ("code", "told"),
    [(-9, "ran out of memory"), (-11, r"signal 11 \(SIGSEGV\)"), (3, "by itself, with code 3")],
)
def test_how_a_process_ended_is_told(code, told):
    context = need("loky.backend").get_context("loky")
    process = context.Process(target=end_with, args=(code,))
    process.start()
    process.join()
    assert re.search(told, explain(process.exitcode))


def test_a_missing_extra_is_told(monkeypatch, make):
    def fail(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(optional, "import_module", fail)
    with pytest.raises(ImportError, match=r"pip install 'nbopt\[search\]'"):
        Processes(1)


def test_processes_end_with_the_kernel(tmp_path):
    """The study goes on as if nothing had been, and none of its processes outlives its kernel."""
    child, telling = victim.start(tmp_path, executor="processes")
    with telling as told:
        number = told.readline().strip()
        first = int(told.readline())
        workers = open(f"/proc/{child}/task/{child}/children").read().split()
        os.kill(child, signal.SIGKILL)
        trials = [first, *(int(line) for line in told if line.endswith("\n"))]
    os.waitpid(child, 0)
    eventually(lambda: not any(map(is_alive, workers)))
    read = nbopt.open(number, store=tmp_path)
    assert len(read.trials) >= len(trials) >= 1 and len(workers) >= 2
    assert [trial.number for trial in read.trials] == list(range(len(read.trials)))


def test_slots_are_those_it_began_with(make, tmp_path, blobs):
    """Else a trial that is asked for again would be another one, where there are other cores."""
    study = make(trials=2, sampler="random", executor="threads", slots=None, store=tmp_path).fit()
    study.record.release()
    again = nbopt.open(study.id, torch.nn.Linear(4, 2), blobs, store=tmp_path)
    assert again.executor.slots == study.executor.slots == (os.cpu_count() or 1)
    with pytest.raises(InvalidHyperparam, match="Did you mean 'processes'"):
        make(executor="process")
