"""What `make demo` says: where to go, or why it failed and where all of that is told."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="needs make")


def make(venv: Path, *arguments: str) -> subprocess.Popen[str]:
    command = ["make", "--no-print-directory", *arguments, f"VENV={venv}"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=TOP, env=clean, start_new_session=True, preexec_fn=hear_interrupts, **pipes)


def hear_interrupts() -> None:
    """Have what is started end by Ctrl-C also where tests run in the background, in which shells ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_it_tells_in_one_line_where_jupyterlab_is_and_ends_with_it(tmp_path):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    made = make(tmp_path, "lab", "PORT=0", "LAB_ARGS=--no-browser --ip=127.0.0.1")
    try:
        line = made.stdout.readline()
        url = re.fullmatch(r"Open (http://127\.0\.0\.1:\d+/lab/tree/quickstart\.ipynb\?token=\w+)\n", line)[1]
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert answer.status == 200
    finally:
        os.killpg(made.pid, signal.SIGINT)
        rest, errors = made.communicate(timeout=30)
    assert rest == ""
    assert "Traceback" not in errors
    assert "is running at" in (tmp_path / "lab.log").read_text()
    with pytest.raises(OSError):
        urllib.request.urlopen(url, timeout=5)


def test_a_log_is_named_where_setting_up_fails(tmp_path):
    made = make(tmp_path / "none", "demo", "PYTHON=false")
    said, errors = made.communicate(timeout=30)
    assert made.returncode != 0
    assert "Setting up nbopt" in said
    log = tmp_path / "none" / "set-up.log"
    assert str(log) in errors.splitlines()[-2]
    assert log.read_text()


def test_a_log_is_named_where_jupyterlab_does_not_start(tmp_path):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\necho out of order\nexit 3\n")
    python.chmod(0o755)
    made = make(tmp_path, "lab")
    said, errors = made.communicate(timeout=30)
    assert made.returncode != 0
    assert said == ""
    assert "out of order" in errors
    assert str(tmp_path / "lab.log") in errors
