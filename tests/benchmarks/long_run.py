"""A run of ten million steps in a real kernel: what its history takes, and what one refresh of its panel costs.

The history is filled as a run fills it, a batch of losses at a time, four metrics measured at every step. A refresh is
the panel's own, with what is sent to the page: packing and signing included, drawing in the browser not.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

from jupyter_client.manager import start_new_kernel

STEPS = 10_000_000
REFRESHES = 60

LOAD = "import time; start = time.perf_counter()\n%load_ext nbopt\nprint(time.perf_counter() - start)"

FILL = f"""
import gc, json, os, statistics, time
import numpy as np, psutil, torch
from torch import nn
import nbopt
from ipykernel.comm.comm import BaseComm
from nbopt.training.state import RunState
from nbopt.notebook.panel.panel import panel_of

X, y = torch.randn(200, 8), torch.randint(2, (200,))
run = nbopt.Run(nn.Linear(8, 2), (X, y), val=0.2, metrics=["accuracy"], store=None)
panel = panel_of(run)
panel.bridge.close()
# Painted below, as while it trains: at rest a still picture is drawn beside it.
run.state = RunState.RUNNING

random = np.random.default_rng(0)
NAMES = "loss", "val_loss", "accuracy", "val_accuracy"
done = 0

def grow(count):
    global done
    for name in NAMES:
        values = random.random(count) / (1 + 1e-6 * done)
        run.history.extend(name, range(done, done + count), values.tolist())
    done += count
    run.history.append("_time", done - 1, done / 1000)
    run.history.append("_epoch", done - 1, done / 1000)

memory = psutil.Process().memory_info
grow(1000)
panel._paint()
gc.collect()
before = memory().rss
while done < {STEPS}:
    grow(5000)
    if done % 1_000_000 == 0:
        panel._paint()
gc.collect()
taken = memory().rss - before

clocks = time.perf_counter, time.thread_time
spent = []
for _refresh in range({REFRESHES}):
    grow(100)
    start = [clock() for clock in clocks]
    panel._paint()
    spent.append([clock() - before for clock, before in zip(clocks, start)])
wall, computing = map(statistics.median, zip(*spent))

sizes, send = dict(), BaseComm.publish_msg

def counted(self, msg_type, data=None, metadata=None, buffers=None, **keys):
    size = len(json.dumps(data)) + sum(memoryview(buffer).nbytes for buffer in buffers or [])
    sizes[self.comm_id] = sizes.get(self.comm_id, 0) + size
    return send(self, msg_type, data, metadata, buffers, **keys)

BaseComm.publish_msg = counted
for _refresh in range({REFRESHES}):
    grow(100)
    panel._paint()
BaseComm.publish_msg = send
curves = sum(sizes.get(chart.curves.model_id, 0) for chart in panel.charts)
print(json.dumps(dict(
    memory=taken,
    refresh=wall,
    computing=computing,
    sent=sum(sizes.values()) / {REFRESHES},
    curve=curves / {REFRESHES} / len(NAMES),
)))
"""


def ask(client: Any, code: str) -> Any:
    """Run a cell; return the JSON value it prints."""
    parts: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            parts.append(message["content"]["text"])
        elif message["msg_type"] == "error":
            raise RuntimeError("\n".join(message["content"]["traceback"]))

    client.execute_interactive(code, timeout=300, output_hook=hear)
    return json.loads("".join(parts))


def in_kernel(code: str) -> Any:
    """Run a cell in a fresh kernel."""
    manager, client = start_new_kernel(stderr=subprocess.DEVNULL)
    try:
        return ask(client, code)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
