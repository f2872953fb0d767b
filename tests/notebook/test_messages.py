"""Whatever a page sends: nothing breaks, and what is refused is refused with a reason that can be seen."""

from __future__ import annotations

import logging
import math
import random
from typing import NamedTuple

import comm
import ipywidgets as widgets
import pytest

from nbopt.errors import InvalidHyperparam
from nbopt.hyperparams import Flag
from nbopt.notebook.panel.toolbar import span_of
from nbopt.notebook.panel.typed import read
from nbopt.notebook.publisher import StatusPublisher
from nbopt.techniques.initialization import Initialization
from tests.notebook.frontend import eventually, every_widget
from tests.tries import FACTOR

MESSAGES = 500 * FACTOR
ODDITIES = [
    *(None, True, False, 0, 1, -1, 2, 3.0, 7, 64, 2**31, 2**53 + 1, 2**62, 2**63, -(2**63), 10**400),
    *(0.5, -0.0, 1e-9, 5e-324, 1e300, -1e300, math.nan, math.inf, -math.inf),
    *(
        "",
        " ",
        "0",
        "1",
        "0.01",
        "1e-3",
        "nan",
        "inf",
        "-1",
        "1e999",
        "0x10",
        "1_000",
        "9" * 5000,
        "fast",
        "x" * 50_000,
    ),
    *("adam", "sgd", "accuracy", "__class__", "\0", "\ud800", '<img src=x onerror="alert(1)">', "IPY_MODEL_1"),
    *([], {}, [None], [[]], [1.0, 2.0], [2, 1], [math.nan, 1], {"event": "click"}, {"zoom": None}, {"frame": 1}),
]
TRAITS = [
    "value",
    "index",
    "description",
    "disabled",
    "options",
    "_options_labels",
    "layout",
    "comm",
    "max",
    "frame",
    "",
]


class Sent(NamedTuple):
    """A message of the page's: to whom, what, and whether it is to be taken."""

    to: object
    data: object
    is_sane: bool


