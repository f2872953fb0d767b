"""What a panel shows, once it has painted."""

from __future__ import annotations

from tests.notebook.frontend import eventually


def span_of(panel, chart=0):
    scale = panel.charts[chart]._x
    return scale.min, scale.max


def painted(panel):
    """Paint as the bridge does; return the error box."""
    for _frame in range(2):  # the first one may have begun before
        frame = panel.bridge.companion.frame
        panel.bridge.wake()
        eventually(lambda frame=frame: panel.bridge.companion.frame > frame)
    return panel._error.value
