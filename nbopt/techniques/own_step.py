"""A technique's own way to do gradients and update of a step."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor


class OwnStep(Protocol):
    """What does gradients and update of a step in a way of its own.

    Attributes
    ----------
    leaves_out : bool
        Whether it does no update where gradients are no numbers.
    """

    leaves_out: bool

    def gradients(self, batch: Any, step: int, keep: bool) -> Tensor:
        """Compute the gradients of a batch's loss, and return that loss."""
        ...

    def update(self) -> None:
        """Update the weights."""
        ...
