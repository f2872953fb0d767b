"""The one way in which tests wait: for a condition, and not for ever."""

import time


def eventually(condition, seconds=20):
    """Return what ``condition`` returns, once it is true."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)
    return result
