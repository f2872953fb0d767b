"""What the bridge sends, and when."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
from itertools import pairwise

import pytest

from nbopt.notebook.frontend import bridge as bridge_module
from nbopt.notebook.frontend.bridge import Bridge
from nbopt.training.state import RunState
from tests.notebook.frontend import eventually


@pytest.fixture
def paint_log(page, make_run):
    """Start a bridge over a run, whose paint notes the time; it may be made to raise. (run, bridge, log)."""
    bridges = []

    class Log(list):
        failing = False
        complaints: list[str]
        growth: float

        def paint(self):
            self.append(time.monotonic())
            if self.failing:
                raise ZeroDivisionError("no <paint> left")

    def start(**settings):
        run, log = make_run(**settings), Log()
        log.complaints = []
        log.growth = 0.0
        growth = lambda: log.growth if run.state is RunState.RUNNING else None  # noqa: E731
        bridges.append(Bridge(run, log.paint, log.complaints.append, growth, lambda content: None))
        bridges[-1].start()
        return run, bridges[-1], log

    yield start
    for bridge in bridges:
        bridge.close()


def paints_after_one_wake(bridge, log):
    """How many paints a wake leads to. The bridge does one thing after another: a stray paint would be counted."""
    before = len(log)
    bridge.wake()
    eventually(lambda: len(log) > before)
    return len(log) - before


def test_while_nobody_answers_a_training_run_is_not_painted(page, paint_log, monkeypatch):
    monkeypatch.setattr(bridge_module, "FRAME_SECONDS", 0.0)
    run, bridge, log = paint_log()
    run.start()
    sent = len(page.messages)
    eventually(lambda: run.step_count > 100)
    bridge.wake()
    run.set(lr=0.01)
    eventually(lambda: run.step_count > 200)
    assert len(log) == 1 and len(page.messages) == sent
    run.pause()
    eventually(lambda: len(log) > 1)  # at rest the last picture goes out, whoever looks


def test_a_page_that_answers_is_painted_for_and_one_that_stops_answering_is_not(page, paint_log, monkeypatch):
    monkeypatch.setattr(bridge_module, "FRAME_SECONDS", 0.0)
    run, bridge, log = paint_log()
    run.start()
    for _frame in range(5):
        seen = len(log)
        page.tell(bridge.companion, {"frame": bridge.companion.frame})
        eventually(lambda seen=seen: len(log) > seen)
    seen, step = len(log), run.step_count
    eventually(lambda: run.step_count > step + 100)
    assert len(log) == seen == 6


class Clock(threading.Event):
    """A bridge's clock and its event, in the hands of a test: time goes on by what it waits, and by nothing else."""

    now = 1000.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def wait(self, timeout=None):
        if timeout in (None, math.inf):
            super().wait()
        elif not self.is_set():
            self.now += timeout


def test_a_frame_that_nobody_awaited_does_not_count_as_slowly_drawn(page, make_run, monkeypatch):
    """As one sent to a hidden page, which answers once it is looked at again."""
    clock = Clock()
    monkeypatch.setattr(bridge_module, "time", clock)
    bridge = Bridge(make_run(), lambda: None, print, lambda: None, print)
    bridge._show()
    page.tell(bridge.companion, {"frame": 1})
    bridge._show()
    clock.now += 0.2
    page.tell(bridge.companion, {"frame": 2})
    assert bridge._drawing == pytest.approx(0.2)
    bridge._show()
    bridge._show()  # the third is not answered yet
    clock.now += 100
    page.tell(bridge.companion, {"frame": 4})
    assert bridge._drawing == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("took", "gap"),
    [(0.0, 0.1), (0.02, 0.1), (0.05, 0.15), (0.2, 0.6), (0.5, 1.0), (5.0, 5.0)],
    ids=["at once", "quickly", "visibly", "slowly", "very slowly", "hardly"],
)
def test_frames_keep_their_distance_and_a_page_draws_for_a_third_of_the_time(page, make_run, monkeypatch, took, gap):
    clock, painted = Clock(), []
    monkeypatch.setattr(bridge_module, "time", clock)
    monkeypatch.setattr(bridge_module, "_BESIDE_SECONDS", math.inf)  # nobody but the page is painted for
    bridge = Bridge(make_run(), lambda: painted.append(clock.now), print, lambda: 0.0, print)
    bridge._stir = clock
    bridge.start()
    for _frame in range(6):
        frame = bridge.companion.frame
        clock.now += took
        page.tell(bridge.companion, {"frame": frame})
        eventually(lambda frame=frame: bridge.companion.frame > frame)
    bridge.close()
    gaps = [later - earlier for earlier, later in pairwise(painted)]
    assert gaps[2:] == pytest.approx([gap] * 4)


