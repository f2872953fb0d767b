"""The length of a run, its validations and its end, as source."""

from __future__ import annotations

import math
from typing import Any

from nbopt.data.sources import StreamSource
from nbopt.export.script.section import Section
from nbopt.export.source import literal
from nbopt.record.journal import ACTIONS


class LengthSource(Section):
    """What a script says of how long the run is, when it is validated, and how it ends.

    Attributes
    ----------
    changes : dict
        By step, the actions that the script repeats.
    """

    def write(self) -> None:
        """See `Section`."""
        self.changes: dict[int, dict[str, Any]] = {}
        self._write_length()
        self._write_actions()
        self._write_patience()

    def _write_length(self) -> None:
        story, flags, words = self.story, self.flags, self.words
        flags["own_end"] = story.steps is None
        if story.steps is not None:
            self.constants["STEPS_DONE"] = literal(story.steps)
        words["over"] = self._either("steps", "step >= {}", "epoch >= {}") if flags["own_end"] else ""
        flags["validates_steps"] = any(story.values_of("validate_every") + story.values_of("steps"))
        words["due"] = words["over_now"] = ""
        if flags["validates_steps"]:
            whole = "upcoming is None" if isinstance(story.train, StreamSource) else "position == 0"
            words["due"] = self._either("validate_every", "(step + 1) % {} == 0", whole)
            words["over_now"] = self._either("steps", "step + 1 >= {}", "epoch >= {}")

    def share(self, step: str = "step") -> str:
        """Return the part of the run that is done after ``step`` steps, as source."""
        count = f"({step})" if " " in step else step
        return f"min(1.0, {self._either('steps', f'{count} / {{}}', 'progress / {}')})"

    def _either(self, name: str, given: str, otherwise: str) -> str:
        """Return what holds where a hyperparameter is not 0, and what does where it is: with the epochs filled in."""
        values = self.story.values_of(name)
        parts = []
        if any(values):
            parts.append(given.format(self.use(name)))
        if not all(values):
            parts.append(otherwise.format(self.use("epochs")) if "{}" in otherwise else otherwise)
        return f" if {self.use(name)} else ".join(parts)

    def _write_actions(self) -> None:
        story, flags = self.story, self.flags
        actions = {name: [step for step, new in story.schedule.items() if name in new] for name in ACTIONS}
        flags["patience"] = story.stops_early and flags["own_end"]
        end = story.done if story.done else math.inf
        flags["restores"] = any(step < end for step in actions["restore_best"])
        flags["reopens"] = flags["patience"] and bool(actions["reopen"])
        flags["restores_end"] = flags["patience"] or any(step >= end for step in actions["restore_best"])
        flags["best"] = flags["restores"] or flags["restores_end"]
        written = {"restore_best": flags["restores"], "reopen": flags["reopens"], "leave_out": True}
        flags["leaves_out"] = bool(actions["leave_out"])
        for step, new in story.schedule.items():
            self.changes[step] = {name: True for name, is_written in written.items() if name in new and is_written}
            if step >= end:
                self.changes[step] = {}

    def _write_patience(self) -> None:
        story, flags, words = self.story, self.flags, self.words
        flags["min_delta"] = flags["patience"] and any(story.values_of("min_delta"))
        words["min_delta"] = self.use("min_delta") if flags["min_delta"] else ""
        flags["restores_if"] = False
        words["out_of_patience"] = ""
        if flags["patience"]:
            patience = self.use("patience")
            flags["restores_if"] = not all(story.values_of("early_stopping"))
            switch = self.use("early_stopping") + " and " if flags["restores_if"] else ""
            words["out_of_patience"] = f"{switch}waited >= {patience}"
