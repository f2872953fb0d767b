"""The loss of a run as source: one of several, a sum of terms, or one for each output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nbopt.data.tensor_source import TensorSource
from nbopt.export.script.section import Section, told
from nbopt.export.script.text import fill, indent, lines
from nbopt.export.source import literal
from nbopt.i18n import _
from nbopt.techniques.losses.base import Elementwise, Loss
from nbopt.techniques.losses.by_output import MONITOR, judges_anew
from nbopt.techniques.losses.choice import LOSS
from nbopt.techniques.losses.terms import Terms
from nbopt.techniques.losses.traits import IGNORED, Traits

_BALANCE = """\
if scales is not None:
    seen.append(torch.stack([$each.detach() for $each in $all]))
    $balanced
"""
_BALANCED_LOSSES = "losses = dict(zip(losses, balance_terms(list(losses.values()), scales)))"
_ONE = '''\
def compute_loss(output, target$told$balance):
    """Return the mean loss of a batch."""
    $body
'''
_SEVERAL = '''\
def losses_of(outputs, targets$told):
    """Return the mean loss of each output."""
    losses = {}
    $body
    return losses


def compute_loss(output, target$told$live$balance, latest=None):
    """Return the weighted sum of the losses; ``latest`` takes note of each."""
    losses = losses_of(output, target$told)
    if latest is not None:
        latest.update({name: loss.detach() for name, loss in losses.items()})
    $balances
    $total
    return total
'''
_RECORD_VALIDATED = """\
for name, value in val_losses.items():
    history["val_" + name].append(value)
