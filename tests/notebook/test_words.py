"""Every word a person reads passes through the one translation function.

A catalogue that puts each text between marks is put in place before anything is imported; a panel and a playground are
then made and used, and what they show outside the marks must be names, numbers and signs.
"""

import json
import re

import pytest

from tests import zygote

SCRIPT = r"""
import json, sys
import nbopt.i18n

class Marking:
    def gettext(self, text):
        return f"⟦{text}⟧"

nbopt.i18n._catalogue = Marking()

import io, contextlib
import numpy as np, torch
from torch import nn
import nbopt
from nbopt.notebook import magics
from nbopt.notebook.panel.messages import strip
from nbopt.notebook.panel.panel import Panel

shown = {}  # place -> texts

def note(place, *texts):
    shown.setdefault(place, []).extend(texts)

def collect(widget):
    kind = type(widget).__name__.lstrip("_")
    if kind == "HTML":
        note("html", widget.value)
    for trait in ("description", "tooltip"):
        if getattr(widget, trait, None):
            note(f"{kind}.{trait}", getattr(widget, trait))
    styles = getattr(widget, "_dom_classes", ())
    if hasattr(widget, "options") and any(name.startswith(("nbopt-axis", "nbopt-play-")) for name in styles):
        note("choice", *widget._options_labels)
    for child in getattr(widget, "children", ()):
        collect(child)

def look(panel):
    panel._paint()
    collect(panel.widget)
    companion = panel.bridge.companion
    note("companion", *companion.labels.values(), *(text for chart in companion.charts for text in chart["names"]),
         *(chart["label"] for chart in companion.charts), companion.unit)

x = torch.randn(60, 4)
y = (x[:, 0] > 0).long()
model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
run = nbopt.Run(model, (x, y), 0.25, name="RUN", metrics=["accuracy"], epochs=2, batch_size=8)
panel = Panel(run)
panel.bridge.close()
panel._unfold.value = True
panel.transport.buttons["start"].description  # as made
look(panel)
for value in (0.01, 0.1):
    run.set(lr=value)
control = panel.controls["lr"]
control._box.set_state({"value": "fast"})
control._requested, problem = None, control._problem
note("problem", problem)
run.step(2)
look(panel)
control._requested, control._problem = 3.0, ""
note("html", control._say())
run.set(early_stopping=True)
run.start()
run.wait()
look(panel)
panel.attempts.do(lambda: run.start(wait=False))
look(panel)
note("html", strip(panel._messages()))
panel._complain("TRACE")
look(panel)
run.set(epochs=9)
def fail(x):
    raise RuntimeError("RUN")
model.forward = fail
with contextlib.suppress(RuntimeError):
    run.start()
    run.wait()
note("html", strip(panel._messages()).split("<pre>")[0])
panel.attempts.problem = ""
collect(panel.widget)
stopped = nbopt.Run(nn.Linear(4, 2), (x, y), name="RUN", epochs=5, batch_size=8)
stopped.step()
stopped.stop()
panel = Panel(stopped)
panel.bridge.close()
look(panel)
paused = nbopt.Run(nn.Linear(4, 2), (x, y), name="RUN", epochs=5, batch_size=8)
for line in ("", "demo", "demo nope", "demo a b", "dmo"):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        magics.nbopt(line)
    text = out.getvalue()
    for run in nbopt.run.session.registry.live_runs():
        text = text.replace(run.id, "RUN")
    note(f"%nbopt {line}", text)
from nbopt.notebook.playground.lessons import LESSONS
from nbopt.notebook.playground.playground import Playground

def look_at_board(part):
    part._bridge.close()
    part._paint()
    collect(part.widget)
    note("board", *part.board.texts.values())

play = Playground()
for lesson in LESSONS:
    play.choose(lesson)
    look_at_board(play)
play._hear("no frame")
look_at_board(play)
race = play.race
for surface in ("beale", "bowl"):
    race.choose(surface)
    look_at_board(race)
race.scale(10.0)
race.step(60)
race._hear("no frame")
look_at_board(race)
print(json.dumps(shown))
"""

NAMES = {
    "RUN", "lr", "accuracy", "loss", "adam", "epochs", "code", "panel", "run", "cpu", "TRACE", "x", "early_stopping",
    "Accuracy", "RuntimeError", "β₁", "β₂", "True", "False", "digits", "demo", "nbopt", "mB", "fast",
    "tanh", "ReLU", "SGD", "RMSprop", "Adam",
}  # fmt: skip


@pytest.fixture(scope="module")
def shown():
    done = zygote.run(SCRIPT, bare=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def words_outside(text):
    """The words of a text that stand outside the marks, which may be nested."""
    for tag in re.findall(r'(?:title|aria-label)="([^"]*)"', text):
        text += " " + tag
    text = re.sub(r"<(pre|code)>.*?</\1>", " ", text, flags=re.DOTALL)  # a traceback, a line to run
    text = re.sub(r"<[^>]*>", " ", text)
    before = None
    while before != text:
        before, text = text, re.sub("⟦[^⟦⟧]*⟧", " ", text)
    return set(re.findall(r"[^\W\d_]{2,}\w*|[a-z]+_\w+", text)) - NAMES


def test_the_words_of_the_panel_were_seen(shown):
    everything = " ".join(text for texts in shown.values() for text in texts)
    wanted = ["Start", "Learning rate", "requested", "applied at step", "Journal", "Training", "Finished", "Failed"]
    assert [word for word in wanted if f"⟦{word}" not in everything] == ["Training"]  # never caught at it


def test_the_words_of_the_playground_were_seen(shown):
    everything = " ".join(text for texts in shown.values() for text in texts)
    wanted = ["Press Start", "Overfitting", "Moons", "Decision boundary", "first class", "lost", "Restart", "The board"]
    assert [word for word in wanted if f"⟦{word}" not in everything] == []


def test_no_word_is_shown_that_was_not_translated(shown):
    untranslated = {place: set().union(*map(words_outside, texts)) for place, texts in shown.items()}
    assert {place: words for place, words in untranslated.items() if words} == {}


def test_the_check_finds_what_is_not_translated():
    assert words_outside("⟦Start⟧ 3 / 4") == set()
    assert words_outside('<b title="Now">⟦Go⟧ on</b>') == {"Now", "on"}
    assert words_outside("⟦unknown ⟦demo⟧ 'nope'⟧ why") == {"why"}
