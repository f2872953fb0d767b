"""Kill training processes at random moments, and count what is lost.

``python tests/benchmarks/kills.py [TRIES]``. After each kill the store is copied, and the copy's run goes on to where
an unbroken run is compared with it, bit for bit. The next victim takes up the killed run itself, four times in a row.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import torch

import nbopt
from tests.engine import victim

CHAIN = 4


def main(tries: int) -> None:
    torch.set_num_threads(1)
    told = lost = bitwise = opened = 0
    run = ""
    with tempfile.TemporaryDirectory() as folder, victim.Nursery() as nursery:
        for index in range(tries):
            store = Path(folder) / f"store{index // CHAIN}"
            outcome = nursery.kill_one(store, seed=index, run=run if index % CHAIN else "", seconds=1.5)
            run = outcome.run
            told += len(outcome.told)
            lost += victim.lost_entries(store, outcome)
            copy = Path(folder) / f"copy{index}"
            shutil.copytree(store, copy)
            opened += len(nbopt.runs(copy)) == 1
            bitwise += victim.ends_as_unbroken(copy, run)
            print(
                f"tried {index + 1}, opened {opened}, ended as unbroken {bitwise}; entries told {told}, lost {lost}",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
