"""The members that a control acts on: those chosen, or all."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nbopt.formatting import number
from nbopt.hyperparams import Hyperparams
from nbopt.i18n import _
from nbopt.notebook.panel.by_hand import UNDO, ByHand
from nbopt.notebook.panel.verbs import SOURCE
from nbopt.record.journal import Journal
from nbopt.run.session.crowd import Crowd, Individual
from nbopt.viz.marks import Marks

_MOST = 100  # changes that can be undone


class Chosen:
    """Members as something whose hyperparameters are shown and set: see `nbopt.run.session.operable.Adjustable`.

    What is shown is the first of them; where they differ, `varies` says so.

    Parameters
    ----------
    population : Crowd

    Attributes
    ----------
    numbers : tuple of int
        Those chosen; empty for all.
    store : None
        Presets are those of the store that everybody has.
    """

    store: Path | None = None

    def __init__(self, population: Crowd) -> None:
        self.population = population
        self.numbers: tuple[int, ...] = ()
        self._lead: Individual | None = None
        self._marks: Marks | None = None
        self._pending: frozenset[str] = frozenset()
        self._varies: dict[str, str] = {}

    def refresh(self) -> None:
        """Look anew at what changes are under way and where members differ; with thousands, that takes long."""
        self._pending = frozenset().union(*(member.pending for member in self.members))
        self._varies.clear()

    @property
    def members(self) -> list[Individual]:
        """The members themselves."""
        return [self.population[k] for k in self.numbers] if self.numbers else [*self.population]

    @property
    def lead(self) -> Individual:
        """The first of them."""
        return self.population[self.numbers[0]] if self.numbers else self.population[0]

    @property
    def is_part(self) -> bool:
        """Whether there are others."""
        return 0 < len(self.numbers) < len(self.population)

    @property
    def hyperparams(self) -> Hyperparams:
        """The values of the first."""
        return self.lead.hyperparams

    @property
    def given(self) -> frozenset[str]:
        """The hyperparameters that were given by name."""
        return self.lead.given

    @property
    def pending(self) -> frozenset[str]:
        """The hyperparameters asked for whose new values do not act yet, in any of them."""
        return self._pending

    @property
    def inert(self) -> Mapping[str, str]:
        """The hyperparameters that cannot act on them, each with the reason."""
        if not self.is_part:
            return self.population.inert
        reason = _("one for all members: choose all of them to change it")
        return {**dict.fromkeys(self.population.shared, reason), **self.population.inert}

    @property
    def journal(self) -> Journal:
        """That of the population."""
        return self.population.journal

    @property
    def applied(self) -> Mapping[str, int]:
        """The step of each hyperparameter's newest change, of the first of them."""
        lead = self.lead
        if lead is not self._lead or self._marks is None:
            self._lead, self._marks = lead, Marks(lead.journal, lead.hyperparams.label)
        self._marks.refresh()
        return self._marks.applied

    def varies(self, name: str) -> str:
        """Return from where to where the values of these members go; "" where they are alike."""
        if name not in self._varies:
            self._varies[name] = self._span(name)
        return self._varies[name]

    def _span(self, name: str) -> str:
        values = {member.hyperparams[name] for member in self.members}
        if len(values) < 2:
            return ""
        if all(isinstance(value, (int, float)) for value in values):
            low, high = (
                value if isinstance(value, int) else float(f"{value:.3g}") for value in (min(values), max(values))
            )
            return _("{low} to {high}", low=number(low), high=number(high))
        return _("{count} values", count=len(values))

    def set(self, *, source: str = "code", **changes: Any) -> None:
        """Ask for new values of all of them."""
        self.population.set(members=self.numbers if self.is_part else None, source=source, **changes)

    def in_words(self) -> str:
        """Return who they are."""
        if not self.numbers:
            return _("All {count} members", count=len(self.population))
        if len(self.numbers) == 1:
            return _("Member {number}", number=self.numbers[0])
        return _("{count} members", count=len(self.numbers))


class _Change(NamedTuple):
    before: Mapping[int, Mapping[str, Any]]  # by member
    after: Mapping[str, Any]


class ByHandOfMany(ByHand):
    """Asks members for what a person wants, and each for what it had before.

    Parameters
    ----------
    chosen : Chosen
    """

    def __init__(self, chosen: Chosen) -> None:
        self._chosen = chosen
        self._changes: deque[_Change] = deque(maxlen=_MOST)
        self._lock = threading.RLock()

    def set(self, **changes: Any) -> dict[str, tuple[Any, Any]]:
        """Ask for new values; return what they change, as old and new value of the first member by name."""
        with self._lock:
            chosen = self._chosen
            before = {one.number: {name: one.hyperparams[name] for name in changes} for one in chosen.members}
            first = before[chosen.lead.number]
            after = chosen.hyperparams.check(changes)
            chosen.set(source=SOURCE, **changes)
            self._changes.append(_Change(before, after))
            return {name: (first[name], value) for name, value in after.items() if first[name] != value}

    def undo(self) -> None:
        """Ask each member for what it had before the last change by hand that is in force.

        Raises
        ------
        ValueError
            If there is none.
        """
        with self._lock:
            if (last := self._newest()) is None:
                raise ValueError(_("Nothing to undo: none of the changes made here by hand is in force any more."))
            alike: defaultdict[tuple[tuple[str, Any], ...], list[int]] = defaultdict(list)
            for member, values in last.items():
                alike[tuple(values.items())].append(member)
            for pairs, members in alike.items():
                whole = len(members) == len(self._chosen.population)
                self._chosen.population.set(members=None if whole else members, source=UNDO, **dict(pairs))
            self._changes.pop()

    @property
    def undoable(self) -> str:
        """What `undo` does, in words; "" where there is nothing to undo."""
        with self._lock:
            last = self._newest() or {}
        names = dict.fromkeys(name for values in last.values() for name in values)
        label = self._chosen.hyperparams.label
        return ", ".join(_("{label} of {count} members", label=label(name), count=len(last)) for name in names)

    def _newest(self) -> dict[int, dict[str, Any]] | None:
        """Return for each member the values to go back to; changes of which nothing is left are forgotten."""
        while self._changes:
            before, after = self._changes[-1]
            back = {
                number: own
                for number, values in before.items()
                if (
                    own := {
                        name: values[name] for name in after if self._is_so(number, name, after[name], values[name])
                    }
                )
            }
            if back:
                return back
            self._changes.pop()
        return None

    def _is_so(self, number: int, name: str, value: Any, before: Any) -> bool:
        member = self._chosen.population[number]
        return value != before and (name in member.pending or member.hyperparams[name] == value)


def numbers_in(content: Sequence[Any], size: int) -> tuple[int, ...] | None:
    """Return the members that a message of the page's chooses, in order; None if that is not what it is."""
    if all(type(item) is int and 0 <= item < size for item in content):
        found = tuple(sorted(set(content)))
        return () if len(found) == size else found
    return None
