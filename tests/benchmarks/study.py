"""What a study costs beside its training, how much faster populations are, and what is left of one that is killed.

``python -m tests.benchmarks.study [--kills 50 [--kernels] [--executor population]] [--workers 10 --executor ray]
[--overhead] [--race [sgd adam]] [--quality 10 [--first 20] [--without hyperband]]``: CPU time, one thread. ``--kills``
kills a study's process, a fork of this one or, far slower, a real Jupyter kernel with the study's panel open;
``--workers`` kills workers.
"""

import argparse
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

import torch
from jupyter_client.manager import start_new_kernel

import nbopt
from tests.benchmarks import search_quality, searches
from tests.search import ray_nodes, victim


def overhead(trials=60):
    """Return milliseconds a trial over its run, with a store and without, and of an objective that does nothing."""
    data = victim.make_data()
    given = {"epochs": 4, "batch_size": 32}
    model = victim.make_model(8)
    nbopt.Run(victim.make_model(8), data, 0.25, store=None, **given).fit()  # what torch does once
    rows = {}
    for name, store in (("in memory", None), ("stored", tempfile.mkdtemp())):
        study = nbopt.Study(
            model, data, 0.25, space=["lr", "weight_decay"], trials=trials, executor="inline", store=store, **given
        )
        began = time.process_time()
        study.fit()
        whole = time.process_time() - began
        began = time.process_time()
        for trial in study.trials:
            by_itself(model, data, trial.values, given)
        rows[name] = 1e3 * (whole - (time.process_time() - began)) / trials
    rate = {"lr": nbopt.Float(0.1, low=1e-4, high=1.0, log=True), "rate": nbopt.Float(0.1, low=0.0, high=1.0)}
    for sampler in ("random", "tpe"):
        store = tempfile.mkdtemp()
        study = nbopt.Study(
            objective=lambda trial: trial.values["rate"], space=rate, sampler=sampler, trials=200, store=store
        )
        began = time.process_time()
        study.fit()
        rows[f"nothing to do, {sampler}, stored"] = 1e3 * (time.process_time() - began) / 200
    return rows


def by_itself(model, data, values, given):
    """Train without a study, as a loop over runs would: by a run of its own."""
    import copy

    run = nbopt.Run(copy.deepcopy(model), data, 0.25, store=None, recover=False, **given, **values)
    for _event in run.events():
        pass


ROOT = Path(__file__).parents[2]
CELL = """
import os, sys
sys.path.insert(0, {root!r})
%load_ext nbopt
import torch
from IPython.display import display
import nbopt.notebook.study.panel  # takes longer than a study
from tests.search.victim import carry_out
torch.set_num_threads(1)
study = carry_out({folder!r}, {number!r}, {executor!r}, os.open({told!r}, os.O_WRONLY))
display(study)
study.start()
"""


class Fork:
    """Carries a study out in a fork of this process."""

    def __init__(self, folder, number, executor):
        self._child, self._told = victim.start(folder, number, executor)
        self.number = self._told.readline().strip()

    def kill(self):
        """Kill it; return the trials that it told were written."""
        os.kill(self._child, signal.SIGKILL)
        with self._told as told:
            acknowledged = [int(line) for line in told if line.endswith("\n")]
        os.waitpid(self._child, 0)
        return acknowledged


class Kernel:
    """Carries a study out in a Jupyter kernel, which has the study's panel open."""

    def __init__(self, folder, number, executor):
        self._pipe = Path(tempfile.mkdtemp()) / "told"
        os.mkfifo(self._pipe)
        self._manager, self._client = start_new_kernel()
        places = {"root": str(ROOT), "folder": str(folder), "told": str(self._pipe)}
        self._client.execute(CELL.format(number=number, executor=executor, **places))
        self._told = self._pipe.open()
        self.number = self._told.readline().strip()

    def kill(self):
        """Kill it; return the trials that it told were written."""
        os.kill(self._manager.provisioner.pid, signal.SIGKILL)
        with self._told as told:
            acknowledged = [int(line) for line in told if line.endswith("\n")]
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        shutil.rmtree(self._pipe.parent)
        return acknowledged


