"""A run as a plain PyTorch script, which holds only what the run used."""

from __future__ import annotations

import copy
import dataclasses
import re
import textwrap
from collections.abc import MutableMapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Subset

from nbopt.data.generators import NUMPYS, PYTHONS
from nbopt.data.sources import sample_count
from nbopt.export.script.data import DataSource
from nbopt.export.script.draws import find_shared
from nbopt.export.script.forms import FormSource
from nbopt.export.script.functions import FUNCTIONS
from nbopt.export.script.length import LengthSource
from nbopt.export.script.loop import LOOP
from nbopt.export.script.loss import LossSource
from nbopt.export.script.model import ALWAYS_NOISY, NOISY, dropout_kinds, may_draw_anywhere
from nbopt.export.script.optimizer import OptimizerSource
from nbopt.export.script.section import Section
from nbopt.export.script.step import FRAGMENTS
from nbopt.export.script.techniques import PartsSource, variable_of
from nbopt.export.script.values import ScriptValues
from nbopt.export.source import Sources, literal, sort_imports
from nbopt.export.summary import RunSummary
from nbopt.export.template import render
from nbopt.i18n import _
from nbopt.techniques.base import defines
from nbopt.techniques.catalogue import PARTS
from nbopt.techniques.drawn_weights import RULES, draw_weights
from nbopt.techniques.initialization import AS_GIVEN
from nbopt.techniques.metrics.choice import METRICS, NUMBERS

_WRITTEN = ("accuracy", "r2", "mae", "rmse")  # metrics that the template holds

# Names that the script gives to things of its own, hyperparameters apart; functions of the user's keep theirs.
_OWN_NAMES = {
    *("SEED", "STEPS_DONE", "SCHEDULE", "OPTIMIZERS", "METRICS", "EVALUATION_BATCH", "VAL_SHARE", "DTYPES"),
    *("ORDER", "NOISE", "SPLIT", "EVALUATION", "INITIALIZATION", "MAX_EVAL", "LINE_SEARCH_FN", "FORWARD"),
    *(
        "derive_seed",
        "seed_all",
        "random",
        "as_tensors",
        "fetch",
        "draw_indices",
        "stream",
        "as_loader",
        "columns_of",
        "share",
        "size_of",
        "to_device",
    ),
    *("compute_loss", "measure", "evaluate", "set_dropout", "train", "itertools"),
    *("Context", "Plain", "Reweighted", "change_weights", "forward_pass"),
    *("partial", "deque", "defaultdict", "train_test_split", "as_columns", "update", "take_over", *_WRITTEN),
    *(variable_of(item) for item in PARTS if not (isinstance(item, type) and item.by_script)),
}
_PLACES = (r"^\s*([\w, ]+?) \+?= ", r"for ([\w, ]+) in", r"def \w+\(([^)$]*)", r"(\w+)=")
_TEXTS = (FUNCTIONS, LOOP, *FRAGMENTS.values())
_VARIABLES = {
    name.strip()
    for text in _TEXTS
    for place in _PLACES
    for names in re.findall(place, text, re.MULTILINE)
    for name in names.split(",")
}
"""Names of variables in the script's functions."""

_SHARED = {
    **{"copy": copy, "dataclasses": dataclasses, "MutableMapping": MutableMapping},
    **{"np": np, "torch": torch, "nn": nn, "functional": functional},
    **{"DataLoader": DataLoader, "Subset": Subset},
}


def to_python(story: RunSummary) -> str:
    """Write the script.

    Raises
    ------
    ValueError
        If the run used something that cannot be written out; says what to do.
    """
    if story.steps is not None:  # a change made where it was left has not acted yet, but weights may be restored there
        kept = {
            step: changes if step < story.steps else {name: True for name in changes if name == "restore_best"}
            for step, changes in story.schedule.items()
        }
        story = dataclasses.replace(story, schedule=kept)
    return _Writer(story).write()


