"""A whole number within a range, or 0 for off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nbopt.hyperparams import Int
from nbopt.i18n import _


@dataclass(eq=False)
class IntOrOff(Int):
    """A whole number from ``low`` to ``high``, or 0 for off: what lies between and beyond has no meaning.

    Examples
    --------
    >>> IntOrOff(0, low=2, high=8, zero=True, ge=0).legal
    'a whole number from 2 to 8, or 0 for off'
    """

    def check(self, value: Any) -> int:
        """Return ``value`` as an int, if it is 0 or within the range."""
        number = super().check(value)
        if number and not self.low <= number <= self.high:
            raise self._refuse(value, self.legal)
        return number

    @property
    def legal(self) -> str:
        """The range, in words."""
        return _("a whole number from {low} to {high}, or 0 for off", low=self.low, high=self.high)
