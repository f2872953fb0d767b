"""What a script's loop does and what it does not, of all that `nbopt.export.script.template` has."""

from __future__ import annotations

import ast
import math
import re

import torch

from nbopt.data.samples import LABELS, SUM
from nbopt.data.sources import StreamSource
from nbopt.data.tensor_source import TensorSource
from nbopt.export.script.data import Data
from nbopt.export.script.draws import Draws
from nbopt.export.script.loss import LossLines
from nbopt.export.script.metrics import Metrics
from nbopt.export.script.optimizer import OptimizerLines
from nbopt.export.script.prune import prune
from nbopt.export.script.section import Section
from nbopt.export.script.techniques import Techniques
from nbopt.export.script.template import (
    BY_LABELS,
    EVALUATE,
    GIVE,
    GRADIENTS,
    PARTS,
    PASS,
    RATE,
    SHARE_OUT,
    TELL,
    TRAIN,
    VALIDATE,
)
from nbopt.export.script.text import WIDTH, fill, lines
from nbopt.export.source import literal
from nbopt.i18n import _
from nbopt.record.journal import ACTIONS
from nbopt.techniques.drawn_weights import RULES
from nbopt.techniques.initialization import AS_GIVEN
from nbopt.techniques.plan import Plan
from nbopt.techniques.precision.mixed import FULL, SCALED

_HYPERPARAMETERS = {
    **{name: name for name in ("steps", "epochs", "validate_every", "patience", "min_delta", "early_stopping")},
    **{name: name for name in ("batch_size", "micro_batch", "lr", "weight_decay", "channels_last", "initial_gain")},
    **{"balance": "balance", "precision_name": "precision"},
}
"""What the template calls hyperparameters, and their names."""

_OFF_AT_ZERO = ("steps", "validate_every", "early_stopping", "min_delta", "weight_decay", "channels_last")