def kill(times, executor, Victim, seconds=1.0):
    """Kill a study so many times, wherever it is; return how many trials were lost or came twice, and other ends."""
    lost = other = done = trials = opened = 0
    unbroken = victim.found(victim.begin(None, "tpe", executor).fit())
    folder = Path(tempfile.mkdtemp())
    number, killed = "", 0
    while killed < times:
        going = Victim(folder, number, executor)
        number = going.number
        time.sleep(random.uniform(0.0, seconds))
        acknowledged = going.kill()
        killed += 1
        read = nbopt.open(number, store=folder)
        numbers = [trial.number for trial in read.trials]
        lost += numbers != list(range(len(numbers))) or (bool(acknowledged) and acknowledged[-1] >= len(numbers))
        other += victim.found(read) != unbroken[: len(numbers)]
        opened += [(line.id, line.trials) for line in nbopt.runs(folder)] == [(number, len(numbers))]
        trials += len(acknowledged)
        print(f"{killed}: {len(numbers)} trials; lost or twice {lost}, others than unbroken {other}", flush=True)
        if len(numbers) == victim.TRIALS:
            number, done = "", done + 1
            shutil.rmtree(folder)
            folder = Path(tempfile.mkdtemp())
    shutil.rmtree(folder, ignore_errors=True)
    return {
        "kills": killed,
        "trials told": trials,
        "listed as they are": opened,
        "studies seen through": done,
        "lost or twice": lost,
        "others than unbroken": other,
    }


def kill_workers(times, executor):
    """Kill so many workers of a study, at random; return how many trials were lost or came twice, and other ends."""
    given = {"trials": 2 * times, "epochs": 150}
    unbroken = victim.found(ray_nodes.begin(None, "inline", **given).fit())
    with tempfile.TemporaryDirectory() as folder:
        study = ray_nodes.begin(folder, executor, **given)
        killed, due = [], time.monotonic() + 1.0

        def kill_one():
            nonlocal due
            under_way = [each for each in study.executor._assigned.values() if each.worker in study.executor.ready]
            hit = {number for number, _step in killed}
            begun = [each for each in under_way if each.trained.step_count and each.job.number not in hit]
            if begun and len(killed) < times and time.monotonic() > due:
                assignment = random.choice(begun)
                killed.append((assignment.job.number, assignment.trained.step_count))
                os.kill(study.executor.ready.pop(assignment.worker), signal.SIGKILL)
                due = time.monotonic() + random.uniform(0.5, 2.0)

        study.watchers.append(kill_one)
        study.fit()
        read = nbopt.open(study.id, store=folder)
        numbers = [trial.number for trial in read.trials]
        return {
            "workers killed": len(killed),
            "trials they were at": len({number for number, _step in killed}),
            "lost or twice": numbers != list(range(2 * times)),
            "others than unbroken": sum(a != b for a, b in zip(victim.found(read), unbroken, strict=True)),
        }


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=0)
    options.add_argument("--kernels", action="store_true", help="kill Jupyter kernels")
    options.add_argument("--seconds", type=float, default=1.0, help="how long a study lives at most")
    options.add_argument("--workers", type=int, default=0)
    options.add_argument("--overhead", action="store_true")
    options.add_argument("--race", nargs="*", help="128 trials against Optuna and loops, by these optimizers")
    options.add_argument("--tier", default="auto", help="of the trials that race")
    options.add_argument("--quality", type=int, default=0, help="so many seeds of six tasks")
    options.add_argument("--first", type=int, default=0, help="the first of these seeds")
    options.add_argument("--without", nargs="*", default=(), help="words of searches to leave out of it: hyperband")
    options.add_argument("--executor", default="inline")
    wanted = options.parse_args()
    torch.set_num_threads(1)
    if wanted.overhead:
        for what, milliseconds in overhead().items():
            print(f"{milliseconds:7.1f} ms a trial: {what}")
    for optimizer in (wanted.race or searches.OPTIMIZERS) if wanted.race is not None else ():
        for slots in (16, 128):
            print(f"{optimizer}, {slots} at once, tier {wanted.tier}:")
            for line in searches.race(optimizer, executor="population", slots=slots, tier=wanted.tier):
                print(line, flush=True)
    if wanted.quality:
        for line in search_quality.compare(range(wanted.first, wanted.first + wanted.quality), wanted.without):
            print(line, flush=True)
    if wanted.kills:
        how = Kernel if wanted.kernels else Fork
        print(wanted.executor, how.__name__, kill(wanted.kills, wanted.executor, how, wanted.seconds))
    if wanted.workers:
        print(wanted.executor, kill_workers(wanted.workers, wanted.executor))
