"""What is done to the members chosen: stopped, copied over another, taken out as a run."""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as widgets

from nbopt.i18n import _
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.notebook.panel.aside import Aside
from nbopt.notebook.panel.status import STATES
from nbopt.notebook.panel.verbs import SOURCE
from nbopt.notebook.population.chosen import Chosen
from nbopt.notebook.population.fan import best_of
from nbopt.run.session.steerable import Steerable


class Actions:
    """The buttons above the controls of the members chosen.

    Parameters
    ----------
    chosen : Chosen
    attempt : callable
        Does what it is given, and shows what that raises.
    wake : callable
        Tells the bridge that there is something to show.
    show : callable
        Puts the panel of a run that was taken out below this one.
    kit : WidgetFactory

    Attributes
    ----------
    widget : ipywidgets.Box
    buttons : dict of str to ipywidgets.Button
    target : ipywidgets.Text
        The member to copy over.
    """

    def __init__(
        self,
        chosen: Chosen,
        attempt: Callable[[Callable[[], Any]], None],
        wake: Callable[[], None],
        show: Callable[[Steerable], None],
        kit: WidgetFactory,
    ) -> None:
        self._chosen = chosen
        self._show = show
        self._aside = Aside(f"nbopt members of {chosen.population.name}", attempt, wake)  # a step may take long
        self._title = kit.make(widgets.HTML, css=("nbopt-chosen-title",))
        acts = {
            "go-on": (
                _("Go on as a run"),
                "external-link",
                self._go_on,
                _("Show it below as a run that continues alone"),
            ),
            "end": (_("Stop"), "stop", self._stop, _("End the chosen members; the others continue")),
            "clone": (_("Copy over"), "clone", self._clone, _("Replace another member by a copy of it")),
        }
        self.buttons = {
            name: kit.button(f"member-{name}", text, partial(self._aside.do, act), tip, icon=icon)
            for name, (text, icon, act, tip) in acts.items()
        }
        tip = _("The member to replace; if empty, the one with the worst validation loss")
        css = ("nbopt-clone-into",)
        self.target = kit.make(
            widgets.Text, description=_("member"), placeholder=_("worst"), tooltip=tip, continuous_update=False, css=css
        )
        row = kit.box("member-acts", self.buttons["go-on"], self.buttons["end"])
        self._copy = kit.box("member-acts", self.buttons["clone"], self.target)
        self.widget = kit.box("chosen", self._title, row, self._copy)

    def paint(self) -> None:
        """Bring the buttons up to date; called by the bridge alone."""
        chosen, numbers = self._chosen, self._chosen.numbers
        told = html.escape(chosen.in_words())
        note = self._note() or html.escape(
            _("Controls act on all members.") if not numbers else _("Controls act on what is chosen.")
        )
        self._title.value = f"<b>{told}</b><div>{note}</div>"
        usable = {
            "go-on": len(numbers) == 1 and chosen.lead.step_count > 0,
            "end": any(not member.state.is_ended for member in chosen.members) if numbers else False,
            "clone": len(numbers) == 1 and len(chosen.population) > 1,
        }
        for name, button in self.buttons.items():
            button.disabled = self._aside.is_busy or not usable[name]
        self.target.disabled = not usable["clone"]

    def _note(self) -> str:
        """Return how the only one chosen ended, as HTML; "" if it did not."""
        lead = self._chosen.lead
        if len(self._chosen.numbers) != 1 or not lead.state.is_ended:
            return ""
        text = f"{_(STATES[lead.state])}: {lead.end_reason}" if lead.end_reason else _(STATES[lead.state])
        return html.escape(text[:200])

    def _stop(self) -> None:
        self._chosen.population.stop(self._chosen.numbers, source=SOURCE)

    def _clone(self) -> None:
        text, population, (own,) = self.target.value.strip(), self._chosen.population, self._chosen.numbers
        if not text:
            others = [member for member in population if member.number != own]
            losses = {member.number: best_of(member) for member in others}
            into = max(losses, key=lambda number: math.inf if math.isnan(losses[number]) else losses[number])
        elif text.isdecimal() and text.isascii() and int(text) < len(population):
            into = int(text)
        else:
            raise ValueError(
                _("There is no member {name}: they are 0 to {last}.", name=text[:20], last=len(population) - 1)
            )
        population.clone(own, into=into, source=SOURCE)

    def _go_on(self) -> None:
        self._show(self._chosen.population.run(self._chosen.numbers[0]))
