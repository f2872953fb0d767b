"""How a script calls hyperparameters: constants at its head; where one changes, a variable and a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbopt.export.script.text import WIDTH
from nbopt.export.source import literal
from nbopt.export.summary import RunSummary, Schedule


class ScriptValues:
    """The hyperparameters that a script uses, collected as it asks for them.

    Parameters
    ----------
    story : RunSummary

    Attributes
    ----------
    constants : dict of str to str
        For the script's head, each as source.
    schedule : dict
        By step, what changes.
    """

    def __init__(self, story: RunSummary) -> None:
        self.story = story
        self.constants: dict[str, str] = {}
        self.schedule: Schedule = {step: {} for step in story.schedule}
        self._variables: list[str] = []

    def use(self, name: str) -> str:
        """Return how the script calls a hyperparameter: a constant, or a variable if it changes on the way."""
        story = self.story
        values = story.values_of(name)
        self.constants.setdefault(_constant(name), literal(values[0]))
        changes = {step: {name: new[name]} for step, new in story.schedule.items() if name in new}
        if not changes:
            return _constant(name)
        self.plan(changes)
        variable = f"{name}_name" if name in ("loss", "precision") else name  # loss is another, precision a metric
        if variable not in self._variables:
            self._variables.append(variable)
        return variable

    def plan(self, changes: Mapping[int, Mapping[str, Any]]) -> None:
        """Enter changes into the schedule."""
        for step, new in changes.items():
            self.schedule[step].update(new)

    @property
    def starting(self) -> str:
        """Lines that give each variable its first value."""
        return "".join(f"{name} = {_constant(name)}\n" for name in self._variables)

    @property
    def updates(self) -> str:
        """Lines that give each variable its new value, if it has one."""
        return "".join(map(_update, self._variables))

    @property
    def table(self) -> str:
        """The schedule as source; "" if nothing changes."""
        rows = [line for step, changes in self.schedule.items() if changes for line in _rows(step, changes)]
        return "\n".join(["SCHEDULE = {", *rows, "}"]) if rows else ""


def _constant(name: str) -> str:
    return name.removesuffix("_name").upper()


def _update(name: str) -> str:
    key = name.removesuffix("_name")
    line = f'{name} = changes.get("{key}", {name})\n'
    return line if len(line) <= WIDTH - 8 else f'{name} = changes.get(\n    "{key}",\n    {name},\n)\n'


def _rows(step: int, changes: dict[str, Any]) -> list[str]:
    line = f"    {step}: {literal(changes)},"
    if len(line) <= WIDTH:
        return [line]
    rows = [f"        {literal(name)}: {literal(value)}," for name, value in changes.items()]
    return [f"    {step}: {{", *rows, "    },"]
