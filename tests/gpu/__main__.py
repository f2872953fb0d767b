"""``make gpu``: what only a GPU can show. First the tests, then the races of ``make bench``, one table last.

Needs torch with CUDA, pytest, and what nbopt itself needs in a script; no Jupyter. About five minutes.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from tempfile import TemporaryDirectory

_SECONDS = 0.3  # of each contender in each round
_TEST_SECONDS = 150  # after which the tests are ended, so that the races are still run


def main() -> int:
    """Return the exit status: 0 where all that could be run went well."""
    if importlib.util.find_spec("torch") is None:
        print(f"make gpu: {sys.executable} has no torch; nothing was run.")
        return 0
    import torch

    if not torch.cuda.is_available():
        print(f"make gpu: torch {torch.__version__} finds no CUDA device here; nothing was run.")
        return 0
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before the first product: exact replays need it
    rows, status = test()
    for row in rows:
        print(row, flush=True)
    print()
    tables = [*race(), "", *populations()]
    card = f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}"
    print("\n".join(["", card, "", "| test | outcome |", "| --- | --- |", *rows, "", *tables]))
    return status


def test() -> tuple[list[str], int]:
    """Run the tests; return a row for each, and pytest's exit status."""
    with TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}"]
        try:
            status = subprocess.run([*command, str(Path(__file__).parent)], timeout=_TEST_SECONDS).returncode
        except subprocess.TimeoutExpired:
            status = 1
        if not report.exists():
            return [f"| all | no report within {_TEST_SECONDS} s |"], status or 1
        cases = ElementTree.parse(report).iter("testcase")
        return [f"| {case.get('name')} | {_outcome(case)} |" for case in cases], status


def _outcome(case: ElementTree.Element) -> str:
    for kind in ("failure", "error", "skipped"):
        if (found := case.find(kind)) is not None:
            reason = (found.get("message") or "").splitlines()
            return f"{kind}: {reason[0] if reason else ''}"
    return f"passed in {float(case.get('time') or 0):.1f} s"


def race() -> list[str]:
    """Race on the GPU, and return the table."""
    import torch

    from tests.benchmarks.race import race, table
    from tests.benchmarks.workloads import ON_GPU

    torch.set_num_threads(1)
    heats = []
    for work in ON_GPU:
        heats.append(race(work, "cuda", _SECONDS))
        print(table(heats[-1:], "cuda"), flush=True)  # each at once: what was measured is not lost with the next
    return [table(heats, torch.cuda.get_device_name())]


def populations() -> list[str]:
    """Measure a population against loops one after another, and return the table."""
    from tests.benchmarks.many import on_gpu

    lines = []
    for line in on_gpu():
        lines.append(line)
        print(line, flush=True)
    return lines


if __name__ == "__main__":
    sys.exit(main())
