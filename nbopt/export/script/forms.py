"""Mixed precision and memory format of a run, as source."""

from __future__ import annotations

import torch

from nbopt.data.tensor_source import TensorSource
from nbopt.export.script.optimizer import optimizers_of
from nbopt.export.script.section import Section
from nbopt.export.summary import RunSummary
from nbopt.i18n import _
from nbopt.techniques.optimizers.second_order import LBFGS
from nbopt.techniques.precision.channels_last import lay_channels_last, lay_out
from nbopt.techniques.precision.mixed import FULL, SCALED, cast_to


class FormSource(Section):
    """What a script says of the forms that numbers take.

    Attributes
    ----------
    variables : list of str
        Those that validation needs.

    Raises
    ------
    ValueError
        For an optimizer that does not go with float16.
    """

    def write(self) -> None:
        """See `Section`."""
        self.variables: list[str] = []
        self._write_precision()
        self._write_order()

    def _write_precision(self) -> None:
        flags, words = self.flags, self.words
        values = set(self.story.values_of("precision"))
        flags["casts"] = casts(self.story)
        flags["scales"] = SCALED in values
        flags["rescales"] = SCALED in values and len(values) > 1
        flags["widens"] = flags["casts"] and not isinstance(self.story.loss, str)  # others may return 16 bits
        words["precision"] = self._called("precision") if flags["casts"] else ""
        words["widened"] = ".float()" if flags["casts"] else ""
        for loss in ("loss", "part_loss"):
            scaled = f"scaler.scale({loss})" if flags["scales"] else loss
            words[f"scaled_{loss}"] = f"{scaled} if scaled else {loss}" if flags["rescales"] else scaled
            words[f"base_{loss}"] = f"({words[f'scaled_{loss}']})" if flags["rescales"] else scaled
        if flags["casts"]:
            self.sources.name_for(_("the precision"), cast_to)
        adopted = self.story.adopted
        if flags["scales"] and isinstance(adopted, torch.optim.SGD) and adopted.param_groups[0]["fused"]:
            raise ValueError(_("in float16, a script cannot hold SGD made with fused=True: make it without."))

    def _write_order(self) -> None:
        flags, words = self.flags, self.words
        images = "channels_last" not in self.story.inert
        flags["lays"] = images and any(self.story.values_of("channels_last"))
        flags["contiguous"] = images and not flags["lays"]  # a run lays out what it is given, whatever order it is in
        flags["relays"] = flags["lays"] and any("channels_last" in new for new in self.story.schedule.values())
        flags["strings"] = flags["lays"] and any(issubclass(kind, LBFGS) for kind in optimizers_of(self.story))
        words["channels_last"] = words["lay_batch"] = ""
        if flags["lays"]:
            words["channels_last"] = self._called("channels_last")
            words["lay_batch"] = "batch = tuple(map(lay_channels_last, batch))"
            if not isinstance(self.story.train, TensorSource):
                words["lay_batch"] = "batch = tree_map(lay_channels_last, batch)"
            if flags["relays"]:
                words["lay_batch"] = f"if {words['channels_last']}:\n    {words['lay_batch']}"
            for function in (lay_channels_last, lay_out):
                self.sources.name_for(_("the memory format"), function)

    def _called(self, name: str) -> str:
        used = self.use(name)
        if not used.isupper():
            self.variables.append(used)
        return used


def casts(story: RunSummary) -> bool:
    """Whether a run used mixed precision."""
    return any(name != FULL for name in story.values_of("precision"))
