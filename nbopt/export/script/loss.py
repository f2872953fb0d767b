"""The loss of a run, as source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbopt.data.samples import LABELS, SAMPLES, SUM
from nbopt.data.tensor_source import TensorSource
from nbopt.export.script.forms import casts
from nbopt.export.script.section import Section
from nbopt.export.source import literal
from nbopt.export.summary import RunSummary
from nbopt.i18n import _
from nbopt.techniques.losses.base import Elementwise, Loss
from nbopt.techniques.losses.choice import LOSS
from nbopt.techniques.losses.terms import Terms, balance_terms, move_scales
from nbopt.techniques.losses.traits import Traits
from nbopt.techniques.optimizers.standard import OPTIMIZER

_UNCERTAINTY = "uncertainty"


class LossSource(Section):
    """What a script says of its loss.

    Attributes
    ----------
    swapped : bool
        Whether the loss changes on the way.

    Raises
    ------
    ValueError
        For a loss that cannot be written out.
    """

    def write(self) -> None:
        """See `Section`."""
        story, use = self.story, self.use
        spec: Any = story.hyperparams.spec(LOSS.name)
        if isinstance(story.loss, Mapping):
            raise ValueError(_("the loss cannot be exported: a script does not hold several outputs yet."))
        names = list(dict.fromkeys(story.values_of(LOSS.name)))
        kinds: dict[str, type[Loss]] = {name: spec.classes[name] for name in names}
        self.swapped = any(LOSS.name in new for new in story.schedule.values())
        parameters = [use(LOSS.name)] if self.swapped else []
        training, measuring = parameters[:], parameters[:]
        called: dict[str, str] = {}
        balances = self.flags["balances"] = _UNCERTAINTY in self._values_of("balance")
        for name in dict.fromkeys(name for kind in kinds.values() for name in kind.declared()):
            if not any(story.values_of(name)):  # zero, off or text that is none of the loss's
                called[name] = ""
                continue
            if isinstance(story.start[name], str) or (name == "balance_rate" and not balances):
                continue
            called[name] = used = use(name)
            regularizes = any(name in each.training_only for kind in kinds.values() for each in _terms(kind).values())
            if regularizes:
                called[name] = name
            if regularizes or (used == name and name != "balance_rate"):
                parameters.append(name)
                training.append(used)
                measuring.append("0.0" if regularizes else used)
        body = self._write_body(kinds, called)
        for name in self._arguments:
            for listed in (parameters, training, measuring):
                listed.append(name)
        passed = [item for item in measuring if item != "0.0"]
        self.words["loss_parameters"] = _listed(parameters) + ", scales=None, seen=None" * balances
        self.words["loss_arguments"] = _listed(training) + self._write_balance(kinds, called)
        self.words["measure_arguments"] = _listed(measuring)
        self.words["measure_parameters"] = _listed(passed)
        self.flags["elementwise"] = all(issubclass(kind, Elementwise) for kind in kinds.values())
        self.words["loss_body"] = "\n".join(body)

    def _write_body(self, kinds: Mapping[str, type[Loss]], called: Mapping[str, str]) -> list[str]:
        self._arguments: list[str] = []
        self._count(next(iter(kinds.values())).traits)
        body = []
        for name, kind in list(kinds.items())[:-1]:
            body += [f"if loss_name == {literal(name)}:", f"    return {self._written(kind, called)}"]
        last = list(kinds.values())[-1]
        return body + (
            self._sum(last, called) if issubclass(last, Terms) else [f"return {self._written(last, called)}"]
        )

    def _count(self, traits: Traits) -> None:
        """Write what a batch of validation weighs."""
        validates = self.story.val is not None
        self.flags["sums"] = sums = validates and traits.reduction == "sum"
        self._write_shares(traits)
        self.flags["class_weights"] = traits.weight is not None
        self.words["class_weights"] = "" if traits.weight is None else literal(traits.weight.tolist())
        self.flags["counts_labels"] = validates and traits.counts == "labels" and not sums
        self.flags["counts"] = self.flags["counts_labels"] or (validates and traits.counts == "numbers" and not sums)
        self.words["counted"] = "count_labels(target)" if traits.counts == "labels" else "target.numel()"
        self.words["ignored"] = literal(traits.ignored)

    def _write_shares(self, traits: Traits) -> None:
        """Write what the parts of a batch count, as the run found it.

        Raises
        ------
        ValueError
            Where that is not known, or by class weights.
        """
        story, flags = self.story, self.flags
        flags["adds"] = flags["by_labels"] = False
        if not any(story.values_of("micro_batch")):
            return
        found = {"sum": SUM, "mean": LABELS if traits.counts == "labels" else SAMPLES}.get(traits.reduction, "")
        rule = story.split.get("rule", found)
        if not rule and not story.done:
            way = _("how much parts of a batch count is found out in the first step: export the run after it")
            raise ValueError(_("the loss cannot be exported: {rule}.", rule=way))
        train = story.train
        labels = train.columns[1] if isinstance(train, TensorSource) and len(train.columns) == 2 else None
        all_count = labels is not None and story.forward is None and not bool((labels == traits.ignored).any())
        flags["adds"] = rule == SUM
        flags["by_labels"] = rule == LABELS and not all_count
        if traits.weight is not None or (flags["by_labels"] and _is_curved(story)):
            told = _("parts of a batch are written out for a mean over labels that count alike: set micro_batch=0")
            raise ValueError(_("the loss cannot be exported: {rule}.", rule=told))

    def _write_balance(self, kinds: Mapping[str, type[Loss]], called: Mapping[str, str]) -> str:
        """Write how terms are balanced, if they are; return the arguments that the loss gets for it."""
        self.flags["rebalances"] = changes = len(set(self._values_of("balance"))) > 1
        self.words.update(dict.fromkeys(("balance", "balance_rate", "term_count", "term_weights"), ""))
        if not self.flags["balances"]:
            return ""
        terms = next(kind for kind in kinds.values() if issubclass(kind, Terms)).kinds
        weights = [called[f"weight_{name}"] or "0.0" for name in terms]
        self.sources.name_for(_("the loss"), move_scales)
        self.sources.name_for(_("the loss"), balance_terms)
        self.words["balance"] = self.use("balance") if changes else ""
        self.words["balance_rate"] = called["balance_rate"] or "0.0"
        self.words["term_count"] = str(len(terms))
        self.words["term_weights"] = "\n".join(f"{weight}," for weight in weights)
        return ", *uncertain" if changes else ", scales, seen"

    def _sum(self, kind: type[Terms], called: Mapping[str, str]) -> list[str]:
        lines, values = [], []
        if any(issubclass(term, Elementwise) for term in kind.kinds.values()):
            dtype = ".float()" if casts(self.story) else ".to(output.dtype)"
            lines.append(f"numbers = target.reshape(output.shape){dtype}")
        for term in kind.kinds.values():
            values.append(self._written(term, called, "numbers" if issubclass(term, Elementwise) else "target"))
        if self.flags["balances"]:
            lines += ["terms = [", *(f"    {value}," for value in values), "]", "if scales is not None:"]
            lines += ["    seen.append(torch.stack([term.detach() for term in terms]))"]
            lines += ["    terms = balance_terms(terms, scales)"]
            values = [f"terms[{k}]" for k in range(len(values))]
        for k, (name, value) in enumerate(zip(kind.kinds, values, strict=True)):
            lines.append(f"total = {'total + ' if k else ''}{called[f'weight_{name}'] or '0.0'} * {value}")
        return [*lines, "return total"]

    def _values_of(self, name: str) -> list[Any]:
        """Return all values of a hyperparameter that not every loss has."""
        return self.story.values_of(name) if name in self.story.start else []

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


def _is_curved(story: RunSummary) -> bool:
    """Whether an optimizer takes gradients of gradients, or the loss again and again."""
    spec: Any = story.hyperparams.spec(OPTIMIZER.name)
    return any(spec.classes[name].full_batch for name in story.values_of(OPTIMIZER.name))


def _terms(kind: type[Loss]) -> dict[str, type[Loss]]:
    return kind.kinds if issubclass(kind, Terms) else {"": kind}


def _listed(names: list[str]) -> str:
    return "".join(f", {name}" for name in names)