class _Writer:
    def __init__(self, story: RunSummary) -> None:
        self.story = story
        self.flags: dict[str, bool] = {}
        self.words: dict[str, str] = {}
        self.notes: list[str] = []
        self.values = ScriptValues(story)
        constants = {name.upper() for name in story.hyperparams}
        self.sources = Sources(_OWN_NAMES | constants, _SHARED, _VARIABLES)

    def write(self) -> str:
        """Fill in one part of the template after the other."""
        self.length = LengthSource(self.story, self.sources, self.values.use)
        self._collect(self.length)
        self.values.plan(self.length.changes)
        self._collect(DataSource(self.story, self.sources, self.values.use))
        self._losses()
        self._parts()
        self._optimizer()
        self._forms()
        self._regularization()
        self._metrics()
        self._initialization()
        self._noise()
        story, flags, constants = self.story, self.flags, self.values.constants
        tables = [f"{name} = {table}" for name, table in self.parts.choices.items()]
        if flags["seeds"]:
            constants = {"SEED": literal(story.seed), **constants}
        flags["schedule"] = bool(self.values.table)
        self.words.update(
            title=f'Train a model as the run "{_plain(story.name)[:40]}" did.',
            ending=self._ending(),
            constants="\n".join([f"{name} = {value}" for name, value in constants.items()] + self.notes),
            imports=self._imports(),
            definitions="\n\n\n".join(
                [*self.sources.definitions, *self.parts.definitions, *tables, *filter(None, [self.optimizers])]
            ),
            schedule=self.values.table,
            **self._arguments(),
            starting_values=self.values.starting,
            updates=self.values.updates,
        )
        for name, template in FRAGMENTS.items():
            self.words[name] = render(template, flags, self.words).rstrip("\n")
        text = render(FUNCTIONS + LOOP, flags, self.words)
        self.sources.check(text)
        return text

    # -- parts of the run

    def _collect(self, source: Section) -> None:
        """Take what a part of the run says of itself."""
        self.flags.update(source.flags)
        self.words.update(source.words)
        self.values.constants.update(source.constants)

    def _losses(self) -> None:
        source = LossSource(self.story, self.sources, self.values.use)
        self._collect(source)
        self.flags["best_reset"] = self.flags["best"] and source.swapped

    def _optimizer(self) -> None:
        source = OptimizerSource(self.story, self.sources, self.values.use, self.parts)
        self._collect(source)
        self.optimizers = source.choices
        self.values.plan(source.changes)

    def _forms(self) -> None:
        source = FormSource(self.story, self.sources, self.values.use)
        self._collect(source)
        for word in ("evaluation_parameters", "evaluation_arguments"):
            self.words[word] += "".join(f", {name}" for name in source.variables)

    def _parts(self) -> None:
        parts = self.parts = PartsSource(self.story, self.sources)
        self.values.plan(parts.changes)
        self.flags.update(
            contexts=parts.uses_context,
            rates=parts.has("change_rate"),
            progresses=parts.has("change_rate") or parts.uses_context,
            watches=parts.has("after_epoch"),
            part_updates="update(" in parts.update,
            take_over=parts.takes_over,
        )
        self._batches()
        self.words.update(
            lr=self.values.use("lr") if self.flags["rates"] else "",
            done=self.length.share() if self.flags["progresses"] else "",
            make_parts=parts.making,
            fit_parts=parts.fitting,
            part_updates=parts.update,
            seed=literal(self.story.seed),
            done_after=self.length.share("step + 1") if self.flags["contexts"] else "",
            **{hook: parts.calls(hook) for hook in ("after_gradients", "change_rate", "after_step", "after_epoch")},
        )

    def _batches(self) -> None:
        """Write what parts do to batches, and to the loss of one."""
        parts, flags, words = self.parts, self.flags, self.words
        inputs = parts.calls("change_inputs")
        augmented = parts.calls("change_batch")
        if (inputs or augmented) and flags["single"]:
            names = ", ".join(parts.names)
            raise ValueError(_("{names}: in a script they need samples as (X, y), not in a single array.", names=names))
        rest = ", *batch[2:]" if flags["columns"] else ""
        lines = ["x, y = batch[0], batch[1]", inputs, augmented, f"batch = (x, y{rest})"]
        words["change_batch"] = "\n".join(filter(None, lines)) if inputs or augmented else ""
        lines = ["x = batch[0]", inputs, "batch = (x, *batch[1:])"]
        words["change_inputs"] = "\n".join(lines) if inputs else ""
        used = [name for name, kinds in parts.names.items() if defines(kinds[0], "change_inputs")]
        if "forward" in self.sources.arguments:
            words["measure_parameters"] += ", forward"
        words["evaluation_parameters"] = words["measure_parameters"] + "".join(f", {name}" for name in used)
        words["evaluation_arguments"] = words["measure_parameters"] + "".join(f", {name}" for name in used)
        flags["mixes"] = parts.has("change_loss")
        flags["loses"] = flags["mixes"] and bool(words["loss_arguments"])
        loss = "lose" if flags["loses"] else "compute_loss"
        words["change_loss"] = parts.calls("change_loss", loss="loss", lose=loss)
        words["change_part_loss"] = parts.calls("change_loss", loss="part_loss", lose=loss)
        words["change_pass"] = parts.calls("change_pass")
        flags["passes"] = bool(words["change_pass"])
        words["change_weights"] = parts.calls("change_weights")
        flags["reweights"] = bool(words["change_weights"])
        words["own_outputs"] = re.sub(r"\bmodel\b", "self.model", words["outputs"])
        words["evaluated"], words["evaluated_outputs"] = "model", words["outputs"]
        if flags["reweights"]:
            words.update(evaluated="reweighted", evaluated_outputs="model(batch)", outputs="reweighted(batch)")
        if flags["passes"]:
            words["change_part_loss"] = words["change_loss"]

    def _regularization(self) -> None:
        story, flags = self.story, self.flags
        changes = {step: new["dropout"] for step, new in story.schedule.items() if "dropout" in new}
        acts = "dropout" not in story.inert
        flags["starting_dropout"] = acts and "dropout" not in story.untouched
        flags["dropout_changes"] = acts and bool(changes)
        flags["dropout"] = flags["starting_dropout"] or flags["dropout_changes"]
        if flags["starting_dropout"]:
            self.values.constants["DROPOUT"] = literal(story.start["dropout"])
        if flags["dropout_changes"]:
            self.values.plan({step: {"dropout": value} for step, value in changes.items()})
        layers, attributes = dropout_kinds(story.model)
        flags["dropout_layers"], flags["dropout_attributes"] = bool(layers), bool(attributes)
        self.words["dropout_layers"] = _one_of(layers)
        self.words["dropout_attributes"] = _one_of(attributes)
        self.words["dropout_or"] = "elif" if layers else "if"

    def _metrics(self) -> None:
        table = {}
        for name, metric in self.story.metrics.items():
            known = next((key for key in _WRITTEN if METRICS[key] is metric), None)
            try:
                if self.story.unread and any(metric is item for item in METRICS.values()) and metric not in NUMBERS:
                    raise ValueError(self.story.unread)
                table[name] = known or self.sources.name_of(metric, name if name.isidentifier() else "metric")
            except ValueError as error:
                self.notes.append(f"\n# The metric {_plain(name)} is left out: {_plain(str(error))}")
        for name in _WRITTEN:
            self.flags[name] = name in table.values()
        self.flags["numbers"] = any(self.flags[name] for name in ("r2", "mae", "rmse"))
        self.flags["metrics"] = bool(table)
        rows = ", ".join(f"{literal(name)}: {function}" for name, function in table.items())
        self.words["metrics_table"] = f"METRICS = {{{rows}}}"

    def _initialization(self) -> None:
        story = self.story
        rule = story.start["initialization"]
        self.flags["initializes"] = rule != AS_GIVEN and story.steps != 0  # weights are drawn in the first step
        self.words.update(draw="", initial_gain="")
        if self.flags["initializes"]:
            self.sources.name_of(draw_weights)
            self.words.update(draw=self.sources.name_of(RULES[rule]), initial_gain=self.values.use("initial_gain"))

    def _noise(self) -> None:
        story, flags = self.story, self.flags
        flags["counts_samples"] = flags["progresses"] or flags["full"]
        own = not isinstance(story.loss, str) and not isinstance(story.loss, nn.Module)
        flags["placed"] = flags["casts"] or not flags["val_tensors"]
        flags["sizes"] = not flags["val_tensors"] and not flags["counts"] and not flags["sums"]
        if not flags["val_tensors"] and not flags["counts"]:
            self.sources.name_for(_("the data"), sample_count)
        flags["graph"], flags["modes"] = story.needs_graph, story.evaluated
        unknown = own or story.forward is not None or may_draw_anywhere(story.model)
        flags["noise"] = (
            unknown or self.parts.draws or any(isinstance(module, NOISY) for module in story.model.modules())
        )
        flags["noisy_evaluation"] = unknown or any(isinstance(module, ALWAYS_NOISY) for module in story.model.modules())
        flags["seeds_order"] = flags["val_samples"] or flags["val_shuffled"]
        flags["seeds_evaluation"] = flags["noisy_evaluation"] or flags["seeds_order"] or flags["val_stream"]
        used = ("noise", "seeds_evaluation", "begins", "share", "initializes")
        flags["seeds"] = any(flags[name] for name in used)
        shared = find_shared(story)
        flags["draws_python"] = any(generator is PYTHONS for generator in shared)
        flags["draws_numpy"] = any(generator is NUMPYS for generator in shared)
        flags["seeds_all"] = bool(shared)
        self.words["manual_seed"] = "seed_all" if shared else "torch.manual_seed"

    # -- words

    def _imports(self) -> str:
        flags, used = self.flags, self.sources.used
        wanted = {
            "import copy": flags["best"] or flags["moves"] or "copy" in used,
            "import dataclasses": flags["moves"] or "dataclasses" in used,
            "import itertools": flags["own_end"] or flags["sampled"],
            "import random": flags["draws_python"] or "random" in used,
            "from collections import defaultdict": True,
            "from collections import deque": flags["metrics"],
            "from collections.abc import MutableMapping": flags["moves"] or "MutableMapping" in used,
            "from functools import partial": flags["partial"] or flags["passes"],
            "import numpy as np": True,
            "import torch": True,
            "from torch.utils.data import DataLoader": "DataLoader" in used,
            "from torch.utils.data import Subset": "Subset" in used,
            "from sklearn.model_selection import train_test_split": flags["share"],
            "from torch import nn": flags["dropout"] or flags["reweights"] or "nn" in used,
            "from torch.nn import functional": "functional." in self.words["loss_body"] or "functional" in used,
        }
        return sort_imports([line for line, needed in wanted.items() if needed] + self.sources.imports)

    def _arguments(self) -> dict[str, str]:
        """Return what a script says of what it cannot hold."""
        given = self.sources.arguments
        told = [
            _("``{name}`` is what the run was given: {reason}", name=name, reason=_plain(reason))
            for name, reason in given.items()
        ]
        losses = [name for name in given if re.fullmatch(r"loss(_\d+)?", name)]
        return {
            "arguments": "".join(f", {name}" for name in ("*", *given)) if given else "",
            "called_with": "".join(f", {name}={name}" for name in given),
            "told_arguments": "\n".join(line for text in told for line in textwrap.wrap(text, 80)),
            "take_arguments": "\n".join(f"{name.replace('loss', 'loss_function', 1)} = {name}" for name in losses),
        }

    def _ending(self) -> str:
        story = self.story
        if not story.done:
            return ""
        left = "\nThe run was left after {n} steps" if story.steps is not None else "\nThe run ended after {n} steps"
        loss = "" if story.val_loss is None else f"; its last validation loss was {story.val_loss:.6g}"
        return left.format(n=story.done) + loss + "."


def _one_of(names: list[str]) -> str:
    kinds = [f"nn.{name}" for name in names]
    return kinds[0] if len(kinds) == 1 else f"({', '.join(kinds)})"


def _plain(text: str) -> str:
    """Return ``text`` as it may stand in a comment or docstring."""
    return "".join(letter for letter in text if letter.isprintable() and letter not in "\"'\\$#")