def test_where_the_curves_grow_less_than_a_pixel_news_is_painted_at_once_and_nothing_else(page, paint_log, monkeypatch):
    monkeypatch.setattr(bridge_module, "FRAME_SECONDS", 0.0)
    monkeypatch.setattr(bridge_module, "_LONGEST", 3600.0)
    run, bridge, log = paint_log()
    log.growth = 3600.0
    run.start()

    def train(steps):
        step = run.step_count
        eventually(lambda: run.step_count > step + steps)

    for lr in (0.01, 0.02, 0.03):
        painted = len(log)
        run.set(lr=lr)
        train(50)  # meanwhile it acts, and the run has told all
        eventually(lambda: page.tell(bridge.companion, {"frame": bridge.companion.frame}) or not bridge._news)
        train(50)  # meanwhile the last of it is painted
        assert len(log) > painted
        page.tell(bridge.companion, {"frame": bridge.companion.frame})
        painted = len(log)
        train(100)
        assert len(log) == painted


def test_a_panel_grows_by_a_pixel_in_a_thousandth_of_its_run(make_run, show):
    run = make_run()
    panel = show(run)
    run.step(5)
    assert panel._growth() is None  # at rest
    run.start()
    eventually(lambda: (run.history.last("_time") or 0) > 0 and run.state is RunState.RUNNING)
    before = run.history.last("_time")
    growth = panel._growth()
    assert before / 1000 <= growth <= run.history.last("_time") / 1000


def test_a_run_at_rest_is_painted_once_for_each_piece_of_news_and_never_by_itself(page, paint_log, monkeypatch):
    monkeypatch.setattr(bridge_module, "FRAME_SECONDS", 0.0)
    run, bridge, log = paint_log()
    run.step(3)
    eventually(lambda: len(log) > 1)
    eventually(lambda: not bridge._news)
    paints_after_one_wake(bridge, log)
    for _frame in range(20):  # as the page does, for every frame: an answer is no news
        page.tell(bridge.companion, {"frame": bridge.companion.frame})
    assert paints_after_one_wake(bridge, log) == 1
    sent = len(page.messages)
    assert paints_after_one_wake(bridge, log) == 1
    assert len(page.sent(since=sent)) <= 1  # the frame's number: nothing else changed


@pytest.mark.parametrize("ending", ["pause", "stop", "finish", "fail"])
def test_however_a_run_comes_to_rest_the_last_paint_sees_it(page, make_run, show, ending):
    run = make_run(epochs=2 if ending == "finish" else 1_000_000)
    panel = show(run)
    run.start()
    if ending == "fail":
        run.model.forward = None
        eventually(lambda: run.state.is_ended)
    elif ending != "finish":
        getattr(run, ending)()
    words = {"pause": "Paused", "stop": "Stopped", "finish": "Finished", "fail": "Failed"}
    eventually(lambda: words[ending] in panel._status.value and f"</i> {run.step_count:,}<" in panel._status.value)
    eventually(lambda: panel.charts[0].curves.x[0, -1] == run.history["loss"][0][-1])


def test_an_exception_in_painting_is_told_and_the_next_frame_is_tried(page, paint_log):
    _run, bridge, log = paint_log()
    log.failing = True
    paints_after_one_wake(bridge, log)
    eventually(lambda: log.complaints)
    assert "ZeroDivisionError: no <paint> left" in log.complaints[0]
    log.failing = False
    paints_after_one_wake(bridge, log)
    frame = bridge.companion.frame
    paints_after_one_wake(bridge, log)
    eventually(lambda: bridge.companion.frame > frame)
    assert len(log.complaints) == 1


def test_closing_ends_the_thread_and_lets_go_of_the_run(paint_log):
    run, bridge, log = paint_log()
    bridge.close()
    assert f"nbopt panel {run.name}" not in [thread.name for thread in threading.enumerate()]
    seen = len(log)
    run.step(2)
    assert len(log) == seen and bridge.wake not in run.watchers
    bridge.close()  # twice is no error


def test_what_the_first_step_would_wait_for_is_imported_once_a_page_has_drawn():
    code = """
import sys, threading
import torch
import nbopt
from nbopt.notebook.panel.panel import panel_of
run = nbopt.Run(torch.nn.Linear(2, 2), (torch.zeros(8, 2), torch.zeros(8).long()), store=None)
bridge = panel_of(run).bridge
print("torch._dynamo" in sys.modules)
bridge._hear(bridge.companion, {"frame": bridge.companion.frame}, [])
for thread in threading.enumerate():
    if thread.name == "nbopt loads":
        thread.join()
print("torch._dynamo" in sys.modules)
known = set(sys.modules)
run.step(1)
print(len(set(sys.modules) - known) < 10)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.split() == ["False", "True", "True"]
