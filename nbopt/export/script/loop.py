"""What a script's loop does and what it does not, of all that `nbopt.export.script.template` has."""

from __future__ import annotations

import ast
import math
import re

import torch

from nbopt.data.sources import StreamSource
from nbopt.data.tensor_source import TensorSource
from nbopt.export.script.data import Data
from nbopt.export.script.draws import Draws
from nbopt.export.script.edits import Edits
from nbopt.export.script.loss import LossLines
from nbopt.export.script.metrics import Metrics
from nbopt.export.script.optimizer import OptimizerLines
from nbopt.export.script.prune import prune
from nbopt.export.script.section import Section, called
from nbopt.export.script.techniques import Techniques
from nbopt.export.script.template import (
    EVALUATE,
    GRADIENTS,
    INPUTS,
    PASS,
    PASSES,
    RATE,
    RUN_PASSES,
    SAMPLES,
    TELL,
    TRAIN,
    VALIDATE,
)
from nbopt.export.script.text import WIDTH, fill, lines
from nbopt.export.script.unused import find_unused
from nbopt.export.source import literal
from nbopt.i18n import _
from nbopt.record.journal import ACTIONS
from nbopt.techniques.plan import Plan

_KEPT = {"optimizer", "modes"}  # which change the model
_NUMBERS = ("lr", "batch_size")
_CONDITIONS = (*Plan.declared(), "weight_decay")
"""Hyperparameters in the template, beside those of techniques that have lines of their own."""
_FORGET = """\
output = None  # the graph of the last step knows the weights as they were
loss = None
"""


