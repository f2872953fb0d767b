"""A group of controls: a title, and below it the controls from when it is first opened on."""

from __future__ import annotations

import html
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import ipywidgets as widgets

from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.notebook.panel.on_demand import Controls


class Group:
    """The controls of one group; those of a strategy's own settings come when the strategy is chosen.

    Parameters
    ----------
    title : str
        "" for those that stand first, without a title.
    names : sequence of str
        Of the hyperparameters, in order.
    controls : Controls
    active : set of str
        The hyperparameters that belong to what is chosen now.
    kit : Kit
    folded : bool
        Whether it is shown folded at first.
    below : sequence of Group
        Groups at its end, in it.

    Attributes
    ----------
    widget : ipywidgets.Box
    names : sequence of str
    is_opened : bool
        Whether the controls are wanted: set it when somebody opens the group.
    """

    def __init__(
        self,
        title: str,
        names: Sequence[str],
        controls: Controls,
        active: set[str],
        kit: WidgetFactory,
        folded: bool,
        below: Sequence[Group] = (),
    ) -> None:
        self.names = names
        self._below = below
        self._controls = controls
        self._kit = kit
        self._slots: list[tuple[Any, list[str]]] = []
        self._is_filled = self.is_opened = not folded
        rows = [*(self._rows(active) if self._is_filled else []), *(part.widget for part in below)]
        self.widget: Any = titled(title, rows, folded, kit) if title else kit.box("first", *rows)

    def fill(self, active: set[str]) -> None:
        """Make what is missing of what is wanted; called by the bridge alone."""
        if not self._is_filled:
            if not self.is_opened and not any(name in self._controls.made for name in self.names):
                return
            title, *rest = self.widget.children
            self.widget.children = [title, *self._rows(active), *rest]
            self._is_filled = True
        for slot, names in self._slots:
            wanted = [name for name in names if self._is_wanted(name, active)]
            if len(wanted) > len(slot.children):
                slot.children = [self._controls.make(name).widget for name in wanted]

    def _rows(self, active: set[str]) -> list[Any]:
        """Return a row for each control, and an empty slot for each stretch of those that nobody needs yet.

        What comes later thus has its place among the others without moving them: a page draws anew all that follows
        a new child, and what a person was typing there would be lost.
        """
        rows: list[Any] = []
        for is_wanted, stretch in groupby(self.names, lambda name: self._is_wanted(name, active)):
            if is_wanted:
                rows += [self._controls.make(name).widget for name in stretch]
            else:
                self._slots.append((self._kit.box("slot"), list(stretch)))
                rows.append(self._slots[-1][0])
        return rows

    def _is_wanted(self, name: str, active: set[str]) -> bool:
        return name in active or name in self._controls.made


def titled(title: str, rows: Sequence[Any], folded: bool, kit: WidgetFactory) -> Any:
    """Return a box with a title that folds what is below it."""
    head = kit.make(widgets.HTML, f'<div class="nbopt-group-title">{html.escape(title)}</div>')
    css = ("nbopt-group", "nbopt-folded") if folded else ("nbopt-group",)
    return kit.make(widgets.Box, [head, *rows], css=css)
