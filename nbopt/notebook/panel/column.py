"""The column of controls: in groups that fold, those in use first; and presets, values saved by name.

Folding and searching happen in the browser (companion.js), which asks for the controls of a group once, when it is
first opened or something in it is found.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ipywidgets as widgets

from nbopt.i18n import _
from nbopt.notebook.frontend.subshells import keep_frontend_route
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.notebook.panel.group import Group, titled
from nbopt.notebook.panel.on_demand import Controls
from nbopt.notebook.panel.transport import SOURCE
from nbopt.run.steerable import Steerable
from nbopt.store.database import AUTO
from nbopt.store.presets import preset, presets, save_preset

_OPEN = 4  # groups that stand open though nothing in them was given


class Column:
    """The controls of one run.

    Parameters
    ----------
    run : Steerable
    controls : Controls
    attempt : callable
        Does what it is given, and shows what that raises.
    kit : Kit

    Attributes
    ----------
    widget : ipywidgets.Box
    members : dict of str to list of str
        The hyperparameters of each group, by its title.
    name : ipywidgets.Combobox
        The name of a preset.
    save, use : ipywidgets.Button
    """

    def __init__(
        self, run: Steerable, controls: Controls, attempt: Callable[[Callable[[], Any]], None], kit: WidgetFactory
    ) -> None:
        self._run = run
        self._kit = kit
        self._store = AUTO if run.store is None else run.store
        tip = _("The name of a saved preset, or a new one")
        self.name = kit.make(widgets.Combobox, css=("nbopt-preset",), placeholder=_("name"), tooltip=tip)
        keep_frontend_route(self.name)
        self.save = self._button(_("Save"), _("Save the values of all controls under this name"))
        self.use = self._button(_("Use"), _("Set all controls to the values saved under this name"))
        self.save.on_click(lambda _button: attempt(self._save))
        self.use.on_click(lambda _button: attempt(self._use))
        with suppress(ValueError, OSError):  # told when it is used
            self._list()
        self.members: dict[str, list[str]] = {}
        for hyperparam in run.hyperparams:
            self.members.setdefault(run.hyperparams.spec(hyperparam).group, []).append(hyperparam)
        self._groups = self._make_groups(controls)
        self.widget = kit.box("controls", *(group.widget for group in self._groups.values()), self._presets())

    def open(self, title: str) -> None:
        """Have the controls of a group made with the next frame."""
        self._groups[title].is_opened = True

    def paint(self) -> None:
        """Make what is missing; called by the bridge alone."""
        active = self._run.hyperparams.active
        for group in self._groups.values():
            group.fill(active)

    def _make_groups(self, controls: Controls) -> dict[str, Group]:
        named = self._run.given
        given = [title for title, names in self.members.items() if not named.isdisjoint(names)]
        is_open = [*given, *[title for title in self.members if title not in given][:_OPEN]]
        active = self._run.hyperparams.active
        in_order = sorted(self.members, key=lambda title: title not in is_open)
        return {
            title: Group(title, self.members[title], controls, active, self._kit, folded=title not in is_open)
            for title in in_order
        }

    def _presets(self) -> Any:
        row = self._kit.box("presets", self.name, self.save, self.use)
        return titled(_("Presets"), [row], not self.name.options, self._kit)

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
        values = self._run.hyperparams.rename(preset(self.name.value, self._store))
        known = {name: value for name, value in values.items() if name in self._run.hyperparams}
        self._run.set(source=SOURCE, **known)
        if others := sorted(values.keys() - known.keys()):
            raise ValueError(_("Applied, except for what this run does not have: {names}.", names=", ".join(others)))
