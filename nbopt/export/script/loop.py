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
from nbopt.export.script.text import fill, lines
from nbopt.export.source import literal
from nbopt.i18n import _
from nbopt.record.journal import ACTIONS
from nbopt.techniques.drawn_weights import RULES
from nbopt.techniques.initialization import AS_GIVEN
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
    data, loss, techniques, optimizer, metrics, draws : sections
    """

    def __init__(
        self,
        data: Data,
        loss: LossLines,
        techniques: Techniques,
        optimizer: OptimizerLines,
        metrics: Metrics,
        draws: Draws,
    ) -> None:
        self._data = data
        self._loss = loss
        self._techniques = techniques
        self._optimizer = optimizer
        self._draws = draws
        self._metrics = metrics
        super().__init__(data.story, data.sources, data.values)

    def write(self) -> None:
        """See `Section`."""
        for section in (self._data, self._loss, self._techniques, self._optimizer, self._metrics):
            self.words.update(section.words)
            self.known.update(section.known)
        self._know_the_end()
        self._know_the_forms()
        self._know_the_rest()
        self._write_passes()
        self._write_steps()

    # -- what there is

    def _know_the_end(self) -> None:
        story, known = self.story, self.known
        for name in _OFF_AT_ZERO:
            first, *others = map(bool, story.values_of(name))
            if all(other is first for other in others):
                known[name] = first
        restored = [step for step, new in story.schedule.items() if "restore_best" in new]
        end, own_end = story.done or math.inf, story.steps is None
        waits = story.stops_early and own_end
        for step, new in story.schedule.items():
            names = [name for name in ACTIONS if name in new and (name != "reopen" or waits)]
            self.values.plan({step: dict.fromkeys(names, True) if step < end else {}})
        self._lacks("waited bar", not waits)
        self._lacks("best_loss best_weights", not waits and not restored)
        if not waits:
            known["early_stopping"] = True
            known["best_weights and early_stopping"] = any(step >= end for step in restored)
        self._by_steps = any(story.values_of("validate_every") + story.values_of("steps"))
        self._lacks("due over", not self._by_steps)
        self._lacks("ended", not self._by_steps or known.get("validate_every", False))
        if story.steps is not None:
            known["step >= steps if steps else epoch >= epochs"] = False
            self.values.constants["STEPS_DONE"] = literal(story.steps)
        self.words["steps"] = "itertools.count()" if own_end else "range(STEPS_DONE)"
        self.words["period"] = "validation" if self._by_steps else "epoch"

    def _know_the_forms(self) -> None:
        story = self.story
        precisions = story.values_of("precision")
        casts, scales = any(name != FULL for name in precisions), SCALED in precisions
        images = "channels_last" not in story.inert
        self._lays = images and any(story.values_of("channels_last"))
        self._lacks("cast_to", not casts)
        self._lacks("loss.float", not casts or isinstance(story.loss, str))  # others may return 16 bits
        self._lacks("scaler", not scales)
        if len(set(precisions)) == 1 or not scales:
            self.known["scaled"] = scales
        self._lacks("lay_out", not self._lays)
        self._lacks("torch.contiguous_format", self._lays or not images)  # a run lays out what it is given
        self._casts = casts
        adopted = story.adopted
        if scales and isinstance(adopted, torch.optim.SGD) and adopted.param_groups[0]["fused"]:
            raise ValueError(_("in float16, a script cannot hold SGD made with fused=True: make it without."))

    def _know_the_rest(self) -> None:
        story, techniques = self.story, self._techniques
        rule = story.start["initialization"]
        draws = rule != AS_GIVEN and story.steps != 0  # weights are drawn in the first step
        self.words["draw"] = self.sources.name_of(RULES[rule]) if draws else "None"
        sets_dropout = "dropout" not in story.inert and "dropout" not in story.untouched
        if "dropout" not in story.inert:
            self.values.constants["DROPOUT"] = literal(story.start["dropout"])
            changes = {step: {"dropout": new["dropout"]} for step, new in story.schedule.items() if "dropout" in new}
            self.values.plan(changes)
        self._lacks("draw_weights", not draws)
        self._lacks("DROPOUT", not sets_dropout)
        self._lacks("context", not techniques.uses_context)
        self._lacks("progress done", not techniques.uses_context and not techniques.has("change_rate"))
        self._lacks("recent results", not self._metrics)
        self._lacks("reweighted change_weights", not techniques.has("change_weights"))
        self._lacks("lose", not techniques.has("change_loss") or not self._loss.training)
        self._lacks("forward_pass do", not techniques.has("change_pass"))
        self._lacks("total part", not self._loss.parts)
        self._lacks("of counted", self._loss.parts != LABELS)
        self._lacks("seed_all", not self._draws.training)
        self._lacks("model.training", story.evaluated)
        if story.share is not None:
            self.known["val is not None"] = True

    def _lacks(self, names: str, lacks: bool) -> None:
        """Take note of what is not there."""
        self.known.update({name: False for name in names.split() if lacks})

    # -- words

    def _write_passes(self) -> None:
        story, words, techniques, loss = self.story, self.words, self._techniques, self._loss
        inputs, augmented = techniques.calls("change_inputs"), techniques.calls("change_batch")
        if (inputs or augmented) and self._data.single:
            names = ", ".join(techniques.names)
            raise ValueError(_("{names}: in a script they need samples as (X, y), not in a single array.", names=names))
        lay = ""
        if self._lays:
            of_columns = isinstance(story.train, TensorSource) and story.train.structure is None
            laid = "tuple(map(lay_channels_last, batch))" if of_columns else "tree_map(lay_channels_last, batch)"
            live = len(set(story.values_of("channels_last"))) > 1
            lay = f"if channels_last:\n    batch = {laid}" if live else f"batch = {laid}"
        rest = "" if story.forward is None or self._data.of_loaders else ", *batch[2:]"
        change = lines("x, y = batch[0], batch[1]", inputs, augmented, f"batch = (x, y{rest})")
        words["change_batch"] = lines(change if inputs or augmented else "", lay)
        words["change_inputs"] = lines(*("x = batch[0]", inputs, "batch = (x, *batch[1:])") * bool(inputs), lay)
        words["change_pass"] = techniques.calls("change_pass")
        words["change_weights"] = techniques.calls("change_weights") or "pass"
        reweights = techniques.has("change_weights")
        words["model"] = "reweighted" if reweights else "model"
        words["outputs"] = "reweighted(batch)" if reweights else self._data.outputs
        named = "lose" if loss.training else "compute_loss"
        words["forward"] = lines(
            f"output, target = {words['outputs']}",
            f"loss = compute_loss(output, target{loss.training}{words['latest']})",
            techniques.calls("change_loss", loss="loss", lose=named),
        )
        scaled = "scaler.scale(loss) if scaled else loss"
        self.words["backward"] = f"({scaled}).backward()"
        if self._optimizer.is_curved:
            self.words["backward"] = f"differentiate({scaled})"
        words["weigh"], made = "", (["output, target, ", ""] if self._metrics else ["", "[2]"])
        if loss.parts == LABELS and not self._metrics:
            made = ["target, ", "[1:]"]
        words["made"], words["part"] = f"{made[0]}loss", made[1]
        passing = {**words, "forward": "" if words["change_pass"] else words["forward"]}
        if not loss.parts:
            words["passes"] = fill(PASS, **passing)
        else:
            leaf, count = story.split.get("leaf"), ""
            if not isinstance(story.train, TensorSource) or story.train.structure is not None:
                count = "sample_count(whole)" if leaf is None else f"count_samples(whole, {leaf})"
            words["parts"] = f"parts_of_tree(whole, micro_batch, {count})" if count else "parts_of(whole, micro_batch)"
            passing["weigh"] = "" if loss.parts == SUM else "loss = loss * share"
            if loss.parts == LABELS:
                passing["weigh"] = fill(BY_LABELS, ignored=loss.ignored)
            words["passes"] = fill(PARTS, parts=words["parts"], **{"pass": fill(PASS, **passing)})
        words["after_gradients"] = techniques.calls("after_gradients")
        words["gradients"] = fill(GRADIENTS, **words)

    def _write_steps(self) -> None:
        story, words, techniques, optimizer = self.story, self.words, self._techniques, self._optimizer
        varies, drops = len(set(story.values_of("batch_size"))) > 1, self._data.sized and story.train.drop_last
        batches = self._data.sized and not (optimizer.whole and optimizer.only_full)
        words["compute"] = words["gradients"] if self.known.get("full") is False else "loss = closure()"
        words["batch"] = "batch" if self.known.get("full") is False else "samples"
        self._lacks("count", not batches or not varies or drops)
        words["count"] = "batch_size" if "count" in self.known else "count"
        if optimizer.whole:
            words["count"] = f"batches.size - batches.position if full else {words['count']}"
        if not self._data.sized:
            words["count"] = ""
        self._lacks("larger", not batches or not varies or not drops)
        words["complete"] = "not batches.left()"
        if batches and drops:
            size = "batch_size" if "larger" in self.known else "larger"
            words["complete"] = f"batches.left({size}) < {size}"
        rates, give = techniques.calls("change_rate"), GIVE if "given" in self.known else SHARE_OUT
        words["change_rate"] = fill(RATE, calls=rates, give=give) if rates else ""
        words["after_step"] = techniques.calls("after_step")
        words["after_epoch"] = techniques.calls("after_epoch")
        words["no_loss"] = "val_loss = None" if words["after_epoch"] and story.share is None else ""
        words["results"] = ", results" * bool(self._metrics)
        words["tell"] = fill(TELL, **words) if words["after_epoch"] and techniques.uses_context else ""
        told = [*self._loss.passed, *(["forward"] if "forward" in self.sources.arguments else [])]
        told += techniques.having("change_inputs")
        forms = {"precision": self._casts, "channels_last": self._lays}
        forms_called = [self.values.use(name) for name, acts in forms.items() if acts]
        words["told"] = "".join(f", {name}" for name in (*told, *(each for each in forms_called if not each.isupper())))
        words["as_batch"] = self._loss.as_batch(self._usual_size)
        validate = fill(VALIDATE, **words)
        words["validate_then"], words["validate"] = validate, "" if self._by_steps else validate

    @property
    def _usual_size(self) -> str:
        if isinstance(self.story.train, StreamSource):
            return literal(getattr(self.story.train.loader, "batch_size", None) or 1)
        if self._optimizer.whole:
            return "batches.size if full else batch_size"
        return "batch_size"

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
        return fill(text, starting=self.values.starting, updates=self.values.updates)

    def evaluate(self) -> str:
        """Return the function ``evaluate``."""
        graph, draws = self.story.needs_graph, self._draws.evaluating
        known: dict[str, bool] = {name: False for name in ("cast_to", "results") if name in self.known}
        if not self._casts:
            known["device"] = False
        if not draws:
            known["seed"] = False
        unused = ("model.training", "model.train") if self.story.evaluated else ("modes",)
        known.update(dict.fromkeys(unused, False))
        words = {
            **self.words,
            **self._data.evaluation,
            "no_graph": "" if graph else "@torch.no_grad()",
            "outcome": ", and each (output, target)" * bool(self._metrics),
            "measure": self._loss.measure,
            "outputs": "model(batch)" if self._techniques.has("change_weights") else self._data.outputs,
            "add": self._loss.add,
        }
        return self._named(prune(fill(EVALUATE, **words), known))

    def _named(self, text: str) -> str:
        """Return ``text`` with hyperparameters as the script calls them."""
        rows = text.splitlines()
        names = [
            node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name) and node.id in _HYPERPARAMETERS
        ]
        for node in sorted(names, key=lambda node: (node.lineno, node.col_offset), reverse=True):
            row = rows[node.lineno - 1].encode()  # columns are counted in bytes
            called = self.values.use(_HYPERPARAMETERS[node.id]).encode()
            rows[node.lineno - 1] = (row[: node.col_offset] + called + row[node.end_col_offset :]).decode()
        return "\n".join(rows) + "\n"
