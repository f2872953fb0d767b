"""Presets: the values of all controls kept by name, to be used again, in another run too."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import ipywidgets as widgets

from nbopt.formatting import number
from nbopt.i18n import _
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.notebook.panel.by_hand import ByHand
from nbopt.run.session.operable import Adjustable
from nbopt.store.database import AUTO
from nbopt.store.presets import delete_preset, preset, presets, save_preset

_ROWS = 4  # of the list, which scrolls


def has_presets(run: Adjustable) -> bool:
    """Return whether any are saved where the run would keep its own."""
    with suppress(ValueError, OSError):  # told when they are used
        return bool(presets(_store_of(run)))
    return False


def _store_of(run: Adjustable) -> Any:
    return AUTO if run.store is None else run.store


class Presets:
    """The presets of a run's store: a list, what may be done with the one chosen there, and a name to save under.

    Parameters
    ----------
    run : Adjustable
    by_hand : ByHand
    attempt : callable
        Does what it is given, and shows what that raises.
    kit : WidgetFactory

    Attributes
    ----------
    rows : list of ipywidgets.Widget
        What stands below the title.
    list : ipywidgets.Select
    use, delete, save : ipywidgets.Button
    name : ipywidgets.Text
    note : ipywidgets.HTML
        What the preset chosen would change, or what was done last.
    """

    def __init__(
        self, run: Adjustable, by_hand: ByHand, attempt: Callable[[Callable[[], Any]], None], kit: WidgetFactory
    ) -> None:
        self._run = run
        self._by_hand = by_hand
        self._store = _store_of(run)
        self._doomed = ""  # the preset that another click deletes
        tip = _("Presets saved before")
        self.list = kit.make(widgets.Select, rows=_ROWS, css=("nbopt-preset-list",), description=tip, tooltip=tip)
        tip = _("Name of a new preset")
        self.name = kit.make(widgets.Text, css=("nbopt-preset",), description=tip, placeholder=_("name"), tooltip=tip)
        tip = _("Set all controls to the values of the preset chosen")
        self.use = kit.button("preset-use", _("Use"), lambda: attempt(self._use), tip)
        tip = _("Delete the preset chosen")
        self.delete = kit.button("preset-delete", _("Delete"), lambda: attempt(self._delete), tip)
        tip = _("Keep the values of all controls under this name")
        self.save = kit.button("preset-save", _("Save"), lambda: attempt(self._save), tip)
        self.note = kit.make(widgets.HTML, css=("nbopt-preset-note",))
        with suppress(ValueError, OSError):  # told when it is used
            self._refresh()
        self.list.observe(lambda _change: attempt(self._preview), "index")
        chosen = kit.box("presets", self.use, self.delete)
        self.rows = [self.list, chosen, self.note, kit.box("presets", self.name, self.save)]

    def _refresh(self, chosen: str | None = None) -> None:
        self._doomed = ""
        self.delete.description = _("Delete")
        names = sorted(presets(self._store))
        if list(self.list.options) != names:
            self.list.options = names
        self.list.value = chosen if chosen in names else None
        self.use.disabled = self.delete.disabled = self.list.value is None
        if not names:
            self._say(_("No preset is saved yet."))

    def _say(self, text: str) -> None:
        self.note.value = html.escape(text)

    def _chosen(self) -> str:
        if self.list.value is None:
            raise ValueError(_("Choose a preset in the list first."))
        return str(self.list.value)

    def _values(self, name: str) -> dict[str, Any]:
        return self._run.hyperparams.rename(preset(name, self._store))

    def _news(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return those values that this run has, and that are others than its own now."""
        live = self._run.hyperparams
        return {name: value for name, value in values.items() if name in live and live[name] != value}

    def _preview(self) -> None:
        """Tell what the preset chosen would change."""
        self._doomed, self.delete.description = "", _("Delete")
        self.use.disabled = self.delete.disabled = self.list.value is None
        if self.list.value is None:
            return
        live, values = self._run.hyperparams, self._values(self._chosen())
        wanted = {name: (live[name], value) for name, value in self._news(values).items()}
        self._say(
            _("Would set {changes}.", changes=self._in_words(wanted))
            if wanted
            else _("All controls have these values already.")
        )

    def _use(self) -> None:
        name = self._chosen()
        values = self._values(name)
        done = self._by_hand.set(**self._news(values))
        told = _("“{name}” set {changes}. Ctrl-Z takes it back.", name=name, changes=self._in_words(done))
        self._say(told if done else _("“{name}” changed nothing: all controls had its values already.", name=name))
        if others := sorted(values.keys() - self._run.hyperparams.keys()):
            raise ValueError(_("Set, except for what this run does not have: {names}.", names=", ".join(others)))

    def _delete(self) -> None:
        name = self._chosen()
        if self._doomed != name:
            self._doomed, self.delete.description = name, _("Really delete?")
            return
        delete_preset(name, self._store)
        self._refresh()
        self._say(_("“{name}” is deleted.", name=name))

    def _save(self) -> None:
        name = self.name.value.strip()
        is_new = name not in presets(self._store)
        save_preset(name, self._run.hyperparams, self._store)
        self._refresh(name)
        self._say(
            _("“{name}” is saved.", name=name) if is_new else _("“{name}” holds the present values now.", name=name)
        )

    def _in_words(self, changes: Mapping[str, tuple[Any, Any]]) -> str:
        label = self._run.hyperparams.label
        return ", ".join(f"{label(name)} {number(old)} → {number(new)}" for name, (old, new) in changes.items())
