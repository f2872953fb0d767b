"""Data sets that count for themselves: trials share them, and each goes on from where the last one left them."""

from __future__ import annotations

from typing import Any

from nbopt.i18n import _
from nbopt.training.compile.values import is_users


class Counting:
    """Looks at the numbers that the user's data sets hold, and tells once of one that trials changed.

    Parameters
    ----------
    *given : object
        Data sets, or loaders of them.
    """

    def __init__(self, *given: Any) -> None:
        self._given = given
        self._begun: dict[str, float] | None = self._numbers()

    def tell(self) -> str:
        """Return in words what was changed since the beginning; "" for nothing, or if it was told."""
        if self._begun is None:
            return ""
        now = self._numbers()
        changed = [name for name, number in self._begun.items() if name in now and now[name] != number]
        if not changed:
            return ""
        self._begun = None
        rule = _("a trial may see other samples than another one with the same values")
        return _("{names}: trials share it, and it changes as samples are read: {rule}", names=changed[0], rule=rule)

    def _numbers(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for value in self._given:
            while value is not None:
                own = vars(value) if is_users(type(value)) and hasattr(value, "__dict__") else {}
                kind = type(value).__name__
                found |= {f"{kind}.{name}": number for name, number in own.items() if type(number) in (int, float)}
                value = getattr(value, "dataset", None)
        return found
