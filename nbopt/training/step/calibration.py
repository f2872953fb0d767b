"""Looks at the next training batch, for techniques that have to know it before passes at rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from torch import nn

from nbopt.errors import tell_error
from nbopt.i18n import _


class Calibration:
    """Has techniques look, one look at a time: what they look by is a pass too.

    Attributes
    ----------
    peek : callable
        Returns the next training batch.
    done : object
        For which hooks, made anew by each change, and where they looked last; None has them look again.
    """

    def __init__(self) -> None:
        self.peek: Callable[[], Any] = lambda: None
        self._looking = False
        self.done: tuple[Any, Any] | None = None

    def do(
        self,
        hooks: Sequence[Callable[[Callable[[], Any]], None]],
        look: Callable[[], Any],
        model: nn.Module,
    ) -> None:
        """Call ``hooks`` with ``look``, unless it is they who look, or they did so since anything changed."""
        stamp = sum(tensor._version for tensor in chain(model.parameters(), model.buffers()))
        if self._looking or (self.done is not None and self.done[0] is hooks and self.done[1] == stamp):
            return
        self._looking = True
        try:
            for calibrate in hooks:
                calibrate(look)
            self.done = hooks, stamp
        finally:
            self._looking = False

    def next_batch(self) -> Any:
        """Return the next training batch, or say in words why there is none."""
        try:
            return self.peek()
        except Exception as error:  # a loader of the user's may raise anything
            way = _("give train as data that can be read again")
            told = tell_error(error).rstrip(".")
            text = _("this needs the next training batch, and there is none ({told}): {way}.", told=told, way=way)
            raise ValueError(text) from error