"""


class LossLines(Section):
    """The function ``compute_loss``; of several outputs, a function of all their losses too."""

    def write(self) -> None:
        """See `Section`."""
        story, words = self.story, self.words
        self._kinds = {key: self.draft.class_of(LOSS.name, key) for key in dict.fromkeys(story.values_of(LOSS.name))}
        self._kind: Any = list(self._kinds.values())[-1]
        self._terms = self._kind.kinds if issubclass(self._kind, Terms) else {}
        self._places = getattr(self._kind, "places", {})
        self._traits = next(iter(self._kinds.values())).traits
        self._regularizes: dict[str, str] = {}  # what only training uses, and what it is there
        self._functions: list[str] = []
        self._routes = [(name, self._places[name], kind.traits) for name, kind in self._terms.items() if self._places]
        self._routes = self._routes or [("", (), self._traits)]
        if any(LOSS.name in new for new in story.schedule.values()):
            self.draft.use(LOSS.name)
        balances = story.values_of("balance") if "balance" in story.start else []
        self._balances, rebalances = "uncertainty" in balances, len(set(balances)) > 1
        weights = {name: self._use(self._kind.weight_name(name)) or "0.0" for name in self._terms}
        body = self._body_of_outputs() if self._places else self._body(list(weights.values()))
        there = {*self.draft.variables, *self._regularizes, *self._functions}
        takes, live = told(lines(*body), there), told(", ".join(weights.values()), there) if self._places else ""
        training = "".join(f", {self._regularizes.get(name, name)}" for name in takes.split(", ")[1:])
        measuring = "".join(f", {'0.0' if name in self._regularizes else name}" for name in takes.split(", ")[1:])
        balance = ", scales=None, seen=None" * self._balances
        uncertain = ", *uncertain" if rebalances else ", scales, seen" * self._balances
        words["measure"] = f"loss = compute_loss(output, target{measuring})"
        words.update(training=f"{training}{live}{uncertain}", latest="", val_loss="val_loss", judged="val_loss")
        words.update(start="total = 0.0\ncount = 0", mean="total / count", balance_rate="0.0", terms=str(len(weights)))
        words["term_weights"] = lines(*(f"{weight}," for weight in weights.values()))
        if self._balances and any(story.values_of("balance_rate")):
            words["balance_rate"] = self.draft.use("balance_rate")
        words.update(lose="lose" if words["training"] else "compute_loss", add=self._add(), add_up="")
        sums = [
            _item("val_loss", name).replace("$", "$$") for name, _place, traits in self._routes if self._sums(traits)
        ]
        words.pieces["as_batch"] = lines(*(f"{each} *= $usual  # as much as a batch" for each in sums))
        self.draft.arguments |= {*self._functions}
        if not self._places:
            self.known["evaluations"] = False
            self.draft.functions.append(fill(_ONE, told=takes, balance=balance, body=lines(*body)))
            return
        total = _sum((_item("loss", name), weight) for name, weight in weights.items())
        balanced = self._balance("loss", "losses.values()", _BALANCED_LOSSES)
        called = {"told": takes, "live": live, "balance": balance}
        function = fill(_SEVERAL, called, body=lines(*body), balances=balanced, total=total)
        self.draft.functions.append(function)
        words["measure"] = f"losses = losses_of(output, target{measuring})"
        words.update(latest=", latest=latest", val_loss="val_losses")
        words.update(start="totals, counts = defaultdict(float), defaultdict(int)")
        words.update(mean="{name: totals[name] / counts[name] for name in counts}")
        total = total.replace("losses[", "val_losses[").replace("total", "val_loss")
        words["add_up"] = lines(total, _RECORD_VALIDATED, self._watch())

    def _watch(self) -> str:
        """Return the line that tells which loss validations are judged by; write when that is another one."""
        story = self.story
        if not story.stops_early and not any("restore_best" in new for new in story.schedule.values()):
            return ""
        watched = ""
        if set(story.values_of(MONITOR.name)) != {MONITOR.default}:
            watched, self.words["judged"] = self.draft.use(MONITOR.name), "judged"
        monitor = story.start[MONITOR.name]
        for step, new in story.schedule.items():
            monitor = new.get(MONITOR.name, monitor)
            if any(judges_anew(self._kind, name, monitor) for name in new):
                self.draft.plan({step: {"judge_anew": True}})
        return f"judged = val_losses.get({watched}, val_loss)" if watched else ""

    # -- hyperparameters

    def _use(self, name: str, regularizes: bool = False) -> str:
        """Return what the loss's function calls a hyperparameter; "" if that is zero all the time."""
        if not any(self.story.values_of(name)):
            return ""
        used = self.draft.use(name)
        if regularizes:
            self._regularizes[name] = used
        return name if regularizes else used

    # -- the function

    def _body(self, weights: list[str]) -> list[str]:
        """Return the lines of the function for one output."""
        kinds = [kind for kind in self._kinds.values() for kind in getattr(kind, "kinds", {"": kind}).values()]
        called: dict[str, str] = {}
        for own in dict.fromkeys(own for kind in kinds for own in kind.declared()):
            called[own] = self._use(own, any(own in kind.training_only for kind in kinds))
        body = []
        if not self._terms:
            if all(issubclass(kind, Elementwise) for kind in kinds):
                body.append(self._shaped("target"))
            *others, last = self._kinds.items()
            for key, kind in others:
                body += [f"if loss_name == {literal(key)}:", f"    return {self._written(kind, called)}"]
            return [*body, f"return {self._written(last[1], called)}"]
        if any(issubclass(kind, Elementwise) for kind in kinds):
            body.append(self._shaped("numbers"))
        targets = ["numbers" if issubclass(kind, Elementwise) else "target" for kind in kinds]
        values = [self._written(kind, called, target) for kind, target in zip(kinds, targets, strict=True)]
        if self._balances:
            body += ["terms = [", *(f"    {value}," for value in values), "]"]
            body += [self._balance("term", "terms", "terms = balance_terms(terms, scales)")]
            values = [f"terms[{k}]" for k in range(len(values))]
        return [*body, _sum(zip(values, weights, strict=True)), "return total"]

    def _body_of_outputs(self) -> list[str]:
        body = []
        for name, kind in self._terms.items():
            place = literal(self._places[name])
            names = {own: self._kind.own_name(name, own) for own in kind.declared()}
            called = {own: self._use(full, own in kind.training_only) for own, full in names.items()}
            body += [f"output, target = item_at(outputs, {place}), item_at(targets, {place})"]
            body += [self._shaped("target")] if issubclass(kind, Elementwise) else []
            body += [f"{_item('loss', name)} = {self._written(kind, called)}"]
        return body

    def _shaped(self, name: str) -> str:
        """Return the line that turns targets into numbers like the outputs'."""
        return f"{name} = target.reshape(output.shape){'.float()' if self.story.narrow else '.to(output.dtype)'}"

    def _balance(self, each: str, of: str, balanced: str) -> str:
        return fill(_BALANCE, each=each, all=of, balanced=balanced) if self._balances else ""

    def _written(self, kind: type[Loss], called: Mapping[str, str], target: str = "target") -> str:
        if kind.source:
            for function in kind.functions:
                self.sources.name_for(_("the loss"), function)
            return kind.written({**called, "target": target})
        argument = "loss" if "loss" not in self.sources.arguments else f"loss_{len(self._functions) + 1}"
        name = self.sources.name_for(_("the loss"), kind.functions[0], argument)
        if name == argument:
            name = name.replace("loss", "loss_function", 1)
            self._functions.append(name)
        shaped = ".reshape(output.shape)" if kind.traits.elementwise else ""
        return f"{name}(output, {target}{shaped})"

    # -- what a batch counts

    def _add(self) -> str:
        """Return the lines that add up the losses of batches in validation."""
        found = []
        in_memory = isinstance(self.story.train if self.story.val is None else self.story.val, TensorSource)
        for name, place, traits in self._routes:
            total, count, loss = (_item(each, name) for each in ("total", "count", "loss"))
            target = f"item_at(target, {literal(place)})" if name else "target"
            if self._sums(traits):
                size = "len(batch[0])" if in_memory and not name else "sample_count(batch)"
                found += [f"{total} += {loss}.item()", f"{count} += {size}"]
                continue
            counted = self._count(traits, target)
            size = "len(batch[0])" if in_memory and not name else f"size_of({target}, batch)"
            added = [f"{total} += {loss}.item() * size", f"{count} += size"]
            found += [f"size = {counted or size}", *(["if size:", indent(lines(*added))] if counted else added)]
        return lines(*found)

    def _sums(self, traits: Traits) -> bool:
        """Whether validation adds up losses that are sums."""
        return self.story.val is not None and traits.reduction == "sum"

    def _count(self, traits: Traits, target: str) -> str:
        """Return how much of a batch counts in validation, as an expression; "" if it is a number of samples."""
        if self.story.val is None or traits.counts not in ("labels", "numbers"):
            return ""
        if traits.counts == "numbers":
            return f"{target}.numel()"
        ignored = "" if traits.ignored == IGNORED else f", {traits.ignored}"
        if traits.weight is None:
            return f"float(count_labels({target}{ignored}))"
        return f"float(weigh_labels({target}, {literal(traits.weight.tolist())}{ignored}))"


def _item(each: str, name: str) -> str:
    """Return a variable of validation; that of an output, if there are several."""
    return f"{each}{'es' if each.endswith('s') else 's'}[{literal(f'{name}_loss')}]" if name else each


def _sum(terms: Iterable[tuple[str, str]]) -> str:
    """Return the lines that add up values, each with its weight."""
    return lines(*(f"total = {'total + ' if k else ''}{weight} * {value}" for k, (value, weight) in enumerate(terms)))
