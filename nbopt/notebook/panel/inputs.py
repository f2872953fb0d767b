"""Inputs that tell what a person did from what is written to them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
from traitlets import TraitError


class _Heard:
    """An input that says when the user moved it: by `set_state`, where a browser's messages arrive and nothing else.

    What is written to it from here never looks like a wish of the user's.
    """

    def listen(self, trait: str, lock: threading.RLock, heard: Callable[[], None]) -> None:
        """Call ``heard``, under ``lock``, whenever the browser sends ``trait``."""
        self._trait, self.lock, self._hear = trait, lock, heard

    def set_state(self, sync_data: dict[str, Any]) -> None:
        with self.lock:
            try:
                super().set_state(sync_data)  # type: ignore[misc]
            except TraitError:  # a choice that is no more, made before the browser knew
                self.send_state(list(sync_data))  # type: ignore[attr-defined]
                return
            if self._trait in sync_data:
                self._hear()


class Slider(_Heard, widgets.SelectionSlider):
    """A slider over given values."""


class Text(_Heard, widgets.Text):
    """A box to type into."""


class Menu(_Heard, widgets.Dropdown):
    """A drop-down."""


class Box(_Heard, widgets.Checkbox):
    """A check box."""
