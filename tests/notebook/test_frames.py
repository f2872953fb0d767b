"""How large the bridge's frames are."""

from __future__ import annotations

import numpy as np
import pytest

from tests.notebook.frontend import eventually


def filled_run(make_run, length, **settings):
    """A run as it is after `length` steps, a validation every 1000."""
    run = make_run(**settings)
    rng = np.random.default_rng(0)
    steps = np.arange(length)
    run.history.extend("loss", steps, 1 / (1 + steps / 1000) + 0.1 * rng.random(length))
    run.history.extend("_time", steps[::100], 0.001 * steps[::100])
    run.history.extend("_epoch", steps[::100], steps[::100] / 1000)
    validations = np.arange(1000, length + 1, 1000)
    for name in ("val_loss", "accuracy", "val_accuracy"):
        run.history.extend(name, validations, rng.random(len(validations)))
    return run


def bytes_of_a_frame(page, panel, run, grow=50):
    """The largest of a few frames' messages in all, each after some more steps."""
    sizes = []
    for _frame in range(3):
        since, length = len(page.messages), len(run.history["loss"][0])
        run.history.extend("loss", range(length, length + grow), np.random.default_rng(length).random(grow))
        frame = panel.bridge.companion.frame
        panel.bridge.wake()
        eventually(lambda frame=frame: panel.bridge.companion.frame > frame)
        sizes.append(sum(size for _comm, _data, size in page.messages[since:]))
    return max(sizes)


@pytest.mark.parametrize("axis", ["step", "epoch", "time"])
def test_a_frame_of_two_charts_is_small_however_long_the_run(page, make_run, show, axis):
    sizes = {}
    for length in (10_000, 1_000_000):
        run = filled_run(make_run, length)
        panel = show(run)
        panel.toolbar.view = panel.toolbar.view._replace(axis=axis)
        sizes[length] = bytes_of_a_frame(page, panel, run)
    assert max(sizes.values()) < 60_000
    assert sizes[1_000_000] < 1.5 * sizes[10_000]


def test_thousands_of_changes_do_not_swell_the_frames(page, make_run, show):
    run = filled_run(make_run, 20_000)
    for step in range(0, 20_000, 2):
        run.journal.change(step, "lr", 0.001 + step, 0.001 + step + 2, "code")
    panel = show(run)
    run.journal.change(20_000, "lr", 1.0, 2.0, "code")
    assert bytes_of_a_frame(page, panel, run) < 100_000
    panel._unfold.value = True
    run.journal.change(20_000, "lr", 2.0, 3.0, "code")
    assert bytes_of_a_frame(page, panel, run) < 100_000
    assert len(panel.charts[0].over.ticks) <= 101
