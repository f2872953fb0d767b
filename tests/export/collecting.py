"""A plugin that keeps every script that tests write, to compare two versions of the exporter.

    NBOPT_SCRIPTS=/tmp/before python -m pytest -p tests.export.collecting tests/export tests/techniques

Once more after a change, into another folder, and ``diff -r`` shows all that became of it. A file is named after the
test, with the number of the script in it; what is refused is kept in words.
"""

import os
import re
from pathlib import Path

from nbopt.export.script import writer

_FOLDER = Path(os.environ["NBOPT_SCRIPTS"])
_write = writer.to_python
_numbers = {}


def _keep(story):
    """Write a script, and keep it."""
    test = re.sub(r"[^\w.=-]+", "_", os.environ["PYTEST_CURRENT_TEST"].removesuffix(" (call)"))[-200:]
    number = _numbers[test] = _numbers.get(test, 0) + 1
    path = _FOLDER / f"{test}-{number}.py"
    try:
        path.write_text(_write(story))
    except ValueError as error:
        path.write_text(f"refused: {error}\n")
        raise
    return path.read_text()


def pytest_configure():
    """Have runs write by way of `_keep`."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    writer.to_python = _keep
