"""The column of controls: the few that matter most, then groups that fold, those in use first; and presets.

Folding and searching happen in the browser (column.js), which asks for the controls of a group once, when it is first
opened, and for those that a search finds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from nbopt.hyperparams import Choice, Strategy
from nbopt.i18n import _
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.notebook.panel.by_hand import ByHand
from nbopt.notebook.panel.group import Group, titled
from nbopt.notebook.panel.on_demand import Controls
from nbopt.notebook.panel.presets import Presets, has_presets
from nbopt.run.session.operable import Adjustable

_OPEN = 2  # groups that stand open though nothing in them was given


class Column:
    """The controls of one run.

    Parameters
    ----------
    run : Adjustable
    controls : Controls
    by_hand : ByHand
    attempt : callable
        Does what it is given, and shows what that raises.
    wake : callable
        Tells the bridge that there is something to show.
    kit : WidgetFactory

    Attributes
    ----------
    widget : ipywidgets.Box
    members : dict of str to list of str
        The hyperparameters of each group, by its title.
    groups : dict of str to Group
        What stands in the column, by title: "" for the few that stand first. One may stand in another.
    """

    def __init__(
        self,
        run: Adjustable,
        controls: Controls,
        by_hand: ByHand,
        attempt: Callable[[Callable[[], Any]], None],
        wake: Callable[[], None],
        kit: WidgetFactory,
    ) -> None:
        self._run = run
        self._controls = controls
        self._by_hand = by_hand
        self._attempt = attempt
        self._wake = wake
        self._kit = kit
        self._first = sorted(filter(self._rank, run.hyperparams), key=self._rank)
        self._folded = {name: title for spec in run.hyperparams.specs for name, title in self._settings(spec)}
        self.members: dict[str, list[str]] = {}
        for name in run.hyperparams:
            title = self._folded.get(name, run.hyperparams.spec(name).group)
            self.members.setdefault(title, []).append(name)
        self._presets: Presets | None = None
        self._lock = threading.Lock()  # a cell may ask for the presets while the bridge opens them
        self._wants_presets = has_presets(run)
        self._shelf = titled(_("Presets"), [], not self._wants_presets, kit)
        self.groups = self._make_groups()
        within = set(self._folded.values())
        shown = [group.widget for title, group in self.groups.items() if title not in within]
        self.widget = kit.box("controls", *shown, self._shelf)

    @property
    def presets(self) -> Presets:
        """The presets, made when somebody first unfolds or asks for them."""
        return self._make_presets()

    def _make_presets(self) -> Presets:
        with self._lock:
            if self._presets is None:
                self._presets = Presets(self._run, self._by_hand, self._attempt, self._kit)
                self._shelf.children = [*self._shelf.children, *self._presets.rows]
            return self._presets

    def page(self) -> dict[str, Any]:
        """Return what the page has to know of the controls to name and find them (column.js)."""
        values = self._run.hyperparams
        return {
            "labels": {name: values.label(name) for name in values},
            "groups": self.members,
            "words": {spec.name: " ".join([spec.synonyms, *_options(spec)]) for spec in values.specs},
            "search": _("Find a control"),
            "says": {
                "help": _("Help: {name}"),
                "nothing": _("No control is called “{text}”."),
                "what_if": _("What if?"),
                "strips": _("What if: {name}"),
                "tip": _("Show below controls what each value would do to the validation loss in the next steps"),
                "hint": _("what each value would do"),
                "sight": _("All in sight"),
                "none": _("None"),
                "ahead": _("Steps ahead"),
                "auto": _("auto"),
                "share": _("Share of the time, %"),
                "map": _("Map of two"),
                "undo": _("Undo the last change by hand (Ctrl-Z)"),
            },
        }

    def hear(self, content: Any) -> bool:
        """Take what the page says of the controls; return whether it is that."""
        match content:
            case {"open": str(title)} if title in self.members:
                self.groups[title].is_opened = True
            case {"open": str(title)} if title == _("Presets"):
                self._wants_presets = True
            case {"find": [*names]} if all(isinstance(name, str) and name in self._controls for name in names):
                for name in names:
                    self._controls[name]
            case {"reset": str(name)} if name in self._controls:
                self._controls[name].ask(self._run.hyperparams.default(name))
            case {"restore": str(name)} if name in self._controls:
                self._controls[name].restore()
            case {"undo": True}:
                self._attempt(self._by_hand.undo)
            case _:
                return False
        self._wake()
        return True

    def paint(self) -> None:
        """Make what is missing; called by the bridge alone."""
        active = self._run.hyperparams.active
        for group in self.groups.values():
            group.fill(active)
        if self._wants_presets:
            self._make_presets()

    def _rank(self, name: str) -> int:
        return self._run.hyperparams.spec(name).rank

    def _settings(self, spec: Any) -> list[tuple[str, str]]:
        """Return what is folded below a choice, each with the title that it is folded under."""
        if not (isinstance(spec, Strategy) and spec.folded):
            return []
        title = _("{choice} settings", choice=spec.title)
        declared = (name for option in spec.options for name in spec.classes[option].declared())
        return [(name, title) for name in dict.fromkeys(declared) if not self._rank(name)]

    def _make_groups(self) -> dict[str, Group]:
        named, active = self._run.given, self._run.hyperparams.active
        rows = {title: [name for name in names if name not in self._first] for title, names in self.members.items()}
        within = dict.fromkeys(self._folded.values())
        titles = [title for title in rows if title not in within and rows[title]]
        given = [title for title in titles if not named.isdisjoint(rows[title])]
        is_open = [*given, *[title for title in titles if title not in given][:_OPEN]]
        groups = {"": Group("", self._first, self._controls, active, self._kit, folded=False)}
        for title in within:
            folded = named.isdisjoint(rows[title])
            groups[title] = Group(title, rows[title], self._controls, active, self._kit, folded)
        for title in sorted(titles, key=lambda title: title not in is_open):
            below = [groups[own] for own in within if self._is_in(own, title)]
            folded = title not in is_open
            groups[title] = Group(title, rows[title], self._controls, active, self._kit, folded, below)
        return groups

    def _is_in(self, own: str, title: str) -> bool:
        """Return whether the choice whose settings are titled ``own`` stands in the group ``title``."""
        specs = self._run.hyperparams.specs
        return any(spec.group == title and own in dict(self._settings(spec)).values() for spec in specs)


def _options(spec: Any) -> tuple[str, ...]:
    return spec.options if isinstance(spec, Choice) else ()
