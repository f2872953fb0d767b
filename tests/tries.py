"""How many random cases a test tries: few in the suite, always the same ones; more, and others, where somebody asks.

``NBOPT_TRIES=20 make test PYTEST_ARGS="-k any_schedule"`` tries twenty times as many.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

FACTOR = int(os.environ.get("NBOPT_TRIES", "1"))


def tries(count: int, **others: Any) -> settings:
    """Return the settings of a test that tries ``count`` cases where nobody asks for more."""
    return settings(max_examples=count * FACTOR, **others)
