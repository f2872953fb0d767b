"""A Ray cluster of two nodes on this machine, and a study's process that is killed.

``python -m tests.search.ray_nodes cluster FOLDER``, or ``kernel STORE``. Both tell their parent by lines, and end with
it.
"""

import os
import secrets
import subprocess
import sys
import time

import torch

import nbopt

TRIALS, EPOCHS = 6, 60
_START_SECONDS = 150


def environment(home):
    """Return variables for Ray: nothing beyond this machine, nothing in the home folder."""
    own = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "HOME": str(home)}
    own["RAY_agent_register_timeout_ms"] = "150000"  # on a machine that is busy with other tests
    return {**own, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "OMP_NUM_THREADS": "1"}


def start(what, *arguments):
    """Start one of the two in a process of its own."""
    command = [sys.executable, "-m", "tests.search.ray_nodes", what, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def patient(get):
    """Wait longer than Ray does, on a machine that is busy with other tests."""

    def get_node(*given):
        end = time.monotonic() + _START_SECONDS
        while True:
            try:
                return get(*given)
            except RuntimeError:
                if time.monotonic() > end:
                    raise

    return get_node


def be_cluster(folder):
    os.environ["RAY_TMPDIR"] = folder
    from ray._private import services
    from ray.cluster_utils import Cluster

    services.get_node = patient(services.get_node)
    node = {"num_cpus": 1, "node_ip_address": "127.0.0.1"}
    os.mkdir(f"{folder}/ray")  # for its address, which Ray itself only writes
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    cluster.wait_for_nodes()
    print(cluster.address, flush=True)
    sys.stdin.read()
    cluster.shutdown()


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
    {"cluster": be_cluster, "kernel": be_kernel}[sys.argv[1]](*sys.argv[2:])
    os._exit(0)
