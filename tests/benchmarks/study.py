"""What a study costs beside its training, how much faster populations are, and what is left of one that is killed.

``python -m tests.benchmarks.study [--kills 50 [--kernels] [--executor population] [--kind hyperband]] [--workers 10
--executor ray] [--overhead] [--race [sgd adam]] [--quality 10 [--first 20] [--without hyperband]]``: CPU time, one
thread. ``--kills`` kills a study's process, a fork of this one or, far slower, a real Jupyter kernel with the study's
panel open, a moment after a trial that is drawn of all but the last one; each study three times, and then it is seen
through. ``--workers`` kills workers.
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
study = carry_out({folder!r}, os.open({told!r}, os.O_WRONLY), {number!r}, **{given!r})
display(study)
study.start()
"""


class Victim:
    """Carries a study out in a process that is killed."""

    def __init__(self, told):
        self._told = told
        self.number = self._told.readline().strip()
        self._trials = []

    def wait_for(self, trial):
        """Wait until it told that this trial was written; return whether it did."""
        for line in self._told:
            self._trials.append(int(line))
            if self._trials[-1] >= trial:
                return True
        return False

    def kill(self):
        """Kill it; return the trials that it told were written."""
        self._kill()
        with self._told as told:
            return self._trials + [int(line) for line in told if line.endswith("\n")]


class Fork(Victim):
    """A fork of this process."""

    def __init__(self, folder, number, given):
        self._child, told = victim.start(folder, number, **given)
        super().__init__(told)

    def _kill(self):
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)


class Kernel(Victim):
    """A Jupyter kernel, which has the study's panel open."""

    def __init__(self, folder, number, given):
        pipe = Path(tempfile.mkdtemp()) / "told"
        os.mkfifo(pipe)
        self._manager, self._client = start_new_kernel()
        places = {"root": str(ROOT), "folder": str(folder), "told": str(pipe)}
        self._client.execute(CELL.format(number=number, given=given, **places))
        super().__init__(pipe.open())
        shutil.rmtree(pipe.parent)

    def _kill(self):
        os.kill(self._manager.provisioner.pid, signal.SIGKILL)
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


_EACH = 3  # so often is a study killed


def kill(times, kind, executor, Kind, seconds):
    """Kill studies so many times; return how many trials were lost or came twice, and how many were others."""
    given = {"kind": kind, "executor": executor, "trials": 40}
    unbroken = victim.found(victim.begin(None, **given).fit())
    count = dict.fromkeys(("kills", "before the first trial", "after the last", "trials told"), 0)
    count |= dict.fromkeys(("listed as they are", "studies seen through", "lost or twice", "others than unbroken"), 0)
    moments = []
    while count["kills"] < times:
        with tempfile.TemporaryDirectory() as folder:
            number, written = "", 0
            for after in sorted(random.choices(range(len(unbroken) - 1), k=min(_EACH, times - count["kills"]))):
                going = Kind(folder, number, given)
                number = going.number
                if after >= written:
                    going.wait_for(after)
                time.sleep(random.uniform(0.0, seconds))
                told = going.kill()
                read = nbopt.open(number, store=folder)
                written = len(read.trials)
                moments.append(written)
                count["kills"] += 1
                count["before the first trial"] += not written
                count["after the last"] += written == len(unbroken)
                count["trials told"] += len(told)
                count["listed as they are"] += [(each.id, each.trials) for each in nbopt.runs(folder)] == [
                    (number, written)
                ]
                numbers = [trial.number for trial in read.trials]
                count["lost or twice"] += numbers != list(range(written)) or (bool(told) and told[-1] >= written)
                if victim.found(read) != unbroken[:written]:
                    count["others than unbroken"] += 1
                    print("other:", [a[0] for a, b in zip(victim.found(read), unbroken, strict=False) if a != b])
            study = victim.open_again(number, folder, kind)
            found = victim.found(study if written == len(unbroken) else study.fit())
            study.record.release()
            count["studies seen through"] += 1
            count["lost or twice"] += [each[0] for each in found] != list(range(len(unbroken)))
            count["others than unbroken"] += found != unbroken
        print(f"{count}", flush=True)
    return count | {"trials written at a kill": sorted(moments)}


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
    options.add_argument("--kind", choices=victim.KINDS, default="tpe", help="of the study that is killed")
    options.add_argument("--seconds", type=float, default=0.05, help="how long after a trial it is killed, at most")
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
        found = kill(wanted.kills, wanted.kind, wanted.executor, how, wanted.seconds)
        print(wanted.kind, wanted.executor, how.__name__, found)
    if wanted.workers:
        print(wanted.executor, kill_workers(wanted.workers, wanted.executor))
