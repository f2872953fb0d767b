"""A Ray cluster of two nodes on this machine, without what only trials need.

``python -m tests.search.ray_cluster FOLDER`` tells its parent the address, and ends with it.
"""

import os
import sys
import time

_START_SECONDS = 150


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
    node = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "include_log_monitor": False}
    os.mkdir(f"{folder}/ray")  # for its address, which Ray itself only writes
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False, "no_monitor": True})
    cluster.add_node(**node)
    cluster.wait_for_nodes()
    print(cluster.address, flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    be_cluster(*sys.argv[1:])
    os._exit(0)
