"""The losses and metrics of several outputs, as source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbopt.data.samples import SUM
from nbopt.export.script.loss import LossLines
from nbopt.export.script.text import fill, indent, lines
from nbopt.export.source import Sources, literal
from nbopt.export.summary import RunSummary
from nbopt.techniques.losses.base import Elementwise, Loss
from nbopt.techniques.losses.by_output import ByOutput, judges_anew
from nbopt.techniques.losses.choice import LOSS

_RECORD = """\
for name, value in evaluations[0].items():
    history[name].append(float(value))
evaluations.clear()
"""


class LossesLines(LossLines):
    """What a script says of the losses of several outputs: a function of them all, and ``compute_loss``, their sum."""

    def write(self) -> None:
        """See `Section`."""
        spec: Any = self.story.hyperparams.spec(LOSS.name)
        self._kind: type[ByOutput] = spec.classes[self.story.start[LOSS.name]]
        self._traits = self._kind.traits
        self._arguments = []
        self._balances = "uncertainty" in self._values_of("balance")
        self.parts = self._find_parts()
        parameters: list[str] = []
        training, measuring = list[str](), list[str]()
        body = ["losses = {}"]
        for name, kind in self._kind.kinds.items():
            called = self._settings(name, kind, parameters, training, measuring)
            body += self._loss_of(name, kind, called)
        for listed in (parameters, training, measuring):
            listed += self._arguments
        weights = {name: self._called(f"{name}_weight") for name in self._kind.kinds}
        live = [weight for weight in weights.values() if not weight.isupper() and weight != "0.0"]
        self._weights = {f"{name}_loss": weight for name, weight in weights.items()}
        rate = self.values.use("balance_rate") if self._balances else "0.0"
        self._write_balance(self._kind, weights, rate)
        self.passed = [item for item in measuring if item != "0.0"]
        balance = "" if not self._balances else ", *uncertain" if self._rebalances else ", scales, seen"
        self.training = "".join(f", {name}" for name in (*training, *live)) + balance
        self.measuring = "".join(f", {name}" for name in measuring)
        self._write_words()
        self._watch()
        told = "".join(f", {name}" for name in parameters)
        taken = "".join(f", {name}" for name in (*parameters, *live))
        self.definition = lines(
            f"def losses_of(outputs, targets{told}):",
            '    """Return the mean loss of each output."""',
            fill(indent(lines(*body, "return losses"))),
            "\n\n",
            f"def compute_loss(output, target{taken}{', scales=None, seen=None' * self._balances}, latest=None):",
            '    """Return the weighted sum of the losses; ``latest`` takes note of each."""',
            indent(lines(*self._sum_of(told))),
        )

    def _write_words(self) -> None:
        shared = ", share" if self.parts and self.parts != SUM else ""
        self.words.update(
            training=self.training,
            latest=", latest=latest",
            begin_note="evaluations.append({})",
            note=f"take_note(evaluations[-1], latest{shared})",
            record=_RECORD,
            val_loss="val_losses",
            judged="val_loss",
            start="totals, counts = defaultdict(float), defaultdict(int)",
            mean="{name: totals[name] / counts[name] for name in counts}",
        )
        first = "latest = {}  # the losses of the last pass, output by output\nevaluations = []  # those of the step"
        self.words["balances"] = lines(self.words["balances"], first)

    def _watch(self) -> None:
        """Write which loss validations are judged by, and when that is another one."""
        story = self.story
        self._watched = ""
        if not story.stops_early and not any("restore_best" in new for new in story.schedule.values()):
            return
        if set(story.values_of("monitor")) != {"loss"}:
            self._watched, self.words["judged"] = self.values.use("monitor"), "judged"
        monitor = story.start["monitor"]
        for step, new in story.schedule.items():
            monitor = new.get("monitor", monitor)
            if any(judges_anew(self._kind, name, monitor) for name in new):
                self.values.plan({step: {"judge_anew": True}})

    def _settings(
        self, name: str, kind: type[Loss], parameters: list[str], training: list[str], measuring: list[str]
    ) -> dict[str, str]:
        """Return what the script calls a loss's own hyperparameters, which are entered into the lists."""
        called = {}
        for own in kind.declared():
            full = f"{name}_{own}"
            if not any(self.story.values_of(full)):  # zero all the time
                called[own] = ""
                continue
            used = called[own] = self.values.use(full)
            if own in kind.training_only:
                called[own] = full
            if own in kind.training_only or not used.isupper():
                parameters.append(called[own])
                training.append(used)
                measuring.append("0.0" if own in kind.training_only else used)
        return called

    def _called(self, name: str) -> str:
        return self.values.use(name) if any(self.story.values_of(name)) else "0.0"

    def _loss_of(self, name: str, kind: type[Loss], called: Mapping[str, str]) -> list[str]:
        place = literal(self._kind.places[name])
        shaped = f"target = target.reshape(output.shape){self._numbers}"
        return [
            f"output, target = item_at(outputs, {place}), item_at(targets, {place})",
            *([shaped] if issubclass(kind, Elementwise) else []),
            f"losses[{literal(f'{name}_loss')}] = {self._written(kind, called)}",
        ]

    def _sum_of(self, told: str) -> list[str]:
        body = [
            f"losses = losses_of(output, target{told})",
            "if latest is not None:",
            "    latest.update({name: loss.detach() for name, loss in losses.items()})",
        ]
        if self._balances:
            body += ["if scales is not None:"]
            body += ["    seen.append(torch.stack([loss.detach() for loss in losses.values()]))"]
            body += ["    losses = dict(zip(losses, balance_terms(list(losses.values()), scales)))"]
        return [*body, *self._total("total", "losses"), "return total"]

    def _total(self, name: str, losses: str) -> list[str]:
        """Return lines that work out the weighted sum."""
        first, *others = [f"{weight} * {losses}[{literal(key)}]" for key, weight in self._weights.items()]
        return [f"{name} = {first}", *(f"{name} = {name} + {other}" for other in others)]

    # -- validation

    @property
    def measure(self) -> str:
        """See `LossLines`."""
        return f"losses = losses_of(output, target{self.measuring})"

    @property
    def sums(self) -> bool:
        """See `LossLines`; each of the losses says so itself."""
        return False

    @property
    def add(self) -> str:
        """Lines that add up the losses of batches in validation."""
        found = []
        for name, kind in self._kind.kinds.items():
            self._traits = kind.traits
            place, key = literal(self._kind.places[name]), literal(f"{name}_loss")
            counted = self._counted.replace("target", f"item_at(target, {place})", 1)
            sums = self.story.val is not None and kind.traits.reduction == "sum"
            size = "sample_count(batch)" if sums else counted or f"size_of(item_at(target, {place}), batch)"
            found += [f"size = {size}", "if size:", f"    counts[{key}] += size"]
            found += [f"    totals[{key}] += losses[{key}].item(){' * size' * (not sums)}"]
        return lines(*found)

    def as_batch(self, usual_size: str) -> str:
        """Lines that make sums of losses as large as those of a batch, and add up all losses."""
        sums = [name for name, kind in self._kind.kinds.items() if kind.traits.reduction == "sum"]
        found = [f"val_losses[{literal(f'{name}_loss')}] *= {usual_size}  # as much as a batch" for name in sums]
        record = 'for name, value in val_losses.items():\n    history["val_" + name].append(value)'
        judged = f"judged = val_losses.get({self._watched}, val_loss)" if self._watched else ""
        return lines(*found, *self._total("val_loss", "val_losses"), record, judged)


def lines_of_loss(story: RunSummary, sources: Sources, values: Any) -> LossLines:
    """Return what a script says of a run's loss."""
    kind = LossesLines if isinstance(story.loss, Mapping) else LossLines
    return kind(story, sources, values)