class Loop(Section):
    """The functions ``train`` and ``evaluate`` of a script.

    Parameters
    ----------
    sections : tuple of sections
    draws : Draws
    edits : Edits
    """

    def __init__(
        self, sections: tuple[Data, LossLines, Techniques, OptimizerLines, Metrics], draws: Draws, edits: Edits
    ) -> None:
        self._data, self._loss, self._techniques, self._optimizer, self._metrics = sections
        self._sections: tuple[Section, ...] = (*sections, edits)
        self._draws = draws
        super().__init__(self._data.story, self._data.sources, self._data.values)

    def write(self) -> None:
        """See `Section`."""
        for section in self._sections:
            self.words.update(section.words)
            self.known.update(section.known)
        self._know()
        self._write_passes()
        self._write_steps()

    # -- what there is

    def _know(self) -> None:
        story, known = self.story, self.known
        names = (*_CONDITIONS, *self._techniques.in_lines)
        self._hyperparameters = {called(name): name for name in (*_NUMBERS, *names, "balance")}
        holding = {called(name): set(map(bool, story.values_of(name))) for name in names}
        known.update({name: all(holds) for name, holds in holding.items() if len(holds) == 1})
        self._casts = known.get("cast_to", True)
        if story.share is not None:
            known["val is not None"] = True
        waits = self._plan_actions()
        self._by_steps = any(story.values_of("validate_every") + story.values_of("steps"))
        known.update({"waits": waits, "by_steps": self._by_steps, "mode_is_one": not story.evaluated})
        there = {
            self.words["measure_all"]: bool(self._metrics),
            "seed_all": self._draws.training,
        }
        known.update({name: False for name, is_there in there.items() if not is_there})
        self.words["steps"] = "itertools.count()" if story.steps is None else "range(STEPS_DONE)"
        self.words["period"] = "validation" if self._by_steps else "epoch"
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
            self.values.plan({step: dict.fromkeys(names, True) if step < end else {}})
        known["ends_best"] = any(step >= end for step in restored)
        has_end = Plan.of({name: story.values_of(name)[-1] for name in Plan.declared()}).has_end
        if story.steps is None and not has_end and not waits:
            raise ValueError(_("a script of a run without an end would not end either: give epochs or steps."))
        if story.steps is not None or not has_end:
            known["step >= steps if steps else epoch >= epochs"] = False
        if story.steps is not None:
            self.values.constants["STEPS_DONE"] = literal(story.steps)
        return waits

    # -- words

    def _write_passes(self) -> None:
        story, words, techniques = self.story, self.words, self._techniques
        samples = techniques.having("change_inputs") + techniques.having("change_batch")
        if samples and self._data.single:
            names = ", ".join(techniques.names)
            raise ValueError(_("{names}: in a script they need samples as (X, y), not in a single array.", names=names))
        rewired, of_columns = techniques.has("change_activations"), isinstance(story.train, TensorSource)
        reweights = techniques.has("change_weights") or rewired
        words["computes"] = "calls" if rewired else words["call"]
        of_columns = of_columns and self._data.structure is None
        words["rest"] = "" if story.forward is None or self._data.of_loaders else ", *batch[2:]"
        laid = f"{'tuple(map(' if of_columns else 'tree_map('}lay_channels_last, batch{')' * of_columns})"
        words["shape_batch"] = fill(words["shape_batch"], laid=laid)
        words["widen"] = "loss = loss.float()" * (self._casts and not isinstance(story.loss, str))  # may have 16 bits
        words["model"] = "reweighted" if reweights else "model"
        outputs = "reweighted(batch)" if reweights else self._data.outputs
        words["outputs"] = "model(batch)" if reweights else self._data.outputs
        words["forward"] = lines(
            f"output, target = {outputs}",
            f"loss = compute_loss(output, target{words['training']}{words['latest']})",
            techniques.calls("change_loss", loss="loss", lose="lose" if words["training"] else "compute_loss"),
        )
        words["do"] = words["forward"]
        if words["change_pass"]:
            made = "target, loss = do(batch)[1:]" if "target" in words["weigh"] else "loss = do(batch)[2]"
            words["do"] = fill(PASSES, made="output, target, loss = do(batch)" if self._metrics else made, **words)
        words["change_samples"] = fill(SAMPLES, **words) if samples else ""
        scaled = "scaler.scale(loss) if scaled else loss"
        words["backward"] = f"differentiate({scaled})" if self._optimizer.is_curved else f"({scaled}).backward()"
        words["note"] = fill(words["note"], share=", share" * bool(words["weigh"]))
        around, one = words["passes"] or "$pass", {"pass": fill(PASS, **words)}
        words["passes"] = fill(around, counted="", labelled="", **one)
        words["gradients"] = fill(GRADIENTS, **words)

    def _write_steps(self) -> None:
        story, words, techniques, optimizer = self.story, self.words, self._techniques, self._optimizer
        sized = self._data.sized and not (optimizer.whole and optimizer.only_full)
        varies, drops = sized and len(set(story.values_of("batch_size"))) > 1, sized and story.train.drop_last
        words["number"] = "number" if varies and not drops else "batch_size"
        size = "larger" if varies and drops else "batch_size"
        words["complete"] = f"batches.left({size}) < {size}" if drops else "not batches.left()"
        usual = "batches.size if full else batch_size" if optimizer.whole else "batch_size"
        if optimizer.whole:
            words["number"] = f"batches.size - batches.position if full else {words['number']}"
        if isinstance(story.train, StreamSource):
            words["number"], usual = "", literal(getattr(story.train.loader, "batch_size", None) or 1)
        inline = self.known.get("full") is False
        words["forget"] = _FORGET if inline else ""
        words["compute"], words["batch"] = (words["gradients"], "batch") if inline else ("loss = closure()", "samples")
        words["set_rate"] = fill(RATE, **words) if words["change_rate"] else ""
        words["no_loss"] = "val_loss = None" if words["after_epoch"] and story.share is None else ""
        words["results"] = ", results" * bool(self._metrics)
        words["tell"] = fill(TELL, **words) if words["after_epoch"] and techniques.uses_context else ""
        passing = [edit.step for edit in story.edits if edit.written.passes]
        words["run_passes"] = self._run_passes(usual) if passing else ""
        if story.steps in passing and self._draws.training:  # what they draw is the next step's
            words["edit_end"] = f"step = STEPS_DONE\n{words['edit_end']}"
        text = self._evaluate()
        reads = [node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)]
        there = {*self.values.variables, *self.sources.arguments, *techniques.names} - {"loss"} | {
            *self._loss.functions
        }
        words["told"] = "".join(f", {name}" for name in dict.fromkeys(reads) if name in there)
        self.evaluate = text.replace("(model, batches):", f"(model, batches{words['told']}):")
        words["as_batch"] = self._loss.as_batch(usual)
        words["validate_then"] = fill(VALIDATE, **words)
        words["validate"] = "" if self._by_steps else words["validate_then"]

    # -- the functions

    def train(self, arguments: str, told: str, taken: str) -> str:
        """Return the function ``train``; to be asked for when all sections are written."""
        words = {**self.words, "arguments": arguments, "told_arguments": told, "take_arguments": taken}
        text = self._named(prune(fill(TRAIN, **words), self.known))
        planned = {name for changes in self.values.schedule.values() for name in changes}
        known = {"UPDATES": False, "changes": False} if not planned else {}
        for name in set(re.findall(r'"(\w+)"', text)) - planned:
            where = (f"'{name}' in changes", f"'{name}' in SCHEDULE.get(step + 1, {{}})", f"changes.get('{name}')")
            known.update(dict.fromkeys(where, False))
        text = prune(text, known)
        text = text.replace("(loss).backward", "loss.backward").replace("(scaler.scale(loss)).", "scaler.scale(loss).")
        text = text.replace("$", "$$").replace("STARTING_VALUES", "$starting").replace("UPDATES", "$updates")
        variables = self.values.variables.items()
        starting = lines(*(f"{name} = {own.upper()}" for name, own in variables))
        updates = lines(*(_update(name, own) for name, own in variables))
        return self._used(fill(text, starting=starting, updates=updates))

    def _run_passes(self, usual: str) -> str:
        """Return the function that does passes for an edit."""
        words, full = self.words, f"isinstance(optimizer, {self.words['full_classes']})"
        usual = "batches.size" if self._optimizer.only_full and self._optimizer.whole else usual.replace("full", full)
        graph = "" if self.story.needs_graph else "@torch.no_grad()"
        inputs = fill(INPUTS, **words) if self._techniques.has("change_inputs") else ""
        return fill(RUN_PASSES, **{**words, "no_graph": graph, "usual": usual, "change_samples": inputs})

    def _evaluate(self) -> str:
        """Return the function ``evaluate``, before it is told what it reads."""
        graph, known = self.story.needs_graph, dict(self.known)
        known["seed_all"] = self._draws.evaluating
        words = {
            **self.words,
            **self._data.evaluation,
            "told": "",
            "no_graph": "" if graph else "@torch.no_grad()",
            "outcome": ", and each (output, target)" * bool(self._metrics),
            "measure": self._loss.measure,
            "add": self._loss.add,
            "change_samples": fill(INPUTS, **self.words) if self._techniques.has("change_inputs") else "",
        }
        return self._named(self._used(prune(fill(EVALUATE, **words), known)))

    def _used(self, text: str) -> str:
        """Return ``text`` without what nothing needs."""
        return prune(text, dict.fromkeys(find_unused(text, {*_KEPT, *self._techniques.names}), False))

    def _named(self, text: str) -> str:
        """Return ``text`` with hyperparameters as the script calls them."""
        rows = text.splitlines()
        names = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)]
        for node in sorted(names, key=lambda node: (node.lineno, node.col_offset), reverse=True):
            if node.id not in self._hyperparameters:
                continue
            row = rows[node.lineno - 1].encode()  # columns are counted in bytes
            called = self.values.use(self._hyperparameters[node.id]).encode()
            rows[node.lineno - 1] = (row[: node.col_offset] + called + row[node.end_col_offset :]).decode()
        return "\n".join(rows) + "\n"


def _update(variable: str, name: str) -> str:
    """Return the line that gives a variable the new value of its hyperparameter, if it has one."""
    line = f'{variable} = changes.get("{name}", {variable})'
    return line if len(line) <= WIDTH - 8 else f'{variable} = changes.get(\n    "{name}",\n    {variable},\n)'
