"""The column of controls: in groups that fold, those in use first; and presets, values saved by name.

Folding and searching happen in the browser alone (companion.js): nothing is sent for them.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import ipywidgets as widgets

from nbopt.engine.run import Run
from nbopt.notebook.controls import Control
from nbopt.notebook.kit import Kit
from nbopt.notebook.route import keep_frontend_route
from nbopt.notebook.transport import SOURCE
from nbopt.record.presets import preset, presets, save_preset
from nbopt.record.store import AUTO
from nbopt.words import _

_OPEN = 4  # groups that stand open though nothing in them was given


class Column:
    """The controls of one run.

    Parameters
    ----------
    run : Run
    controls : dict of str to Control
    attempt : callable
        Does what it is given, and shows what that raises.
    kit : Kit

    Attributes
    ----------
    widget : ipywidgets.Box
    name : ipywidgets.Combobox
        The name of a preset.
    save, use : ipywidgets.Button
    """

    def __init__(
        self, run: Run, controls: Mapping[str, Control], attempt: Callable[[Callable[[], Any]], None], kit: Kit
    ) -> None:
        self._run = run
        self._kit = kit
        self._store = AUTO if run.store is None else run.store
        tip = _("A preset saved before, or a new name")
        self.name = kit.make(widgets.Combobox, css=("nbopt-preset",), placeholder=_("name"), tooltip=tip)
        keep_frontend_route(self.name)
        self.save = self._button(_("Save"), _("Keep the values of all controls under this name"))
        self.use = self._button(_("Use"), _("Set all controls to the values kept under this name"))
        self.save.on_click(lambda _button: attempt(self._save))
        self.use.on_click(lambda _button: attempt(self._use))
        with suppress(ValueError, OSError):  # told when it is used
            self._list()
        self.widget = kit.box("controls", *self._groups(controls), self._presets())

    def _groups(self, controls: Mapping[str, Control]) -> list[Any]:
        groups: dict[str, list[Control]] = {}
        for control in controls.values():
            groups.setdefault(control.spec.group, []).append(control)
        names = self._run.given.keys() - {"loss", "optimizer", "metrics"}  # always there, given or not
        given = {title for title, members in groups.items() if any(item.spec.name in names for item in members)}
        is_open = [*given, *[title for title in groups if title not in given][:_OPEN]]
        in_order = sorted(groups, key=lambda title: title not in is_open)
        rows = {title: [control.widget for control in members] for title, members in groups.items()}
        return [self._group(title, rows[title], title not in is_open) for title in in_order]

    def _presets(self) -> Any:
        row = self._kit.box("presets", self.name, self.save, self.use)
        return self._group(_("Presets"), [row], folded=not self.name.options)

    def _group(self, title: str, members: list[Any], folded: bool) -> Any:
        head = self._kit.make(widgets.HTML, f'<div class="nbopt-group-title">{html.escape(title)}</div>')
        css = ("nbopt-group", "nbopt-folded") if folded else ("nbopt-group",)
        return self._kit.make(widgets.Box, [head, *members], css=css)

    def _button(self, text: str, tooltip: str) -> Any:
        button = self._kit.make(widgets.Button, description=text, tooltip=tooltip)
        keep_frontend_route(button)
        return button

    def _list(self) -> None:
        self.name.options = sorted(presets(self._store))

    def _save(self) -> None:
        save_preset(self.name.value, self._run.hyperparams, self._store)
        self._list()

    def _use(self) -> None:
        values = preset(self.name.value, self._store)
        known = {name: value for name, value in values.items() if name in self._run.hyperparams}
        self._run.set(source=SOURCE, **known)
        if others := sorted(values.keys() - known.keys()):
            raise ValueError(_("Set, but for what this run does not have: {names}.", names=", ".join(others)))
