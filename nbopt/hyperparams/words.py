"""The words of a declaration."""

from __future__ import annotations

from nbopt.formatting import number
from nbopt.i18n import _


class Words:
    """A field of a declaration that is written as `nbopt.i18n.N_` leaves it, and read as it is translated now."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object | None, owner: type) -> str:
        text = "" if instance is None else vars(instance)[self._name]
        return _(text) if text else ""

    def __set__(self, instance: object, text: str) -> None:
        vars(instance)[self._name] = text


def in_words(low: float, high: float, zero: bool, walked: str) -> str:
    """Return a range, in words."""
    first, last = (number(end) for end in (low, high))
    text = _("0, then {first} to {last}") if zero else _("{first} to {last}")
    return text.format(first=first, last=last) + walked
