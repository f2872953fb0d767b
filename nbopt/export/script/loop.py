"""What a script's loop does and what it does not, of all that `nbopt.export.script.template` has."""

from __future__ import annotations

import ast
import math
import re
import textwrap

import torch

from nbopt.export.script.prune import prune
from nbopt.export.script.section import Section, called, told
from nbopt.export.script.template import EVALUATE, TRAIN
from nbopt.export.script.text import fill, lines, plain
from nbopt.export.script.unused import find_unused
from nbopt.export.source import literal
from nbopt.export.source_text import renamed
from nbopt.i18n import _
from nbopt.record.journal import ACTIONS
from nbopt.techniques.plan import Plan

_KEPT = {"optimizer", "modes"}  # which change the model
_NUMBERS = ("lr", "batch_size", "balance")
_CONDITIONS = (*Plan.declared(), "weight_decay")
"""Hyperparameters in the template, beside those of techniques that have lines of their own."""


class Loop(Section):
    """The functions ``train`` and ``evaluate`` of a script; the last section, which reads what the others wrote."""

    def write(self) -> None:
        """See `Section`."""
        self._know()
        self.draft.functions += [self._evaluate(), self._train()]

    # -- what there is

    def _know(self) -> None:
        story, known = self.story, self.known
        names = (*_CONDITIONS, *self.draft.in_lines)
        numbers = [name for name in _NUMBERS if name in story.start]
        self._hyperparameters = {called(name): name for name in (*numbers, *names)}
        holding = {called(name): set(map(bool, story.values_of(name))) for name in names}
        known.update({name: all(holds) for name, holds in holding.items() if len(holds) == 1})
        if story.share is not None:
            known["val is not None"] = True
        by_steps = any(story.values_of("validate_every") + story.values_of("steps"))
        self.words["period"] = "validation" if by_steps else "epoch"
        self.words["no_graph"] = "" if story.needs_graph else "@torch.no_grad()"
        self.draft.tell(
            waits=self._plan_actions(),
            by_steps=by_steps,
            was_left=story.steps is not None,
            mode_is_one=not story.evaluated,
            inline=known.get("full") is False,
            widens=known.get("cast_to", True) and not isinstance(story.loss, str),  # a loss may have 16 bits
        )
        adopted = story.adopted
        if known.get("scaled", True) and isinstance(adopted, torch.optim.SGD) and adopted.param_groups[0]["fused"]:
            raise ValueError(_("in float16, a script cannot hold SGD made with fused=True: make it without."))

    def _plan_actions(self) -> bool:
        """Enter what is done at some steps; return whether the script has patience."""
        story, known = self.story, self.known
        restored = [step for step, new in story.schedule.items() if "restore_best" in new]
        end, waits = story.done or math.inf, story.stops_early and story.steps is None
        for step, new in story.schedule.items():
            names = [name for name in ACTIONS if name in new and (name != "reopen" or waits)]
            self.draft.plan({step: dict.fromkeys(names, True) if step < end else {}})
        self.draft.tell(ends_best=any(step >= end for step in restored))
        has_end = Plan.of({name: story.values_of(name)[-1] for name in Plan.declared()}).has_end
        if story.steps is None and not has_end and not waits:
            raise ValueError(_("a script of a run without an end would not end either: give epochs or steps."))
        if story.steps is not None or not has_end:
            known["step >= steps if steps else epoch >= epochs"] = False
        if story.steps is not None:
            self.draft.constants["STEPS_DONE"] = literal(story.steps)
        return waits

    # -- the functions

    def _evaluate(self) -> str:
        """Return the function ``evaluate``, which is told what it reads."""
        text = self._named(self._used(prune(fill(EVALUATE, self.words, told=""), self.known)))
        there = {*self.draft.variables, *self.sources.arguments, *self.draft.techniques} - {"loss"}
        self.words["told"] = told(text, there | self.draft.arguments)
        return text.replace("(model, batches):", f"(model, batches{self.words['told']}):")

    def _train(self) -> str:
        self._take_arguments()
        text = self._named(prune(fill(TRAIN, self.words), self.known))
        planned = {name for changes in self.draft.schedule.values() for name in changes}
        known = {"UPDATES": False, "changes": False} if not planned else {}
        for name in set(re.findall(r'"(\w+)"', text)) - planned:
            where = (f"'{name}' in changes", f"'{name}' in SCHEDULE.get(step + 1, {{}})", f"changes.get('{name}')")
            known.update(dict.fromkeys(where, False))
        text = prune(text, known)
        text = text.replace("$", "$$").replace("STARTING_VALUES", "$starting").replace("UPDATES", "$updates")
        variables = self.draft.variables.items()
        starting = lines(*(f"{name} = {own.upper()}" for name, own in variables))
        updates = lines(*(f'{name} = changes.get("{own}", {name})' for name, own in variables))
        return self._used(fill(text, starting=starting, updates=updates))

    def _take_arguments(self) -> None:
        """Write what ``train`` takes beside the data: what a script cannot hold."""
        words, arguments = self.words, self.sources.arguments
        words["arguments"] = "".join(f", {name}" for name in ("*", *arguments)) if arguments else ""
        rows = [
            _("``{name}`` is what the run was given: {reason}", name=name, reason=plain(reason))
            for name, reason in arguments.items()
        ]
        words["told_arguments"] = lines(*(row for text in rows for row in textwrap.wrap(text, 80)))
        losses = [name for name in arguments if re.fullmatch(r"loss(_\d+)?", name)]
        words["take_arguments"] = lines(*(f"{name.replace('loss', 'loss_function', 1)} = {name}" for name in losses))

    def _used(self, text: str) -> str:
        """Return ``text`` without what nothing needs."""
        return prune(text, dict.fromkeys(find_unused(text, {*_KEPT, *self.draft.techniques}), False))

    def _named(self, text: str) -> str:
        """Return ``text`` with hyperparameters as the script calls them."""
        read = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)]
        read.sort(key=lambda node: (node.lineno, node.col_offset), reverse=True)
        names = dict.fromkeys(node.id for node in read if node.id in self._hyperparameters)
        return renamed(text, {name: self.draft.use(self._hyperparameters[name]) for name in names})
