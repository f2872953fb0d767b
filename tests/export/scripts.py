"""Running a run's script and comparing what it does with what the run did."""

import copy
import subprocess
import sys

import numpy as np
import torch
from ruff import find_ruff_bin

from nbopt import Run, RunState
from nbopt.export.summary import operations
from tests import zygote

SMALLEST = 1e-5
RUFF = find_ruff_bin()  # `python -m ruff` takes five times as long


def make(model, train, val=None, **settings):
    """Return a run on the CPU that leaves nothing behind, and a copy of its model as it is now."""
    initial = copy.deepcopy(model)
    return Run(model, train, val, device="cpu", store=None, **settings), initial


def follow(run, schedule):
    """Train to the end, with changes at these steps."""
    run.changes.plan(operations(schedule, "test"))
    run.start()
    assert run.wait(60) is RunState.FINISHED
    return run


def execute(text, model, train, val=None, **given):
    """Return what the script's train returns, with nbopt out of reach."""
    namespace = {}
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "nbopt"}
    sys.modules["nbopt"] = None
    try:
        exec(compile(text, "script.py", "exec"), namespace)
        with torch.random.fork_rng():
            return namespace["train"](model, train, val, **given)
    finally:
        sys.modules.update(hidden)


def execute_elsewhere(jobs, folder):
    """Do the same in another process, where nbopt cannot be imported; return what was measured and the model.

    ``jobs`` are lists of script, model, train and val.
    """
    torch.save(jobs, folder / "jobs.pt")
    code = (
        "import sys; sys.modules['nbopt'] = None\n"
        "import torch\n"
        "done = []\n"
        "for text, model, train, val in torch.load('jobs.pt', weights_only=False):\n"
        "    names = {}\n"
        "    exec(compile(text, 'script.py', 'exec'), names)\n"
        "    done.append((names['train'](model, train, val), model))\n"
        "torch.save(done, 'done.pt')\n"
    )
    done = zygote.run(code, cwd=folder, bare=True)
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "done.pt", weights_only=False)


def compare(run, measured, model):
    """Return the largest difference between what run and script measured, and check the weights."""
    largest = 0.0
    for name in run.history.names:
        values = run.history[name][1]
        if name == "loss":  # one for each step
            assert len(measured.get("loss", [])) == run.epoch
            continue
        if name == "lr":  # the script sets it, and keeps no record
            continue
        assert len(measured[name]) == len(values), name
        difference = np.abs(np.asarray(measured[name]) - values)
        assert np.all(difference <= SMALLEST), name
        largest = max(largest, float(difference.max(initial=0.0)))
    for ours, theirs in zip(run.model.state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.allclose(ours, theirs, atol=SMALLEST)
        largest = max(largest, float((ours - theirs).abs().max()))
    return largest


def check(run, initial, train, val=None):
    """Execute a run's script and compare; return the script and the largest difference."""
    text = run.to_python()
    measured = execute(text, initial, train, val)
    return text, compare(run, measured, initial)


def is_tidy(text):
    """Lint and format-check a script, as someone would who keeps it."""
    for command in (["check"], ["format", "--diff"], ["format", "--diff", "--line-length", "120"]):
        done = subprocess.run(
            [RUFF, *command, "--isolated", "--stdin-filename", "script.py", "-"],
            input=text,
            text=True,
            capture_output=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert max(map(len, text.splitlines())) <= 88
    return True