class Sender:
    """Draws messages to a panel and a beacon: some as a person's deeds send them, most not."""

    def __init__(self, panel, beacon, chance):
        self.panel, self.beacon, self.chance = panel, beacon, chance
        parts = list(every_widget(panel.widget))
        self.buttons = [item for item in parts if isinstance(item, widgets.Button)]
        inputs = [item for control in panel.controls.values() for item in control.inputs]
        self.others = [
            item
            for item in parts
            if isinstance(item, (widgets.ToggleButton, widgets.FloatSlider, widgets.Dropdown, widgets.Text))
            and item not in inputs
        ]
        self.kinds = [
            self.move,
            self.look,
            self.press,
            self.zoom,
            self.pick,
            self.unfold,
            self.answer,
            self.steer,
            self.nonsense,
            self.mangled,
        ]

    def draw(self):
        return self.chance.choice(self.kinds)()

    def junk(self, depth=3):
        value = self.chance.choice(ODDITIES)
        if depth and self.chance.random() < 0.2:
            inner = [self.junk(depth - 1) for _count in range(self.chance.randrange(4))]
            names = [*TRAITS, "do", "run", "zoom", "x", "y", "chart", "frame", "method", "state", "event", "content"]
            value = inner if self.chance.random() < 0.5 else {self.chance.choice(names): item for item in inner}
        return value

    def update(self, to, name, value, is_sane):
        return Sent(to, {"method": "update", "state": {name: value}, "buffer_paths": []}, is_sane)

    def move(self):
        """Any value in a control's input."""
        late = Initialization.declared()  # refused after the first step
        name = self.chance.choice([name for name in self.panel.controls if name not in late])
        control = self.panel.controls[name]
        item = self.chance.choice(control.inputs)
        value = self.junk()
        if isinstance(item, widgets.Text):
            value = self.chance.choice([value, str(value), str(self.chance.random()), str(self.chance.randrange(300))])
            return self.update(item, "value", value, isinstance(value, str) and self.is_legal(control.spec, value))
        if isinstance(control.spec, Flag):
            return self.update(item, "value", value, isinstance(value, bool))
        if self.chance.random() < 0.5:
            value = self.chance.randrange(len(item.options))
        legal = type(value) is int and 0 <= value < len(item.options)
        return self.update(item, "index", value, legal)

    def is_legal(self, spec, text):
        try:
            text.encode()
            spec.check(read(text, spec))
        except (InvalidHyperparam, UnicodeEncodeError):
            return False
        return True

    def look(self):
        """Any value in the toolbar or at the journal's switch."""
        item, value = self.chance.choice(self.others), self.junk()
        if isinstance(item, widgets.Dropdown):
            return self.update(item, "index", value, type(value) is int and 0 <= value < len(item.options))
        if isinstance(item, widgets.Text):
            return self.update(item, "value", value, isinstance(value, str) and "\ud800" not in value)
        if isinstance(item, widgets.ToggleButton):
            return self.update(item, "value", value, isinstance(value, bool))
        sane = type(value) in (int, float) and abs(value) < math.inf and abs(value) < 10**300 * 10
        return self.update(item, "value", value, sane)

    def press(self):
        """Buttons in any order."""
        return Sent(self.chance.choice(self.buttons), {"method": "custom", "content": {"event": "click"}}, True)

    def zoom(self):
        ends = [self.chance.choice([self.junk(0), self.chance.uniform(-5, 300)]) for _end in range(4)]
        chart = self.chance.choice([0, 1, self.junk(0)])
        x = self.chance.choice([ends[:2], self.junk()])
        zoom = {"chart": chart, "x": x, "y": self.chance.choice([ends[2:], None])}
        if self.chance.random() < 0.2:
            zoom = self.junk()
        sane = zoom is None or (isinstance(zoom, dict) and "x" in zoom and zoom["x"] is None)
        if isinstance(zoom, dict) and {"chart", "x", "y"} <= zoom.keys():
            sane |= isinstance(chart, int) and 0 <= chart < 2 and span_of(x) is not None
        return self.custom({"zoom": zoom}, sane)

    def pick(self):
        x = self.chance.choice([self.junk(), self.chance.uniform(-5, 300)])
        sane = x is None or (isinstance(x, (int, float)) and x == x)
        return self.custom({"pick": x}, sane)

    def unfold(self):
        title = self.chance.choice([self.junk(), *self.panel.column.members])
        return self.custom({"open": title}, isinstance(title, str) and title in self.panel.column.members)

    def answer(self):
        frame = self.chance.choice([self.junk(0), self.panel.bridge.companion.frame, 0])
        sane = isinstance(frame, int) and frame <= self.panel.bridge.companion.frame
        return self.custom({"frame": frame}, sane)

    def custom(self, content, is_sane):
        return Sent(self.panel.bridge.companion, {"method": "custom", "content": content}, is_sane)

    def steer(self):
        """What the status bar sends, and what it does not."""
        do = self.chance.choice(["pause", "resume", "stop", "refresh", "seen", "start", self.junk()])
        run = self.chance.choice([self.panel.run.id, self.panel.run.id, self.junk()])
        sane = do in ("refresh", "seen") if isinstance(do, str) else False
        sane |= isinstance(do, str) and do in ("pause", "stop") and run == self.panel.run.id
        return Sent(self.beacon, {"do": do, "run": run}, sane or (do == "resume" and run == self.panel.run.id))

    def nonsense(self):
        """A trait that is not the input's to change, an event that it has not, a method there is not."""
        to = self.chance.choice([*self.buttons, *self.others, self.panel.bridge.companion, self.beacon])
        name = self.chance.choice([name for name in TRAITS if name not in ("value", "index")])
        data = self.chance.choice(
            [
                {"method": "update", "state": {name: self.junk()}},
                {"method": "update", "state": self.chance.choice([[], "value", None, 3])},
                {"method": "update", "state": {}, "buffer_paths": [["value"]]},
                {"method": self.chance.choice(["backup", 3, None, [], "__init__"])},
                {
                    "method": "custom",
                    "content": self.chance.choice([0, "click", [], {"event": "dblclick"}, {"pick": "x"}]),
                },
                {"method": "custom"},
            ]
        )
        return Sent(to, data, False)

    def mangled(self):
        to = self.chance.choice([*self.buttons, *self.others, self.panel.bridge.companion, self.beacon])
        return Sent(to, self.junk(), False)


