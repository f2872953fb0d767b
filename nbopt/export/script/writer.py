"""A run as a plain PyTorch script, which holds only what the run used."""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any

from nbopt.data import noise
from nbopt.export.script.data import Data
from nbopt.export.script.draws import Draws
from nbopt.export.script.edits import Edits
from nbopt.export.script.loop import Loop
from nbopt.export.script.loss import LossLines
from nbopt.export.script.metrics import Metrics
from nbopt.export.script.optimizer import OptimizerLines
from nbopt.export.script.section import HOMES, SHARED, VARIABLES, Draft, called
from nbopt.export.script.techniques import Techniques
from nbopt.export.script.text import break_long, fill, lines, plain, tidy
from nbopt.export.source import Sources, literal, sort_imports
from nbopt.export.source_text import names_read, renamed, text_of
from nbopt.export.summary import RunSummary
from nbopt.i18n import _

_STREAMS = ("ORDER", "NOISE", "SPLIT", "EVALUATION", "INITIALIZATION", "COMPRESSION", "EDITS")

_SCRIPT = '''\
"""$title

    history = train(model, $example$called_with)

``model`` is the model as it was before that run; it is trained in place. Returned are
the values of every metric, one for each epoch.
$ending
"""

$imports

$constants

$schedule

$streams


$definitions


$functions
'''
_SCHEDULE = """\
# {step: {what: new value}}: changes that act from the step of that number on. The first
# step is number 0.
"""


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
    names = [name.upper() for name in story.hyperparams]
    sources = Sources({*SHARED, *_OWN, *names}, SHARED, {*VARIABLES, *map(called, story.hyperparams)})
    text = _write(story, sources)
    if hiding := sources.hiding(text):
        raise ValueError(_("the script already has a {name!r}: rename yours.", name=min(hiding)))
    return text


_OWN = {"SEED", "STEPS_DONE", "SCHEDULE", "OPTIMIZERS", "METRICS", "EVALUATION_BATCH", "VAL_SHARE", "DTYPES", "FORWARD"}
_OWN |= {"compute_loss", "losses_of", "flatten", "evaluate", "train", "train_test_split", "MAX_EVAL", "LINE_SEARCH_FN"}


def _write(story: RunSummary, sources: Sources) -> str:
    draft = Draft(story, sources)
    for section in (Data, LossLines, Techniques, OptimizerLines, Draws, Metrics, Edits, Loop):
        section(draft)
    own = break_long(renamed("\n\n\n".join(draft.functions), draft.others))
    tables = [text for text in draft.definitions if not text.startswith("class ")]
    held, read = _hold_used("\n".join([*tables, own]), draft)
    constants = {"SEED": literal(story.seed), **draft.constants}
    streams = [f"{name} = {getattr(noise, name)}" for name in _STREAMS if name in read]
    about = "# Streams of random numbers, each with seeds of its own, all drawn from SEED."
    text = fill(
        _SCRIPT,
        title=f'Train a model as the run "{plain(story.name)[:40]}" did.',
        example=draft.words["example"],
        called_with="".join(f", {name}={name}" for name in sources.arguments),
        ending=_ending(story),
        imports=sort_imports(sources.imports),
        constants=lines(*(f"{name} = {value}" for name, value in constants.items() if name in read), *draft.left_out),
        schedule=_SCHEDULE + draft.table if draft.table else "",
        streams=lines(about, *streams) if streams else "",
        definitions="\n\n\n".join([*held, *sources.definitions, *draft.definitions]),
        functions=own,
    )
    return tidy(text)


def _hold_used(text: str, draft: Draft) -> tuple[list[str], set[str]]:
    """Have a script hold or import what its own text uses, and what that uses; return functions, and all names read."""
    texts: dict[str, str] = {}
    read: set[str] = set()
    names = names_read(text)
    while names := sorted({*names, *draft.sources.used} - read):
        name = names.pop()
        read.add(name)
        item: Any = SHARED.get(name)
        if getattr(item, "__module__", "") in {home.__name__ for home in HOMES}:
            texts[name] = renamed(text_of(item, name), draft.others).rstrip()
            names += names_read(texts[name])
        elif callable(item) or isinstance(item, ModuleType):
            draft.sources.hold(name, item)
    return [texts[name] for name in SHARED if name in texts], read


def _ending(story: RunSummary) -> str:
    if not story.done:
        return ""
    left = "\nThe run was left after {n} steps" if story.steps is not None else "\nThe run ended after {n} steps"
    loss = "" if story.val_loss is None else f"; its last validation loss was {story.val_loss:.6g}"
    return left.format(n=story.done) + loss + "."
