"""How much memory there is."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_INFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")
_UNTOLD_SHARE = 0.25  # of all memory, where the system does not tell how much is in use


def available_memory() -> int:
    """Return how many bytes this process can have without any other being short of memory; 0 if nobody tells."""
    found = []
    with suppress(OSError, ValueError, IndexError):
        lines = dict(line.split(":") for line in _INFO.read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    with suppress(OSError, ValueError):  # a container's share; "max" if it has no limit
        limit = int((_GROUP / "memory.max").read_text())
        found.append(max(0, limit - int((_GROUP / "memory.current").read_text())))
    if not found:
        with suppress(OSError, ValueError, AttributeError):
            found.append(int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * _UNTOLD_SHARE))
    return min(found, default=0)
