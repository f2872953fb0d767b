"""Edits of the model's structure as functions of a script, and where its loop calls them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping

from torch import nn

from nbopt.data.tensor_source import TensorSource
from nbopt.export.edits import Size, ToldEdit
from nbopt.export.script.section import Section
from nbopt.export.script.text import WIDTH, indent, lines, plain
from nbopt.export.source import literal
from nbopt.i18n import _

_SHORTEST = 4  # numbers in a row that are written as a range


class Edits(Section):
    """The edits that were made, in order: a function for each."""

    def write(self) -> None:
        """See `Section`."""
        self._given: dict[str, str] = {}
        self.words.update(edits="", edit_end="")
        edits = self.story.edits
        if not edits:
            return
        self._refuse()
        made = [self._make(number, edit) for number, edit in enumerate(edits)]
        self.words["edits"] = "edits = [" + ", ".join(made) + "]"
        if len(self.words["edits"]) > WIDTH - 4:
            self.words["edits"] = lines("edits = [", *(f"    {each}," for each in made), "]")
        end, by_step = self.story.steps, dict[int, list[int]]()
        for number, edit in enumerate(edits):
            by_step.setdefault(edit.step, []).append(number)
        late = [number for step, numbers in by_step.items() if step == end for number in numbers]
        self.draft.plan({step: {"edits": numbers} for step, numbers in by_step.items() if step != end})
        self.words["edit_end"] = "\n".join(f"edits[{number}](model, optimizer)" for number in late)
        if self.words["draws"] and any(edits[number].written.passes for number in late):
            self.words["edit_end"] = (
                f"step = STEPS_DONE\n{self.words['edit_end']}"  # what passes draw is the next step's
            )

    def _refuse(self) -> None:
        """Raise where a script would not do what the run did."""
        for edit in self.story.edits:
            if reason := edit.written.refused or (edit.written.passes and self._find_passless()):
                told = _("in step {step} the model got another shape ({change})", step=edit.step, change=edit.words)
                raise ValueError(_("{told}, which a script does not hold: {reason}.", told=told, reason=reason))

    def _find_passless(self) -> str:
        """Say why a script cannot do passes of training samples as the run did; "" if it can."""
        train, loss = self.story.train, self.story.loss
        if self.draft.has("change_weights", "change_activations"):
            return _("batch normalization is measured with the weights that techniques make; turn them off before")
        if not isinstance(train, TensorSource) or train.sampler is not None:
            return _("batch normalization is measured on samples that a loader deals; give train as tensors, (X, y)")
        if not isinstance(loss, (str, nn.Module)):
            return _("batch normalization is measured in passes of a loss of your own, which may draw random numbers")
        return ""

    def _make(self, number: int, edit: ToldEdit) -> str:
        """Write the function of an edit; return how the script calls it."""
        name, written = f"edit_{number}", edit.written
        arguments, body = ["model", "optimizer"], list[str]()
        for function in written.uses:
            self.sources.name_of(function)
        if edit.settled:
            arguments.append("change_weights")
            body.append("settle(model, change_weights)")
        if edit.sizes:
            body += [*_table(edit.sizes), "resize(model, optimizer, sizes)"]
        for place, values in edit.attributes.items():
            settings = ", ".join(f"{key}={literal(value)}" for key, value in values.items())
            body.append(f"vars(model.get_submodule({literal(place)})).update({settings})")
        given = ""
        if written.given:
            called, label = written.given
            if label not in self._given:
                reason = _("{name} holds weights: what the edit of step {step} was given.", name=label, step=edit.step)
                self._given[label] = self.sources.argument(called, f"{called}_{number}", reason)
            given = f"{called}={self._given[label]}"
            arguments.append(called)
        arguments += ["run_passes"] * written.passes
        body += written.lines
        said = textwrap.wrap(plain(f"{edit.kind.capitalize()}: {edit.words}"), WIDTH - 12)
        told = f'"""{said[0]}."""' if len(said) == 1 else "\n".join([f'"""{said[0]}', *said[1:]]) + '.\n"""'
        self.draft.functions.append(f"def {name}({', '.join(arguments)}):\n{indent(lines(told, *body))}\n")
        named = ["change_weights=change_weights"] * edit.settled
        named += [given] * bool(given)
        named += ["run_passes=run_passes"] * written.passes
        return f"partial({name}, {', '.join(named)})" if named else name


def _table(sizes: Mapping[str, list[Size]]) -> Iterable[str]:
    """Yield the lines of a table of sizes, whose numbers stand in rows."""
    yield "# A dimension, units along it, their factors and those of gradients, where they go."
    yield "# fmt: off"
    yield "sizes = {"
    for name, changes in sizes.items():
        yield f"    {literal(name)}: ["
        for dim, units, factors, slopes, into in changes:
            parts = [_places(units), literal(factors), literal(slopes), "None" if into is None else _places(into)]
            rows = textwrap.wrap(f"({dim}, {', '.join(parts)}),", WIDTH - 16, break_long_words=False)
            yield "\n".join(f"        {row}" for row in rows)
        yield "    ],"
    yield "}"
    yield "# fmt: on"


def _places(places: list[int]) -> str:
    """Return whole numbers as a list, those in a row as ranges."""
    parts, start = list[str](), 0
    for end in range(1, len(places) + 1):
        if end < len(places) and places[end] == places[end - 1] + 1:
            continue
        if end - start >= _SHORTEST:
            first = f"{places[start]}, " if places[start] else ""
            parts.append(f"*range({first}{places[end - 1] + 1})")
        else:
            parts += map(str, places[start:end])
        start = end
    return f"[{', '.join(parts)}]"
