"""What a script's loop does and what it does not, of all that `nbopt.export.script.template` has."""

from __future__ import annotations

import ast
import math
import re
import textwrap

import torch

from nbopt.export.script.prune import prune
from nbopt.export.script.section import Section, told
from nbopt.export.script.template import EVALUATE, TRAIN
from nbopt.export.script.text import fill, lines, plain
from nbopt.export.script.unused import find_unused
from nbopt.export.source import literal
from nbopt.export.source_text import parsed, renamed
from nbopt.i18n import _
from nbopt.record.journal import ACTIONS
from nbopt.techniques.plan import Plan

_KEPT = {"optimizer", "modes"}  # which change the model


class Loop(Section):
    """The functions ``train`` and ``evaluate`` of a script; the last section, which reads what the others wrote."""

    def write(self) -> None:
        """See `Section`."""
        self._know()
        self.draft.functions += [self._evaluate(), self._train()]

    # -- what there is

    def _know(self) -> None:
        story, known = self.story, self.known
        by_steps = any(story.values_of("validate_every") + story.values_of("steps"))
        self.words.update(by_steps=by_steps, period="validation" if by_steps else "epoch")
        self.words["no_graph"] = "" if story.needs_graph else "@torch.no_grad()"
        self.words["mode_is_one"] = not story.evaluated
        own = any(type(module).train is not torch.nn.Module.train for module in story.model.modules())
        self.words["train_is_own"] = story.evaluated and own
        self.words["widens"] = known.get("cast_to", True) and not isinstance(story.loss, str)  # a loss may have 16 bits
        self._plan_end()
        adopted = story.adopted
        if known.get("scaled", True) and isinstance(adopted, torch.optim.SGD) and adopted.param_groups[0]["fused"]:
            raise ValueError(_("in float16, a script cannot hold SGD made with fused=True: make it without."))

    def _plan_end(self) -> None:
        """Say when the loop ends, and enter what is done in between."""
        story = self.story
        left, waits = story.steps is not None, story.stops_early and story.steps is None
        has_end = Plan.of({name: story.values_of(name)[-1] for name in Plan.declared()}).has_end
        if not (left or has_end or waits):
            raise ValueError(_("a script of a run without an end would not end either: give epochs or steps."))
        if left:
            self.draft.constants["STEPS_DONE"] = literal(story.steps)
        end = story.done or math.inf
        for step, new in story.schedule.items():
            names = [name for name in ACTIONS if name in new and (name != "reopen" or waits)]
            self.draft.plan({step: dict.fromkeys(names, True) if step < end else {}})
        ends_best = any(step >= end for step, new in story.schedule.items() if "restore_best" in new)
        self.words.update(waits=waits, ends_best=ends_best, comes_to_end=has_end and not left)
        self.words["steps"] = "range(STEPS_DONE)" if left else "itertools.count()"

    # -- the functions

    def _evaluate(self) -> str:
        """Return the function ``evaluate``, which is told what it reads."""
        text = self._write(EVALUATE, told="")
        there = {*self.draft.variables, *self.sources.arguments, *self.draft.techniques} - {"loss"}
        self.words["told"] = told(text, there | self.draft.arguments)
        return text.replace("(model, batches):", f"(model, batches{self.words['told']}):")

    def _train(self) -> str:
        self._take_arguments()
        text = self._write(TRAIN)
        if not self.draft.planned:
            text = prune(text, {"UPDATES": False, "changes": False})
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

    def _write(self, template: str, **others: str) -> str:
        """Return a function of a template, without what did not act and what nothing needs."""
        text = fill(template, self.words, **others)
        asked = _asked(text)
        known = {f"run.{word}": bool(self.words[word]) for of, word in asked if of == "run"}
        names = {name for of, name in asked if of == "hyper"}
        for name in (names & self.story.start.keys()) - {"lr"}:  # a rate of zero is a rate
            holds = set(map(bool, self.story.values_of(name)))
            known |= {f"hyper.{name}": all(holds)} if len(holds) == 1 else {}
        for name in set(re.findall(r'"(\w+)"', text)) - self.draft.planned:
            where = (f"'{name}' in changes", f"'{name}' in SCHEDULE.get(step + 1, {{}})", f"changes.get('{name}')")
            known |= dict.fromkeys(where, False)
        text = self._used(prune(text, self.known | known), "changes")
        return renamed(text, {f"hyper.{name}": self.draft.use(name) for _of, name in _asked(text)})

    def _used(self, text: str, *kept: str) -> str:
        """Return ``text`` without what nothing needs."""
        return prune(text, dict.fromkeys(find_unused(text, {*_KEPT, *kept, *self.draft.techniques}), False))


def _asked(text: str) -> list[tuple[str, str]]:
    """Return what Python reads of ``run`` and ``hyper``, in order."""
    read = [node for node in ast.walk(parsed(text)) if isinstance(node, ast.Attribute)]
    read.sort(key=lambda node: (node.lineno, node.col_offset))
    found = [(node.value.id, node.attr) for node in read if isinstance(node.value, ast.Name)]
    return [pair for pair in found if pair[0] in ("run", "hyper")]
