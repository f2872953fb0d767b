"""A page that shows a panel, as the kernel sees it: it keeps what it is sent, and sends what a person does."""

from __future__ import annotations

import copy
import json
import threading

from comm.base_comm import BaseComm

from tests.waiting import eventually as eventually


class Page:
    """What all widgets of one page were told, by comm id.

    As in a browser, a state is what came last, be it from the kernel or from the person at the page.
    """

    def __init__(self):
        self.states = {}
        self.messages = []  # (comm id, data, bytes)
        self.lock = threading.Lock()

    def create_comm(self, **keys):
        return PageComm(self, **keys)

    def receive(self, comm_id, data, buffers):
        size = len(json.dumps(data)) + sum(memoryview(buffer).nbytes for buffer in buffers or [])
        with self.lock:
            self.messages.append((comm_id, data, size))
            if "state" in data:
                self.states.setdefault(comm_id, {}).update(copy.deepcopy(data["state"]))

    def state(self, widget):
        return self.states[widget.model_id]

    def sent(self, widget=None, since=0):
        """The messages since number `since`, of one widget or of all, without the echoes of what a person did."""
        return [
            data
            for comm_id, data, _size in self.messages[since:]
            if (widget is None or comm_id == widget.model_id) and data.get("method") != "echo_update"
        ]

    def do(self, widget, **state):
        """Move an input."""
        with self.lock:
            self.states[widget.model_id].update(state)
        _deliver(widget, {"method": "update", "state": state, "buffer_paths": []})

    def tell(self, widget, content):
        """Send a message of the companion's, or a click."""
        _deliver(widget, {"method": "custom", "content": content})

    def answer(self, panel):
        """Say that the newest frame was drawn."""
        companion = panel.bridge.companion
        self.tell(companion, {"frame": companion.frame})
        return True

    def click(self, button):
        self.tell(button, {"event": "click"})


class PageComm(BaseComm):
    def __init__(self, page, **keys):
        self._page = page
        super().__init__(**keys)

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        if msg_type != "comm_close":
            self._page.receive(self.comm_id, data, buffers)


def _deliver(widget, data):
    widget.comm.handle_msg({"content": {"data": data}, "buffers": []})


def every_widget(root):
    """All widgets of a tree."""
    yield root
    for child in (*getattr(root, "children", ()), *getattr(root, "marks", ()), *getattr(root, "axes", ())):
        yield from every_widget(child)
