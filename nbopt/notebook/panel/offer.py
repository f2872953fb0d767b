"""The offer below a choice that was made: the values that people usually begin with there, by one click."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nbopt.formatting import number
from nbopt.hyperparams import Hyperparams, Strategy
from nbopt.i18n import _
from nbopt.notebook.frontend.widgets import WidgetFactory

HIDDEN = "nbopt-hidden"


class Offer:
    """A button that sets what is usual where an option is chosen.

    Parameters
    ----------
    spec : Strategy
    take : callable
        ``take(name, value)`` requests a change.
    kit : WidgetFactory

    Attributes
    ----------
    button : ipywidgets.Button
    """

    def __init__(self, spec: Strategy, take: Callable[[str, Any], None], kit: WidgetFactory) -> None:
        self._spec = spec
        self._take = take
        self._values: dict[str, Any] = {}
        self.button = kit.button("offer", "", self._accept)
        self.button.add_class(HIDDEN)

    def _accept(self) -> None:
        for name, value in self._values.items():
            self._take(name, value)

    def show(self, live: Hyperparams, applied: Mapping[str, int]) -> None:
        """Bring it up to date: it stands from when an option was chosen until those values are changed.

        Parameters
        ----------
        live : Hyperparams
        applied : mapping of str to int
            What was changed, in the order of the newest changes.
        """
        self._values = self._find(live, list(applied))
        if not self._values:
            self.button.add_class(HIDDEN)
            return
        values = ", ".join(f"{live.label(name)} {number(value)}" for name, value in self._values.items())
        text = _("Set {values}, usual with {option}", values=values, option=live[self._spec.name])
        if self.button.description != text:
            self.button.description = text
        self.button.remove_class(HIDDEN)

    def _find(self, live: Hyperparams, order: list[str]) -> dict[str, Any]:
        if self._spec.name not in order:
            return {}
        since = order[order.index(self._spec.name) :]
        usual = self._spec.classes[live[self._spec.name]].usual
        return {
            name: value
            for name, value in usual.items()
            if name in live.active and name not in since and live[name] != value
        }
