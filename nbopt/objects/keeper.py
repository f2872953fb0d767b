"""What is remembered from one look at the user's objects to the next."""

from __future__ import annotations

import secrets
import weakref
from collections.abc import Callable
from itertools import count
from typing import Any, ClassVar

from torch import Tensor

from nbopt.objects.kinds import CONTAINERS

Packed = Any
"""What `nbopt.objects.taking` writes: JSON, and the names of tensors."""


class Keeper:
    """Takes down what objects keep, and remembers it: what did not change since is not copied again.

    Attributes
    ----------
    classes : dict of str to type
        The classes seen, by name: what is put back is of one of these.
    token : str
        Names this one; `tokens` has those of all that this process made.
    last : dict of str to object
        What was taken down last, never written to.
    """

    tokens: ClassVar[set[str]] = set()

    def __init__(self, other: Keeper | None = None) -> None:
        self.classes: dict[str, type] = dict(CONTAINERS if other is None else other.classes)
        self.copies: dict[str, Tensor] = {}
        self.flat: dict[str, tuple[Any, Packed]] = {}
        self.last: dict[str, Packed] = {}
        self.token = secrets.token_hex(8)
        self.tokens.add(self.token)
        self._atoms: dict[int, tuple[int, Callable[[], Any]]] = {}
        self._by_number: dict[int, Callable[[], Any]] = {}
        self._numbers = count()

    def know(self, other: Keeper) -> None:
        """Know the classes that another one has seen."""
        self.classes.update(other.classes)

    def enter(self, atom: Any) -> int:
        """Return the number of a function or the like, by which `find` knows it."""
        known = self._atoms.get(id(atom))
        if known is not None and known[1]() is atom:
            return known[0]
        number = next(self._numbers)
        try:
            look_up: Callable[[], Any] = weakref.ref(atom)
        except TypeError:
            look_up = lambda: atom  # noqa: E731
        self._atoms[id(atom)] = number, look_up
        self._by_number[number] = look_up
        return number

    def find(self, number: int) -> Any:
        """Return what has this number, None if it is gone."""
        look_up = self._by_number.get(number)
        return None if look_up is None else look_up()
