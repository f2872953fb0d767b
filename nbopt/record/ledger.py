"""The journals of a population and of its members as one: what happened, in the order in which it did."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from nbopt.objects.plain import is_count
from nbopt.record.journal import Entry, Journal

MEMBER = "member"
"""The name of a ledger's entry that stands for one of a member: ``new`` holds that, ``step`` the population's."""

CLONE = "clone"


class Ledger(Journal):
    """A journal of journals, which stores their entries before they show them.

    Its entries stand at the steps that the population had done by then, those gone back over too.

    Parameters
    ----------
    own : Journal
        The population's.
    entries : iterable of Entry, optional
        That there are already.

    Attributes
    ----------
    step : int
        How many steps the population has done.
    store : callable or None
        Stores entries before they are shown, as a journal's ``sink`` does.
    members : dict of int to Journal
        Those joined.
    """

    def __init__(self, own: Journal, entries: Iterable[Entry] | None = None) -> None:
        super().__init__(() if entries is None else entries)
        self.step = 0
        self.store: Callable[..., str | None] | None = None
        self.members: dict[int, Journal] = {}
        self._own = own
        self._held: list[Entry] | None = None
        self.join(own, None, known=entries is not None)

    def join(self, journal: Journal, member: int | None, known: bool = False) -> None:
        """Take over what a journal will have from now on and, unless that is ``known``, what it has."""
        with self.lock:
            if not known:
                self._entries += [wrap(entry, member, self.step) for entry in journal]
            if member is not None:
                self.members[member] = journal
            journal.lock = self.lock  # one for all: each waits for this
            journal.sink = lambda entry: self._take([wrap(entry, member, self.step)])

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Store all entries that are made in a ``with`` block together, or none of them."""
        with self.lock:
            if self._held is not None:
                yield
                return
            self._held = []
            try:
                yield
            finally:
                held, self._held = self._held, None
                if held:
                    self._take(held)

    def event(self, step: int, name: str, detail: Any = None, source: str = "run") -> Entry:
        """Append an event of the population."""
        return self._own.event(step, name, detail, source)

    def _take(self, entries: Sequence[Entry]) -> None:
        with self.lock:
            if self._held is not None:
                self._held += entries
                return
            warning = None if self.store is None else self.store(*entries)
            self._entries += entries
            if warning is not None:
                told = Entry(self.step, "store_failed", None, warning, "run", time.time(), "event")
                self._own.load([*self._own, told])
                self._entries.append(wrap(told, None, self.step))


def wrap(entry: Entry, member: int | None, step: int) -> Entry:
    """Return an entry as a ledger has it: the population's own, with the step it says in ``old``, or a member's."""
    if member is None:
        return entry._replace(step=step, old=entry.step)
    held = [member, entry.step, entry.name, entry.old, entry.new, entry.kind]
    return Entry(step, MEMBER, None, held, entry.source, entry.time, "event")


def unwrap(entry: Entry) -> tuple[int | None, Entry]:
    """Return whose entry it is, None for the population, and the entry as its journal has it."""
    if entry.name != MEMBER:
        return None, entry._replace(step=entry.old, old=None)
    member, step, name, old, new, kind = entry.new
    return member, Entry(step, name, old, new, entry.source, entry.time, kind)


def rename(entry: Entry, renamed: Mapping[str, str]) -> Entry:
    """Return a ledger's entry with a hyperparameter called what it is called now."""
    if entry.name == MEMBER:
        member, step, name, *rest = entry.new
        return entry._replace(new=[member, step, renamed.get(name, name), *rest])
    if isinstance(entry.new, dict):
        return entry._replace(new={renamed.get(name, name): value for name, value in entry.new.items()})
    return entry


def divide(entries: Iterable[Entry], size: int) -> tuple[list[Entry], list[list[Entry]]]:
    """Return the journals that a ledger's entries make: the population's, and those of its ``size`` members.

    Raises
    ------
    ValueError
        For what no ledger holds.
    """
    own: list[Entry] = []
    members: list[list[Entry]] = [[] for _member in range(size)]
    for number, wrapped in enumerate(entries):
        if not _is_wrapped(wrapped, size):
            raise ValueError(number)
        member, entry = unwrap(wrapped)
        (own if member is None else members[member]).append(entry)
        if member is None and entry.name == CLONE:
            if not is_clone(entry.new, size):
                raise ValueError(number)
            members[entry.new["into"]] = Journal(members[entry.new["member"]]).effective()
    return own, members


def is_clone(detail: Any, size: int) -> bool:
    """Whether this is what the journal tells of a copy of a member."""
    places = [detail.get("member"), detail.get("into")] if isinstance(detail, dict) else [None]
    return all(isinstance(place, int) and is_count(place) and place < size for place in places)


def _is_wrapped(entry: Entry, size: int) -> bool:
    if entry.name != MEMBER:
        return entry.kind == "event" and is_count(entry.old)
    held = entry.new
    if not (isinstance(held, list) and len(held) == 6):
        return False
    member, step, name, _old, new, kind = held
    known = is_count(member) and member < size and is_count(step) and isinstance(name, str)
    return known and kind in ("change", "event") and (name != "rewind" or (is_count(new) and new <= step))