def deliver(sent):
    """Hand a message to its comm, as the kernel does."""
    channel = sent.to if isinstance(sent.to, comm.base_comm.BaseComm) else sent.to.comm
    channel.handle_msg({"content": {"data": sent.data}, "buffers": []})


# What cannot act is set, and said in a warning.
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_messages_of_any_kind_are_taken_or_refused_with_a_reason(page, make_run, show, caplog, monkeypatch):
    run = make_run(batch_size=24)
    initial = dict(run.hyperparams)
    panel = show(run)
    complaints, asks, ask = [], [], run.worker.ask
    monkeypatch.setattr(run.worker, "ask", lambda *request: (ask(*request), asks.append(request)))
    panel.bridge._complain = complaints.append
    beacon = StatusPublisher(lambda: [run])
    beacon.ensure_open()
    channel = beacon._comm
    sender = Sender(panel, channel, random.Random(1))
    controls = {item: control for control in panel.controls.values() for item in control.inputs}
    counts = {True: 0, False: 0}
    caplog.set_level(logging.WARNING)
    for number in range(MESSAGES):
        sent = sender.draw()
        counts[sent.is_sane] += 1
        asked, told = len(asks), len(page.messages)
        eventually(lambda: not panel.transport.aside.is_busy)  # a rewind may still tell what is wrong
        panel.attempts.problem = ""
        control = controls.get(sent.to)
        if control is not None:
            control._problem = ""
        deliver(sent)
        reason = panel.attempts.problem or (control is not None and control._problem)
        if sent.to is channel:
            replies = [data.get("error") for to, data, _size in page.messages[told:] if to == channel.comm_id]
            reason = next((error for error in replies if error), "")
        if not sent.is_sane:
            assert reason and len(reason) < 300 and len(asks) == asked, (number, sent, reason)
        elif sent.to is not channel and not isinstance(sent.to, widgets.Button):  # these may find the run complete
            assert not reason or "does not work with" in reason, (number, sent, reason)  # not all values go together
        check(run)
        if number % 50 == 0:
            frame = panel.bridge.companion.frame
            panel.bridge._answered = frame
            panel.bridge.wake()
            eventually(lambda frame=frame: panel.bridge.companion.frame > frame)
    beacon.close()
    assert min(counts.values()) > MESSAGES / 4
    assert complaints == [] and caplog.records == []

    # The run is whole: its journal tells how its values came about, it goes on, and it can be done again.
    eventually(lambda: not panel.transport.aside.is_busy)
    run.pause()
    values = dict(initial)
    for entry in run.journal.effective():
        if entry.kind == "change":
            assert entry.old == values[entry.name]
            values[entry.name] = entry.new
    assert values == dict(run.hyperparams)
    run.rewind(min(run.step_count, 200))
    run.set(**{**initial, "recover": False})
    run.step(3)
    assert run.state.name == "PAUSED"
    again = run.replay()
    again.wait(60)
    assert all(bits(one) == bits(other) for one, other in zip(weights(run), weights(again), strict=True))


def weights(run):
    return run.model.state_dict().values()


def bits(tensor):
    return tensor.numpy().tobytes()  # equal also where it is not a number


def check(run):
    """Hold that a run's values are legal and its numbers make sense."""
    for name, value in run.hyperparams.items():
        assert run.hyperparams.check({name: value})[name] == value
    assert run.state.name in ("CREATED", "RUNNING", "PAUSED", "FINISHED", "STOPPED", "FAILED")
    assert (run.error is None) == (run.state.name != "FAILED") or run.state.name == "RUNNING"
    assert run.pending <= run.hyperparams.keys()
