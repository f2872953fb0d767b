"""The strips below controls: what each value would do before the hand moves there; and a map of two hyperparameters.

A strip is no widget: what it shows is sent with the panel's frame, and drawn by the page (strips.js). Nothing is found
out before somebody asks: the model that is trained for an answer is the user's own, and may do more than compute.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from typing import Any

from nbopt.i18n import _
from nbopt.notebook.panel.by_hand import ByHand
from nbopt.notebook.panel.controls import NumberControl
from nbopt.notebook.panel.on_demand import Controls
from nbopt.run.beside import find_what_ifs
from nbopt.run.population.what_ifs import Found, Key, WhatIfs
from nbopt.run.session.steerable import Steerable
from nbopt.viz.strips import Cell, cells, label_of, rows_and_columns

_VALUES, _FEW = 10, 5  # that are tried, the present one beside them; of what is tried one after the other, and of two
_LARGEST_SHARE = 0.5
_FAR = 20  # times as many steps as were looked ahead
_MOST_STEPS = 10_000


class Strips:
    """What the strips of a panel show, and what a person asks of them.

    Parameters
    ----------
    run : Steerable
        Shows none where ``what_if`` is not among its abilities.
    controls : Controls
    by_hand : ByHand
    attempt : callable
        Does what it is given, and shows what that raises.
    wake : callable
        Tells the bridge that there is something to show.
    is_seen : callable
        Whether anybody looks.

    Attributes
    ----------
    asked : list of str
        The hyperparameters whose strips are kept up to date.
    pair : tuple of str
        The two of the map; empty where there is none.
    """

    def __init__(
        self,
        run: Steerable,
        controls: Controls,
        by_hand: ByHand,
        attempt: Callable[[Callable[[], Any]], None],
        wake: Callable[[], None],
        is_seen: Callable[[], bool],
    ) -> None:
        self.asked: list[str] = []
        self.pair: Key = ()
        self._run, self._controls, self._by_hand, self._attempt = run, controls, by_hand, attempt
        self._is_able = "what_if" in run.abilities
        self._what_ifs: WhatIfs | None = None
        self._wake, self._is_seen = wake, is_seen
        self._values: dict[Key, dict[str, Any]] = {}
        self._drawn: dict[Key, tuple[Any, Any]] = {}
        ranked = sorted((spec.rank, spec.name) for spec in run.hyperparams.specs if spec.rank)
        self._first = ranked[0][1] if ranked else ""

    def close(self) -> None:
        """Find out nothing any more."""
        if self._what_ifs is not None:
            self._what_ifs.close()

    # -- what a person does

    def hear(self, content: Any) -> bool:
        """Take what the page says of strips; return whether it is that."""
        if not self._is_able:
            return False
        match content:
            case {"ask": [*names]} if self._are_known(names):
                self.asked = [*dict.fromkeys([*self.asked, *names])]
            case {"leave": [*names]} if self._are_known(names):
                self.asked = [name for name in self.asked if name not in names]
            case {"map": [str(one), str(other)]} if self._are_known([one, other]) and one != other:
                self.pair = one, other
            case {"map": None}:
                self.pair = ()
            case {"ahead": int(steps)} if type(steps) is int and 0 <= steps <= _MOST_STEPS:
                self._known.look_ahead(steps)
            case {"share": int(percent) | float(percent)} if (
                type(percent) is not bool and 0 < percent <= 100 * _LARGEST_SHARE
            ):
                self._known.share = percent / 100
            case {"take": [*names], "label": str(label)} if label in self._values.get(_key(names), {}):
                self._take(_key(names), self._values[_key(names)][label])
            case _:
                return False
        return True

    def _are_known(self, names: Sequence[Any]) -> bool:
        return all(isinstance(name, str) and name in self._controls for name in names)

    def _take(self, key: Key, value: Any) -> None:
        if len(key) == 1:
            self._controls[key[0]].ask(value)
        else:
            self._attempt(lambda: self._by_hand.set(**dict(zip(key, value, strict=True))))

    @property
    def _known(self) -> WhatIfs:
        if self._what_ifs is None:
            self._what_ifs = find_what_ifs(self._run, self._wake, self._is_seen, self._ranges)
        return self._what_ifs

    # -- what the page is sent, on the bridge's thread

    def paint(self) -> dict[str, Any]:
        """Have found out what is asked for and can act; return what the page draws."""
        if not self._is_able:
            return {}
        for name in self.asked:
            self._controls[name]
        keys: list[Key] = [(name,) for name in self.asked if self._acts(name)]
        if self.pair and all(map(self._acts, self.pair)):
            keys.append(self.pair)
        known = self._known if keys else self._what_ifs
        if known is not None and known.keys != keys:
            known.ask(keys)
        bars: dict[str, Any] = {} if self._first in self.asked else {self._first: None}
        bars |= {name: self._bar(name) for name in self.asked}
        return {
            "bars": bars,
            "map": self._map() if self.pair else None,
            "pair": [*self.pair],
            "ahead": 0 if known is None else known.steps,
            "share": 10 if known is None else round(100 * known.share, 1),
            "numbers": [name for name, control in self._controls.made.items() if isinstance(control, NumberControl)],
        }

    def _acts(self, name: str) -> bool:
        return name in self._run.hyperparams.active and name not in self._run.inert

    def _bar(self, name: str) -> dict[str, Any]:
        found, says, busy = self._find((name,))
        places = [0.0] * len(found)
        control, values = self._controls.made.get(name), self._values.get((name,), {})
        if isinstance(control, NumberControl):
            places = [_place(control.offered, values[cell.label]) for cell in found]
        elif len(found) > 1:
            places = [(2 * number + 1) / (2 * len(found)) for number in range(len(found))]
        return {"cells": [[*cell, round(at, 4)] for cell, at in zip(found, places, strict=True)], "says": says} | busy

    def _map(self) -> dict[str, Any]:
        found, says, busy = self._find(self.pair)
        values = self._values.get(self.pair, {})
        rows, columns = rows_and_columns([values[cell.label] for cell in found])
        placed = [[*cell, rows.index(values[cell.label][0]), columns.index(values[cell.label][1])] for cell in found]
        sides = {"rows": [*map(label_of, rows)], "columns": [*map(label_of, columns)]}
        return {"cells": placed, "says": says} | busy | sides

    def _find(self, key: Key) -> tuple[list[Cell], str, dict[str, Any]]:
        """Return what is known, what is said where no cell is pointed at, and whether more is being found out."""
        known = self._what_ifs
        found: Found | None = None if known is None else known.found.get(key)
        busy = {"busy": known is not None and known.at_work == key, "stale": self._is_stale(found)}
        if found is None:
            return [], _("finding out …") if all(map(self._acts, key)) else _("It has no effect now."), busy
        if found.what_if is None:
            return [], found.problem, busy
        values = found.what_if.values
        if self._drawn.get(key, (None,))[0] is not found:
            made = cells(found.what_if)
            self._drawn[key] = found, made
            # A click may come by that was meant for what was drawn before.
            now = {cell.label: value for cell, value in zip(made, values, strict=True)}
            self._values[key] = {**(self._values.get(key, {}) if len(self._values.get(key, {})) < 100 else {}), **now}
        live = tuple(map(self._run.hyperparams.__getitem__, key))
        at = [value == (live if len(key) > 1 else live[0]) for value in values]
        made = self._drawn[key][1]
        if any(at):  # the mark goes along with a click, before its new surroundings are known
            made = [cell._replace(is_present=is_now) for cell, is_now in zip(made, at, strict=True)]
        return made, next((cell.text for cell in made if cell.is_best), ""), busy

    def _is_stale(self, found: Found | None) -> bool:
        """Whether the run has gone on far since."""
        if found is None or found.what_if is None:
            return False
        return abs(self._run.step_count - found.step) > _FAR * found.what_if.steps

    def _ranges(self, key: Key) -> list[list[Any]] | None:
        """Return what is to be tried: of numbers, stops of the slider, so that each is one that can be said."""
        found = []
        for name in key:
            control = self._controls.made.get(name)
            if not isinstance(control, NumberControl):
                return None
            present = self._run.hyperparams[name]
            count = _FEW if len(key) > 1 or self._known.are_apart(name) else _VALUES
            found.append(_choose(control.offered, present, count))
        return found


def _key(names: Sequence[Any]) -> Key:
    return tuple(name for name in names if isinstance(name, str))


def _choose(offered: Sequence[Any], present: Any, count: int) -> list[Any]:
    """Return ``present`` and about ``count`` of what is offered, evenly spread, none of them too near to it."""
    last, at = len(offered) - 1, bisect.bisect_left(offered, present)
    wanted = dict.fromkeys(round(k * last / (count - 1)) for k in range(count)) if last >= count else range(last + 1)
    near = 0.5 * last / (count - 1) if last >= count else 0.5
    return sorted({present, *(offered[k] for k in wanted if abs(k - at) >= near)})


def _place(offered: Sequence[Any], value: Any) -> float:
    """Return where on the slider a value lies, from 0 to 1."""
    return min(1.0, bisect.bisect_left(offered, value) / max(1, len(offered) - 1))
