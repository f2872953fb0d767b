"""The page's half of a study's panel, and the words on it (study.js)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import traitlets

from nbopt.i18n import N_
from nbopt.notebook.frontend.scripts import joined
from nbopt.notebook.population.curves import CurvesBoard

_HERE = Path(__file__).parent

WORDS = {
    "by": N_("Colour by"),
    "across": N_("Across"),
    "upward": N_("Upward"),
    "log": N_("Log y"),
    "member": N_("Trial"),
    "title": N_("Trials"),
    "order": N_("Sort by {name}"),
    "best": N_("Best"),
    "steps": N_("Steps"),
    "seconds": N_("Seconds"),
    "state": N_("State"),
    "source": N_("Chosen by"),
    "nobody": N_("Best so far: no trial is complete yet"),
    "fan": N_("of {count} trials, by validation"),
    "against": N_("against"),
    "held": N_("line: best so far"),
    "front": N_("line: Pareto front"),
    "parallel": N_("Values and what they reached"),
    "empty": N_("Nothing is measured yet."),
    "silent": N_("Trials report nothing on the way."),
    "some": N_("{count} of {size} trials chosen"),
    "brush_hint": N_("Drag along an axis to brush; by keyboard, Tab to its ends and use the arrows"),
    "within": N_("{count} of {size} trials within the brush"),
    "found": N_("{count} of {size} trials match"),
    "hint": N_("Click a curve, a point or a row to choose a trial; Ctrl or Shift for several"),
    "none": N_("Choose none"),
    "filter": N_("Filter"),
    "filter_hint": N_("words, or lr<0.01 state=complete"),
    "narrow": N_("Narrow the space to the brush"),
    "narrow_tip": N_("From the next trial on, only these ranges are searched"),
    "clear": N_("Clear the brush"),
    "from": N_("{name}: brush from"),
    "to": N_("{name}: brush to"),
    "kind": N_("{name}: brush {option}"),
    "space": N_("The space"),
    "trials": N_("Trials"),
    "set": N_("Set"),
    "set_tip": N_("The number of trials"),
    "pin": N_("Pin"),
    "pin_tip": N_("Use this value in all trials from the next one on: {name}"),
    "widen": N_("Whole range"),
    "widen_tip": N_("Search the whole declared range again: {name}"),
    "pinned": N_("pinned at {value}"),
    "value": N_("{name}: value"),
    "open": N_("sampler chooses"),
    "add": N_("Add a trial"),
    "add_tip": N_("Train a trial with the values below next; the sampler chooses those left empty"),
    "end": N_("Stop"),
    "end_tip": N_("End the chosen trials after their current step; the others continue"),
    "rest": N_("Pause"),
    "rest_tip": N_("Pause it between two steps; the others continue"),
    "onward": N_("Resume"),
    "onward_tip": N_("Continue it"),
    "promote": N_("Go on as a run"),
    "promote_tip": N_("Show it below as a run that continues from where the trial ended"),
    "clone": N_("Clone with changes"),
    "clone_tip": N_("Show it below as a run that continues with the values changed below"),
    "all": N_("No trial chosen"),
    "one": N_("Trial {number}"),
    "many": N_("{count} trials"),
}
"""What the page says."""


class StudyBoard(CurvesBoard):
    """What the browser draws of a study; written by a bridge alone. See study.js for what the bytes hold."""

    _esm = joined(_HERE / "study.js")
    _css: Any = f"{CurvesBoard._css}\n{(_HERE / 'study.css').read_text(encoding='utf-8')}"
    given: Any = traitlets.List().tag(sync=True)
    values = traitlets.Bytes().tag(sync=True)
    places = traitlets.Bytes().tag(sync=True)
    grown: Any = traitlets.List().tag(sync=True)
    found = traitlets.Bytes().tag(sync=True)
    found_places = traitlets.Bytes().tag(sync=True)
    hues = traitlets.Bytes().tag(sync=True)
    x = traitlets.Unicode().tag(sync=True)
    y = traitlets.Unicode().tag(sync=True)
    line = traitlets.Bytes().tag(sync=True)
    measure = traitlets.Unicode().tag(sync=True)
    spent = traitlets.Bytes().tag(sync=True)
    sources = traitlets.Bytes().tag(sync=True)
    source_words: Any = traitlets.List().tag(sync=True)
    champion: Any = traitlets.Dict({"trial": -1, "text": ""}).tag(sync=True)
    space: Any = traitlets.List().tag(sync=True)
    total = traitlets.Int(0).tag(sync=True)
    acts: Any = traitlets.Dict().tag(sync=True)
