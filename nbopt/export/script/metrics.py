"""The metrics of a run, as source."""

from __future__ import annotations

from collections.abc import Mapping

from nbopt.export.script.section import Section
from nbopt.export.script.text import plain
from nbopt.export.source import literal
from nbopt.i18n import _
from nbopt.techniques.metrics.by_output import OfOutput
from nbopt.techniques.metrics.choice import METRICS, NUMBERS


class Metrics(Section):
    """The metrics that a script can hold."""

    def write(self) -> None:
        """See `Section`."""
        story = self.story
        by_output = any(isinstance(metric, OfOutput) for metric in story.metrics.values())
        rows = []
        for name, metric in story.metrics.items():
            try:
                own = metric.metric if isinstance(metric, OfOutput) else metric
                if own is metric and isinstance(story.loss, Mapping):
                    raise ValueError(_("it takes all outputs at once"))
                if story.unread and any(own is item for item in METRICS.values()) and own not in NUMBERS:
                    raise ValueError(story.unread)
                called = self.sources.name_of(own, name if name.isidentifier() else "metric")
                called = f"({literal(metric.place)}, {called})" if isinstance(metric, OfOutput) else called
                rows.append(f"{literal(name)}: {called}")
            except ValueError as error:
                self.draft.left_out.append(f"\n# The metric {plain(name)} is left out: {plain(str(error))}")
        widened = ".float()" * story.narrow
        detached = ".detach()" * story.needs_graph
        kept = [f"output.detach(){widened}", f"output{detached}{widened}", "output.numel()", "measure"]
        if by_output:
            kept = ["keep_outputs(output)", "keep_outputs(output)", "count_outputs(output)", "measure_outputs"]
        self.words.update(zip(("kept", "measured", "count_outputs", "measure_all"), kept, strict=True))
        self.words.update(results=", results" * bool(rows), outcome=", and each (output, target)" * bool(rows))
        weighs = "target" in self.words["weigh"]
        taken = "target, loss = do(batch)[1:]" if weighs else "loss = do(batch)[2]"
        self.words["take_pass"] = "output, target, loss = do(batch)" if rows else taken
        if by_output and rows:
            self.draft.functions.append("\n".join(["METRICS = {", *(f"    {row}," for row in rows), "}"]))
        elif rows:
            self.draft.functions.append(f"METRICS = {{{', '.join(rows)}}}")
