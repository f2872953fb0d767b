"""What a process's memory does while a small, compiled run does steps for a long time.

``python tests/benchmarks/soak.py [MINUTES]``. A line each half minute: steps, megabytes of the process, what of them
malloc handed out, objects that Python's collector knows, values in the history, and the store's size.
"""

import argparse
import ctypes
import gc
import tempfile
import time
from pathlib import Path

import psutil
import torch
from torch import nn

import nbopt

_SECONDS = 30.0


class _Mallinfo(ctypes.Structure):
    names = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    _fields_ = [(name, ctypes.c_size_t) for name in names]


def handed_out() -> int:
    """Return the bytes that glibc's malloc has handed out, in all arenas and mappings; 0 where there is no glibc."""
    try:
        ask = ctypes.CDLL("libc.so.6").mallinfo2
    except (OSError, AttributeError):
        return 0
    ask.restype = _Mallinfo
    found = ask()
    return int(found.uordblks + found.hblkhd)


def main(minutes: float, tier: str) -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(4000) % 3
    x = torch.randn(4000, 8, generator=generator) + nn.functional.one_hot(y, 8)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    memory = psutil.Process().memory_info
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        data = (x[:3500], y[:3500]), (x[3500:], y[3500:])
        run = nbopt.Run(
            model, *data, metrics=["accuracy"], epochs=10**9, batch_size=16, optimizer="sgd", tier=tier, store=folder
        )
        run.start()
        began = time.monotonic()
        while time.monotonic() < began + 60 * minutes:
            time.sleep(_SECONDS)
            gc.collect()
            values = sum(len(run.history.tracks[name].values) for name in run.history.tracks)
            stored = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
            print(
                f"{time.monotonic() - began:5.0f} s  {run.step_count:10,} steps  {memory().rss / 2**20:6.1f} MB, "
                f"{handed_out() / 2**20:6.1f} handed out  {len(gc.get_objects()):7,} objects  {values:9,} values  "
                f"{stored / 2**20:6.1f} MB stored  {run.tier}",
                flush=True,
            )
        run.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("minutes", type=float, nargs="?", default=15.0)
    parser.add_argument("--tier", default="compiled")
    main(**vars(parser.parse_args()))
