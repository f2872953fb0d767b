"""The inputs of a control, and what they and the page show."""

from __future__ import annotations

from nbopt.formatting import number
from nbopt.hyperparams import Flag, Text


def inputs_of(control):
    """Slider and box of a number, or the one input of a choice or flag."""
    return control.inputs if len(control.inputs) == 2 else (control.inputs[0], None)


def shows(control, value):
    """Whether all inputs of a control say `value`, in the kernel."""
    item, box = inputs_of(control)
    return item.value == value and (box is None or box.value == number(value))


def page_shows(page, control, value):
    """Whether all inputs of a control say `value`, at the page."""
    item, box = inputs_of(control)
    state = page.state(item)
    if box is None and isinstance(control.spec, (Flag, Text)):
        return state["value"] == value
    label = state["_options_labels"][state["index"]]
    return label == number(value) and (box is None or page.state(box)["value"] == number(value))


def settled(page, panel):
    """Whether panel, page and run all say the same."""
    return all(
        shows(control, panel.run.hyperparams[name]) and page_shows(page, control, panel.run.hyperparams[name])
        for name, control in panel.controls.items()
    )


def changes(run):
    return [tuple(entry[1:5]) for entry in run.journal.changes()]
