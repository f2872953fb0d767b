"""What a script's loop does and what it does not, of all that `nbopt.export.script.template` has."""

from __future__ import annotations

import ast
import math
import re

import torch

from nbopt.data.sources import StreamSource
from nbopt.export.script.data import Data
from nbopt.export.script.draws import Draws
from nbopt.export.script.loss import LossLines
from nbopt.export.script.metrics import Metrics
from nbopt.export.script.optimizer import OptimizerLines
from nbopt.export.script.prune import prune
from nbopt.export.script.section import Draft, Section, called, told
from nbopt.export.script.techniques import Techniques
from nbopt.export.script.template import EVALUATE, TRAIN
from nbopt.export.script.text import WIDTH, fill, lines
from nbopt.export.script.unused import find_unused
from nbopt.export.source import literal
from nbopt.export.source_text import renamed
from nbopt.i18n import _
from nbopt.record.journal import ACTIONS
from nbopt.techniques.hooks import HOOKS
from nbopt.techniques.plan import Plan

_KEPT = {"optimizer", "modes"}  # which change the model
_NUMBERS = ("lr", "batch_size", "balance")
_CONDITIONS = (*Plan.declared(), "weight_decay")
"""Hyperparameters in the template, beside those of techniques that have lines of their own."""


class Loop(Section):
    """The functions ``train`` and ``evaluate`` of a script.

    Parameters
    ----------
    draft : Draft
    data, loss, techniques, optimizer, metrics : sections
    draws : Draws
    """

    def __init__(
        self,
        draft: Draft,
        data: Data,
        loss: LossLines,
        techniques: Techniques,
        optimizer: OptimizerLines,
        metrics: Metrics,
        draws: Draws,
    ) -> None:
        self._data, self._loss, self._techniques = data, loss, techniques
        self._optimizer, self._metrics, self._draws = optimizer, metrics, draws
        super().__init__(draft)

    def write(self) -> None:
        """See `Section`."""
        self._know()
        self._write_steps()
        self._write_evaluation()

    # -- what there is

    def _know(self) -> None:
        story, known, techniques = self.story, self.known, self._techniques
        names = (*_CONDITIONS, *techniques.in_lines)
        numbers = [name for name in _NUMBERS if name in story.start]
        self._hyperparameters = {called(name): name for name in (*numbers, *names)}
        holding = {called(name): set(map(bool, story.values_of(name))) for name in names}
        known.update({name: all(holds) for name, holds in holding.items() if len(holds) == 1})
        known.update({f"hooks.{hook}": techniques.has(hook) for hook in HOOKS})
        if story.share is not None:
            known["val is not None"] = True
        if not self._metrics:
            known[self.words["measure_all"]] = False
        reweights = techniques.has("change_weights") or techniques.has("change_activations")
        self.words["model"] = "reweighted" if reweights else "model"
        self._by_steps = any(story.values_of("validate_every") + story.values_of("steps"))
        self.draft.tell(
            waits=self._plan_actions(),
            by_steps=self._by_steps,
            was_left=story.steps is not None,
            mode_is_one=not story.evaluated,
            draws=self._draws.training,
            evaluation_draws=self._draws.evaluating,
            inline=known.get("full") is False,
            reweights=reweights,
            uses_context=techniques.uses_context,
            widens=known.get("cast_to", True) and not isinstance(story.loss, str),  # a loss may have 16 bits
        )
        adopted = story.adopted
        if known.get("scaled", True) and isinstance(adopted, torch.optim.SGD) and adopted.param_groups[0]["fused"]:
            raise ValueError(_("in float16, a script cannot hold SGD made with fused=True: make it without."))
        if self._data.single and (techniques.has("change_inputs") or techniques.has("change_batch")):
            rule = _("in a script they need samples as (X, y), not in a single array")
            raise ValueError(_("{names}: {rule}.", names=", ".join(techniques.names), rule=rule))

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

    # -- words

    def _write_steps(self) -> None:
        story, words, optimizer = self.story, self.words, self._optimizer
        words["period"] = "validation" if self._by_steps else "epoch"
        words["rest"] = "" if story.forward is None or self._data.of_loaders else ", *batch[2:]"
        words["lose"] = "lose" if words["training"] else "compute_loss"
        words["share"] = ", share" * bool(words["weigh"])
        sized = self._data.sized and not (optimizer.whole and optimizer.only_full)
        varies, drops = sized and len(set(story.values_of("batch_size"))) > 1, sized and story.train.drop_last
        words["number"] = "number" if varies and not drops else "batch_size"
        size = "larger" if varies and drops else "batch_size"
        words["complete"] = f"batches.left({size}) < {size}" if drops else "not batches.left()"
        words["usual"] = "batch_size"
        if optimizer.whole:
            words["usual"] = "batches.size if full else batch_size"
            words["number"] = f"batches.size - batches.position if full else {words['number']}"
        if isinstance(story.train, StreamSource):
            words["number"], words["usual"] = "", literal(getattr(story.train.loader, "batch_size", None) or 1)
        words["no_loss"] = "val_loss = None" if words["after_epoch"] and story.share is None else ""
        words["results"] = ", results" * bool(self._metrics)
        passing = [edit.step for edit in story.edits if edit.written.passes]
        if story.steps in passing and self._draws.training:  # what they draw is the next step's
            words["edit_end"] = f"step = STEPS_DONE\n{words['edit_end']}"

    def _write_evaluation(self) -> None:
        """Write the function ``evaluate``, which is told what it reads."""
        words = self.words
        words["as_batch"] = self._loss.as_batch(words["usual"])
        words["no_graph"] = "" if self.story.needs_graph else "@torch.no_grad()"
        words["outcome"] = ", and each (output, target)" * bool(self._metrics)
        text = self._named(self._used(prune(fill(EVALUATE, words, told=""), self.known)))
        there = {*self.draft.variables, *self.sources.arguments, *self._techniques.names} - {"loss"}
        words["told"] = told(text, there | {*self._loss.functions})
        self.evaluate = text.replace("(model, batches):", f"(model, batches{words['told']}):")

    # -- the functions

    def train(self, arguments: str, told_arguments: str, taken: str) -> str:
        """Return the function ``train``; to be asked for when all sections are written."""
        text = fill(TRAIN, self.words, arguments=arguments, told_arguments=told_arguments, take_arguments=taken)
        text = self._named(prune(text, self.known))
        planned = {name for changes in self.draft.schedule.values() for name in changes}
        known = {"UPDATES": False, "changes": False} if not planned else {}
        for name in set(re.findall(r'"(\w+)"', text)) - planned:
            where = (f"'{name}' in changes", f"'{name}' in SCHEDULE.get(step + 1, {{}})", f"changes.get('{name}')")
            known.update(dict.fromkeys(where, False))
        text = prune(text, known)
        text = text.replace("(loss).backward", "loss.backward").replace("(scaler.scale(loss)).", "scaler.scale(loss).")
        text = text.replace("$", "$$").replace("STARTING_VALUES", "$starting").replace("UPDATES", "$updates")
        variables = self.draft.variables.items()
        starting = lines(*(f"{name} = {own.upper()}" for name, own in variables))
        updates = lines(*(_update(name, own) for name, own in variables))
        return self._used(fill(text, starting=starting, updates=updates))

    def _used(self, text: str) -> str:
        """Return ``text`` without what nothing needs."""
        return prune(text, dict.fromkeys(find_unused(text, {*_KEPT, *self._techniques.names}), False))

    def _named(self, text: str) -> str:
        """Return ``text`` with hyperparameters as the script calls them."""
        read = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)]
        read.sort(key=lambda node: (node.lineno, node.col_offset), reverse=True)
        names = dict.fromkeys(node.id for node in read if node.id in self._hyperparameters)
        return renamed(text, {name: self.draft.use(self._hyperparameters[name]) for name in names})


def _update(variable: str, name: str) -> str:
    """Return the line that gives a variable the new value of its hyperparameter, if it has one."""
    line = f'{variable} = changes.get("{name}", {variable})'
    return line if len(line) <= WIDTH - 8 else f'{variable} = changes.get(\n    "{name}",\n    {variable},\n)'