class Loop(Section):
    """The functions ``train`` and ``evaluate`` of a script.

    Parameters
    ----------
    sections : tuple of sections
    draws : Draws
    """

    def __init__(self, sections: tuple[Data, LossLines, Techniques, OptimizerLines, Metrics], draws: Draws) -> None:
        self._data, self._loss, self._techniques, self._optimizer, self._metrics = self._sections = sections
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
        story, known, techniques, loss = self.story, self.known, self._techniques, self._loss
        for name in _OFF_AT_ZERO:
            first, *others = map(bool, story.values_of(name))
            if all(other is first for other in others):
                known[name] = first
        images, precisions = "channels_last" not in story.inert, story.values_of("precision")
        known.update({} if images else {"channels_last": False})
        self._casts, scales = any(name != FULL for name in precisions), SCALED in precisions
        if len(set(precisions)) == 1 or not scales:
            known["scaled"] = scales
        if story.share is not None:
            known["val is not None"] = True
        waits, restored = self._plan_actions()
        self._by_steps = any(story.values_of("validate_every") + story.values_of("steps"))
        draws = story.start["initialization"] != AS_GIVEN and story.steps != 0  # weights are drawn in the first step
        there = {
            "waited bar": waits,
            "best_loss best_weights": waits or restored,
            "due over": self._by_steps,
            "ended": self._by_steps and not known.get("validate_every", False),
            "cast_to": self._casts,
            "loss.float": self._casts and not isinstance(story.loss, str),  # others may return 16 bits
            "scaler": scales,
            "torch.contiguous_format": images
            and known.get("channels_last") is False,  # a run lays out what it is given
            "draw_weights": draws,
            "DROPOUT": "dropout" not in story.inert and "dropout" not in story.untouched,
            "context": techniques.uses_context,
            "progress done": techniques.uses_context or techniques.has("change_rate"),
            "recent results": bool(self._metrics),
            "reweighted change_weights": techniques.has("change_weights"),
            "lose": techniques.has("change_loss") and bool(self.words["training"]),
            "forward_pass do": techniques.has("change_pass"),
            "x": techniques.has("change_inputs") or techniques.has("change_batch"),
            "added part": bool(loss.parts),
            "of counted": loss.parts == LABELS,
            "seed_all": self._draws.training,
            "model.training": not story.evaluated,
        }
        self._lacks(there)
        self.words["draw"] = self.sources.name_of(RULES[story.start["initialization"]]) if draws else "None"
        self.words["steps"] = "itertools.count()" if story.steps is None else "range(STEPS_DONE)"
        self.words["period"] = "validation" if self._by_steps else "epoch"
        adopted = story.adopted
        if scales and isinstance(adopted, torch.optim.SGD) and adopted.param_groups[0]["fused"]:
            raise ValueError(_("in float16, a script cannot hold SGD made with fused=True: make it without."))

    def _plan_actions(self) -> tuple[bool, bool]:
        """Enter what is done at some steps; return whether the script has patience, and restores weights by itself."""
        story, known = self.story, self.known
        restored = [step for step, new in story.schedule.items() if "restore_best" in new]
        end, waits = story.done or math.inf, story.stops_early and story.steps is None
        for step, new in story.schedule.items():
            names = [name for name in ACTIONS if name in new and (name != "reopen" or waits)]
            self.values.plan({step: dict.fromkeys(names, True) if step < end else {}})
            if "dropout" in new and "dropout" not in story.inert:
                self.values.plan({step: {"dropout": new["dropout"]}})
        if not waits:
            known["early_stopping"] = True
            known["best_weights and early_stopping"] = any(step >= end for step in restored)
        has_end = Plan.of({name: story.values_of(name)[-1] for name in Plan.declared()}).has_end
        if story.steps is None and not has_end:
            if not waits:
                raise ValueError(_("a script of a run without an end would not end either: give epochs or steps."))
            known["step >= steps if steps else epoch >= epochs"] = False
        if story.steps is not None:
            known["step >= steps if steps else epoch >= epochs"] = False
            self.values.constants["STEPS_DONE"] = literal(story.steps)
        self.values.constants["DROPOUT"] = literal(story.start.get("dropout"))
        return waits, bool(restored)

    def _lacks(self, there: dict[str, bool]) -> None:
        """Take note of what is not there."""
        self.known.update({name: False for names, is_there in there.items() for name in names.split() if not is_there})

    # -- words

    def _write_passes(self) -> None:
        story, words, techniques, loss = self.story, self.words, self._techniques, self._loss
        samples = techniques.having("change_inputs") + techniques.having("change_batch")
        if samples and self._data.single:
            names = ", ".join(techniques.names)
            raise ValueError(_("{names}: in a script they need samples as (X, y), not in a single array.", names=names))
        reweights, of_columns = techniques.has("change_weights"), isinstance(story.train, TensorSource)
        of_columns = of_columns and self._data.structure is None
        words["rest"] = "" if story.forward is None or self._data.of_loaders else ", *batch[2:]"
        words["laid"] = f"{'tuple(map(' if of_columns else 'tree_map('}lay_channels_last, batch{')' * of_columns})"
        words["model"] = "reweighted" if reweights else "model"
        outputs = "reweighted(batch)" if reweights else self._data.outputs
        words["outputs"] = "model(batch)" if reweights else self._data.outputs
        words["forward"] = lines(
            f"output, target = {outputs}",
            f"loss = compute_loss(output, target{words['training']}{words['latest']})",
            techniques.calls("change_loss", loss="loss", lose="lose" if words["training"] else "compute_loss"),
        )
        words["forward_here"] = "" if words["change_pass"] else words["forward"]
        made = "target, loss = do(batch)[1:]" if loss.parts == LABELS else "loss = do(batch)[2]"
        words["made"] = "output, target, loss = do(batch)" if self._metrics else made
        scaled = "scaler.scale(loss) if scaled else loss"
        words["backward"] = f"differentiate({scaled})" if self._optimizer.is_curved else f"({scaled}).backward()"
        words["weigh"] = "" if loss.parts in ("", SUM) else "loss = loss * share"
        if loss.parts == LABELS:
            words["weigh"] = fill(BY_LABELS, ignored=loss.ignored)
        words["passes"] = fill(PASS, **words)
        if loss.parts:
            leaf = story.split.get("leaf")
            count = "sample_count(whole)" if leaf is None else f"count_samples(whole, {leaf})"
            parts = "parts_of(whole, micro_batch)" if of_columns else f"parts_of_tree(whole, micro_batch, {count})"
            words["passes"] = fill(PARTS, parts=parts, **{"pass": words["passes"]})
        words["gradients"] = fill(GRADIENTS, **words)

    def _write_steps(self) -> None:
        story, words, techniques, optimizer = self.story, self.words, self._techniques, self._optimizer
        sized = self._data.sized and not (optimizer.whole and optimizer.only_full)
        varies, drops = sized and len(set(story.values_of("batch_size"))) > 1, sized and story.train.drop_last
        self._lacks({"number": varies and not drops, "larger": varies and drops})
        words["number"] = "batch_size" if "number" in self.known else "number"
        size = "batch_size" if "larger" in self.known else "larger"
        words["complete"] = f"batches.left({size}) < {size}" if drops else "not batches.left()"
        usual = "batches.size if full else batch_size" if optimizer.whole else "batch_size"
        if optimizer.whole:
            words["number"] = f"batches.size - batches.position if full else {words['number']}"
        if isinstance(story.train, StreamSource):
            words["number"], usual = "", literal(getattr(story.train.loader, "batch_size", None) or 1)
        inline = self.known.get("full") is False
        words["compute"], words["batch"] = (words["gradients"], "batch") if inline else ("loss = closure()", "samples")
        give = GIVE if "given" in self.known else SHARE_OUT
        words["set_rate"] = fill(RATE, give=give, **words) if words["change_rate"] else ""
        words["no_loss"] = "val_loss = None" if words["after_epoch"] and story.share is None else ""
        words["results"] = ", results" * bool(self._metrics)
        words["tell"] = fill(TELL, **words) if words["after_epoch"] and techniques.uses_context else ""
        told = [*self._loss.passed, *(["forward"] if "forward" in self.sources.arguments else [])]
        told += techniques.having("change_inputs")
        forms = {"precision": self._casts, "channels_last": self.known.get("channels_last") is not False}
        told += [name for form, acts in forms.items() if acts and not (name := self.values.use(form)).isupper()]
        words["told"] = "".join(f", {name}" for name in told)
        words["as_batch"] = self._loss.as_batch(usual)
        words["validate_then"] = fill(VALIDATE, **words)
        words["validate"] = "" if self._by_steps else words["validate_then"]

    # -- the functions

    def train(self, arguments: str, told: str, taken: str) -> str:
        """Return the function ``train``; to be asked for when all sections are written."""
        words = {**self.words, "arguments": arguments, "told_arguments": told, "take_arguments": taken}
        text = self._named(prune(fill(TRAIN, **words), self.known))
        planned = {name for changes in self.values.schedule.values() for name in changes}
        asked = re.findall(r'"(\w+)" in (changes|SCHEDULE.get\(step \+ 1, {}\))|changes\.get\("(\w+)"', TRAIN)
        known = {f"'{name}' in {where}": False for name, where, _other in asked if name not in planned}
        known |= {f"changes.get('{name}')": False for _name, _where, name in asked if name not in planned}
        if not planned:
            known["changes"] = known["UPDATES"] = False
        text = prune(text, known)
        text = text.replace("(loss).backward", "loss.backward").replace("(scaler.scale(loss)).", "scaler.scale(loss).")
        text = text.replace("$", "$$").replace("STARTING_VALUES", "$starting").replace("UPDATES", "$updates")
        variables = self.values.variables.items()
        starting = lines(*(f"{name} = {own.upper()}" for name, own in variables))
        updates = lines(*(_update(name, own) for name, own in variables))
        return fill(text, starting=starting, updates=updates)

    def evaluate(self) -> str:
        """Return the function ``evaluate``."""
        graph, known = self.story.needs_graph, dict(self.known)
        if self._techniques.has("change_inputs"):
            known.pop("x", None)
        else:
            known["x"] = False
        known.update(dict.fromkeys(["model.train"] if self.story.evaluated else ["modes"], False))
        known |= {} if self._casts else {"device": False}
        known |= {} if self._draws.evaluating else {"seed": False}
        words = {
            **self.words,
            **self._data.evaluation,
            "no_graph": "" if graph else "@torch.no_grad()",
            "outcome": ", and each (output, target)" * bool(self._metrics),
            "measure": self._loss.measure,
            "add": self._loss.add,
        }
        return self._named(prune(fill(EVALUATE, **words), known))

    def _named(self, text: str) -> str:
        """Return ``text`` with hyperparameters as the script calls them."""
        rows = text.splitlines()
        names = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)]
        for node in sorted(names, key=lambda node: (node.lineno, node.col_offset), reverse=True):
            if node.id not in _HYPERPARAMETERS:
                continue
            row = rows[node.lineno - 1].encode()  # columns are counted in bytes
            called = self.values.use(_HYPERPARAMETERS[node.id]).encode()
            rows[node.lineno - 1] = (row[: node.col_offset] + called + row[node.end_col_offset :]).decode()
        return "\n".join(rows) + "\n"


def _update(variable: str, name: str) -> str:
    """Return the line that gives a variable the new value of its hyperparameter, if it has one."""
    line = f'{variable} = changes.get("{name}", {variable})'
    return line if len(line) <= WIDTH - 8 else f'{variable} = changes.get(\n    "{name}",\n    {variable},\n)'
