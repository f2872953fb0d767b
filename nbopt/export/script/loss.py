"""The loss of a run, as source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbopt.data.samples import LABELS, SAMPLES, SUM
from nbopt.data.tensor_source import TensorSource
from nbopt.export.script.section import Section
from nbopt.export.script.text import fill, indent, lines
from nbopt.export.source import literal
from nbopt.i18n import _
from nbopt.techniques.losses.base import Elementwise, Loss
from nbopt.techniques.losses.choice import LOSS
from nbopt.techniques.losses.terms import Terms
from nbopt.techniques.losses.traits import IGNORED
from nbopt.techniques.optimizers.standard import OPTIMIZER
from nbopt.techniques.precision.mixed import FULL

_UNCERTAINTY = "uncertainty"
_COUNT = """\
size = $size
total += loss.item() * size
count += size
"""
_COUNT_SOME = """\
size = $size
if size:
    total += loss.item() * size
    count += size
"""


class LossLines(Section):
    """The loss: one of several, or a sum of terms.

    Attributes
    ----------
    definition : str
        The function ``compute_loss``.
    training, measuring : str
        What it is called with, beside outputs and targets.
    passed : list of str
        Those of ``measuring`` that validation has to be told.
    parts : str
        What parts of a batch count, see `nbopt.data.samples`; "" where there are none.
    """

    def write(self) -> None:
        """See `Section`."""
        story, use = self.story, self.values.use
        spec: Any = story.hyperparams.spec(LOSS.name)
        kinds: dict[str, type[Loss]] = {name: spec.classes[name] for name in dict.fromkeys(story.values_of(LOSS.name))}
        self._traits = next(iter(kinds.values())).traits
        self._balances = _UNCERTAINTY in self._values_of("balance")
        self._arguments: list[str] = []
        self.parts = self._find_parts()
        parameters = [use(LOSS.name)] if any(LOSS.name in new for new in story.schedule.values()) else []
        training, measuring = parameters[:], parameters[:]
        called: dict[str, str] = {}
        for name in dict.fromkeys(name for kind in kinds.values() for name in kind.declared()):
            if not any(story.values_of(name)):  # zero, off or text that is none of the loss's
                called[name] = ""
                continue
            if isinstance(story.start[name], str) or (name == "balance_rate" and not self._balances):
                continue
            called[name] = used = use(name)
            regularizes = any(name in each.training_only for kind in kinds.values() for each in _terms(kind))
            if regularizes:
                called[name] = name
            if regularizes or (used == name and name != "balance_rate"):
                parameters.append(name)
                training.append(used)
                measuring.append("0.0" if regularizes else used)
        body = self._body(kinds, called)
        for listed in (parameters, training, measuring):
            listed += self._arguments
        weights = {name: called.get(f"weight_{name}", "") for name in _names(list(kinds.values())[-1])}
        self._write_balance(list(kinds.values())[-1], weights, called.get("balance_rate", ""))
        self.passed = [item for item in measuring if item != "0.0"]
        balance = "" if not self._balances else ", *uncertain" if self._rebalances else ", scales, seen"
        self.training, self.measuring = _listed(training) + balance, _listed(measuring)
        self.words.update(
            training=self.training, begin_note="", note="", record="", val_loss="val_loss", judged="val_loss"
        )
        self.words.update(start="total = 0.0\ncount = 0", mean="total / count", latest="")
        shaped = f"target = target.reshape(output.shape){self._numbers}"
        elementwise = all(issubclass(kind, Elementwise) for kind in kinds.values())
        self.definition = lines(
            f"def compute_loss(output, target{_listed(parameters)}{', scales=None, seen=None' * self._balances}):",
            '    """Return the mean loss of a batch."""',
            indent(lines(shaped if elementwise else "", *body)),
        )

    # -- the function

    @property
    def _numbers(self) -> str:
        """What turns targets into numbers like the outputs'."""
        return ".float()" if any(name != FULL for name in self.story.values_of("precision")) else ".to(output.dtype)"

    def _body(self, kinds: Mapping[str, type[Loss]], called: Mapping[str, str]) -> list[str]:
        body = []
        for name, kind in list(kinds.items())[:-1]:
            body += [f"if loss_name == {literal(name)}:", f"    return {self._written(kind, called)}"]
        last = list(kinds.values())[-1]
        return body + (
            self._sum(last, called) if issubclass(last, Terms) else [f"return {self._written(last, called)}"]
        )

    def _sum(self, kind: type[Terms], called: Mapping[str, str]) -> list[str]:
        body, values = [], []
        if any(issubclass(term, Elementwise) for term in kind.kinds.values()):
            body.append(f"numbers = target.reshape(output.shape){self._numbers}")
        for term in kind.kinds.values():
            values.append(self._written(term, called, "numbers" if issubclass(term, Elementwise) else "target"))
        if self._balances:
            body += ["terms = [", *(f"    {value}," for value in values), "]", "if scales is not None:"]
            body += ["    seen.append(torch.stack([term.detach() for term in terms]))"]
            body += ["    terms = balance_terms(terms, scales)"]
            values = [f"terms[{k}]" for k in range(len(values))]
        for k, (name, value) in enumerate(zip(kind.kinds, values, strict=True)):
            body.append(f"total = {'total + ' if k else ''}{called[f'weight_{name}'] or '0.0'} * {value}")
        return [*body, "return total"]

    def _written(self, kind: type[Loss], called: Mapping[str, str], target: str = "target") -> str:
        if kind.source:
            for function in kind.functions:
                self.sources.name_for(_("the loss"), function)
            return kind.written({**called, "target": target})
        argument = "loss" if "loss" not in self.sources.arguments else f"loss_{len(self._arguments) + 1}"
        name = self.sources.name_for(_("the loss"), kind.functions[0], argument)
        if name == argument:
            name = name.replace("loss", "loss_function", 1)
            self._arguments.append(name)
        shaped = ".reshape(output.shape)" if kind.traits.elementwise else ""
        return f"{name}(output, {target}{shaped})"

    # -- terms that are balanced

    @property
    def _rebalances(self) -> bool:
        return len(set(self._values_of("balance"))) > 1

    def _write_balance(self, kind: type[Loss], weights: Mapping[str, str], rate: str) -> None:
        self.words.update(balances="", term_weights="", balance_rate="0.0")
        if not self._balances or not self._rebalances:
            self.known["uncertain"] = False
        if not self._balances:
            self.known["seen"] = False
            return
        assert issubclass(kind, Terms)
        first = f"scales = [0.0] * {len(kind.kinds)}  # log variances of the loss's terms"
        self.words["balances"] = lines(first, "seen = []  # the terms of the present step")
        self.words["term_weights"] = "\n".join(f"{weight or '0.0'}," for weight in weights.values())
        self.words["balance_rate"] = rate or "0.0"

    def _values_of(self, name: str) -> list[Any]:
        """Return all values of a hyperparameter that not every loss has."""
        return self.story.values_of(name) if name in self.story.start else []

    # -- what a batch counts

    def as_batch(self, usual_size: str) -> str:
        """Lines that make a sum in validation as large as that of a batch."""
        return f"val_loss *= {usual_size}  # as much as a batch" if self.sums else ""

    @property
    def sums(self) -> bool:
        """Whether validation adds up losses that are sums."""
        return self.story.val is not None and self._traits.reduction == "sum"

    @property
    def measure(self) -> str:
        """The line that works out the loss of a batch in validation."""
        return f"loss = compute_loss(output, target{self.measuring})"

    @property
    def add(self) -> str:
        """Lines that add up the losses of batches in validation."""
        size = self._counted
        if size:
            return fill(_COUNT_SOME, size=size)
        size = "len(batch[0])"
        if not isinstance(self.story.train if self.story.val is None else self.story.val, TensorSource):
            size = "sample_count(batch)" if self.sums else "size_of(target, batch)"
        return f"total += loss.item()\ncount += {size}" if self.sums else fill(_COUNT, size=size)

    @property
    def _counted(self) -> str:
        """How much of a batch counts in validation, as an expression; "" if it is a number of samples."""
        if self.story.val is None or self.sums or self._traits.counts not in ("labels", "numbers"):
            return ""
        if self._traits.counts == "numbers":
            return "target.numel()"
        ignored = "" if self._traits.ignored == IGNORED else f", {self._traits.ignored}"
        if self._traits.weight is None:
            return f"count_labels(target{ignored})"
        return f"weigh_labels(target, {literal(self._traits.weight.tolist())}{ignored})"

    @property
    def ignored(self) -> str:
        """The label that does not count."""
        return literal(self._traits.ignored)

    def _find_parts(self) -> str:
        """Return what the parts of a batch count, as the run found it.

        Raises
        ------
        ValueError
            Where that is not known, or by class weights.
        """
        story, traits = self.story, self._traits
        if not any(story.values_of("micro_batch")):
            return ""
        found = {"sum": SUM, "mean": LABELS if traits.counts == "labels" else SAMPLES}.get(traits.reduction, "")
        rule: str = story.split.get("rule", found)
        if not rule and not story.done:
            way = _("how much parts of a batch count is found out in the first step: export the run after it")
            raise ValueError(_("the loss cannot be exported: {rule}.", rule=way))
        train = story.train
        labels = train.columns[1] if isinstance(train, TensorSource) and len(train.columns) == 2 else None
        all_count = labels is not None and story.forward is None and not bool((labels == traits.ignored).any())
        rule = SAMPLES if rule == LABELS and all_count else rule
        spec: Any = story.hyperparams.spec(OPTIMIZER.name)  # some take gradients of gradients, or the loss repeatedly
        repeats = any(spec.classes[name].full_batch for name in story.values_of(OPTIMIZER.name))
        if traits.weight is not None or (rule == LABELS and repeats):
            told = _("parts of a batch are written out for a mean over labels that count alike: set micro_batch=0")
            raise ValueError(_("the loss cannot be exported: {rule}.", rule=told))
        return rule


def _terms(kind: type[Loss]) -> list[type[Loss]]:
    return list(kind.kinds.values()) if issubclass(kind, Terms) else [kind]


def _names(kind: type[Loss]) -> list[str]:
    return list(kind.kinds) if issubclass(kind, Terms) else []


def _listed(names: list[str]) -> str:
    return "".join(f", {name}" for name in names)
