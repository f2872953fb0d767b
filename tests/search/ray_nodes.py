"""A study on a Ray cluster, in a process that is killed: ``python -m tests.search.ray_nodes STORE``."""

import os
import secrets
import subprocess
import sys

import torch

import nbopt

TRIALS, EPOCHS = 6, 60


def environment(home):
    """Return variables for Ray: nothing beyond this machine, nothing in the home folder."""
    own = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "HOME": str(home)}
    own["RAY_agent_register_timeout_ms"] = "150000"  # on a machine that is busy with other tests
    return {**own, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "OMP_NUM_THREADS": "1"}


def start(what, folder):
    """Start a cluster, ``"ray_cluster"``, or a study's process, ``"ray_nodes"``; both tell their parent by lines."""
    command = [sys.executable, "-m", f"tests.search.{what}", str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def make_model(width):
    return torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.ReLU(), torch.nn.Linear(width, 2))


def make_data():
    made = torch.Generator().manual_seed(3)
    x = torch.randn(96, 4, generator=made)
    return x, (x[:, 0] + 0.5 * x[:, 1] > 0.2).long()


def begin(store, executor, trials=TRIALS, epochs=EPOCHS):
    space = ["lr", {"width": nbopt.Int(8, low=4, high=16, powers=True)}]
    given = {"epochs": epochs, "batch_size": 32, "trials": trials, "sampler": "random", "executor": executor}
    slots = None if executor == "inline" else 2
    return nbopt.Study(make_model, make_data(), 0.25, space=space, store=store, slots=slots, **given)


def be_kernel(store):
    study = begin(store, "ray")
    print(study.id, flush=True)
    study.watchers.append(lambda: print(study._written, *(len(trial.reports) for trial in study.trials), flush=True))
    study.fit()


if __name__ == "__main__":
    torch.set_num_threads(1)
    be_kernel(*sys.argv[1:])
    os._exit(0)
