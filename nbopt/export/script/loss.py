"""The loss of a run as source: one of several, a sum of terms, or one for each output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbopt.data.tensor_source import TensorSource
from nbopt.export.script.prune import prune
from nbopt.export.script.section import Section, told
from nbopt.export.script.text import fill, indent, lines
from nbopt.export.source import literal
from nbopt.i18n import _
from nbopt.techniques.losses.base import Elementwise, Loss
from nbopt.techniques.losses.by_output import MONITOR, judges_anew
from nbopt.techniques.losses.choice import LOSS
from nbopt.techniques.losses.terms import Terms
from nbopt.techniques.losses.traits import IGNORED, Traits

_ONE = '''\
def compute_loss(output, target$told):
    """Return the mean loss of a batch."""
    $body
'''
_SEVERAL = '''\
def losses_of(output$s, target$s$told):
    """Return the mean loss of each $each."""
    losses = {}
    $body
    return losses


def compute_loss(output, target$told$live$options):
    """Return the weighted sum of the losses$noting."""
    losses = losses_of(output, target$told)
    if latest is not None:
        latest.update({name: loss.detach() for name, loss in losses.items()})
    if scales is not None:
        seen.append(torch.stack([loss.detach() for loss in losses.values()]))
        losses = dict(zip(losses, balance_terms(list(losses.values()), scales)))
    $total
    return total
'''
_RECORD_VALIDATED = """\
for name, value in val_losses.items():
    history["val_" + name].append(value)
"""


class LossLines(Section):
    """The function ``compute_loss``; of several terms or outputs, a function of all their losses too."""

    def write(self) -> None:
        """See `Section`."""
        story, words = self.story, self.words
        self._kinds = {key: self.draft.class_of(LOSS.name, key) for key in dict.fromkeys(story.values_of(LOSS.name))}
        self._kind: Any = list(self._kinds.values())[-1]
        self._terms = self._kind.kinds if issubclass(self._kind, Terms) else {}
        self._places = getattr(self._kind, "places", {})
        self._regularizes: dict[str, str] = {}  # what only training uses, and what it is there
        self._functions: list[str] = []
        self._routes = [(name, self._places[name], kind.traits) for name, kind in self._terms.items() if self._places]
        self._routes = self._routes or [("", (), next(iter(self._kinds.values())).traits)]
        if any(LOSS.name in new for new in story.schedule.values()):
            self.draft.use(LOSS.name)
        balances = story.values_of("balance") if "balance" in story.start else []
        self._balances = words["balances"] = "uncertainty" in balances
        weights = {name: self._use(self._kind.weight_name(name)) or "0.0" for name in self._terms}
        body = lines(*(self._body_of_several() if self._terms else self._body()))
        there = {*self.draft.variables, *self._regularizes, *self._functions}
        takes, live = told(body, there), told(", ".join(weights.values()), there)
        training = "".join(f", {self._regularizes.get(name, name)}" for name in takes.split(", ")[1:])
        measuring = "".join(f", {'0.0' if name in self._regularizes else name}" for name in takes.split(", ")[1:])
        scales = ", *uncertain" if len(set(balances)) > 1 else ", scales, seen" * self._balances
        words.update(training=training + live + scales, add=self._add(), terms=str(len(weights)))
        words["lose"] = "lose" if words["training"] else "compute_loss"
        words["term_weights"] = lines(*(f"{weight}," for weight in weights.values()))
        adapts = self._balances and any(story.values_of("balance_rate"))
        words["balance_rate"] = self.draft.use("balance_rate") if adapts else "0.0"
        sums = [_item("val_loss", name) for name, _place, traits in self._routes if self._sums(traits)]
        as_batch = lines(*(f"{each.replace('$', '$$')} *= $usual  # as much as a batch" for each in sums))
        words.pieces["as_batch"] = as_batch
        self.draft.arguments |= {*self._functions}
        words.update(latest="", val_loss="val_loss", judged="val_loss", add_up="")
        words.update(start="total = 0.0\ncount = 0", mean="total / count")
        words["measure"] = f"loss = compute_loss(output, target{measuring}{live})"
        if self._places:
            words["measure"] = f"losses = losses_of(output, target{measuring})"
            words.update(latest=", latest=latest", val_loss="val_losses")
            words.update(start="totals, counts = defaultdict(float), defaultdict(int)")
            words.update(mean="{name: totals[name] / counts[name] for name in counts}")
            words["add_up"] = lines(_sum("val_loss", "val_loss", weights), _RECORD_VALIDATED, self._watch())
        if not self._terms:
            self.draft.functions.append(fill(_ONE, told=takes, body=body))
            return
        options = ", scales=None, seen=None" * self._balances + ", latest=None" * bool(self._places)
        kinds = {"s": "", "each": "term", "noting": ""}
        if self._places:
            kinds = {"s": "s", "each": "output", "noting": "; ``latest`` takes note of each"}
        total = _sum("total", "loss", weights)
        text = fill(_SEVERAL, kinds, told=takes, live=live, options=options, body=body, total=total)
        known = {name: False for name in ("scales", "latest") if name not in options}
        self.draft.functions.append(prune(text, known))

    def _watch(self) -> str:
        """Return the line that tells which loss validations are judged by; write when that is another one."""
        story = self.story
        if not story.stops_early and not any("restore_best" in new for new in story.schedule.values()):
            return ""
        watched = ""
        if set(story.values_of(MONITOR.name)) != {MONITOR.default}:
            watched, self.words["judged"] = self.draft.use(MONITOR.name), "judged"
        for step, new, values in story.course:
            if any(judges_anew(self._kind, name, values[MONITOR.name]) for name in new):
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

    def _body(self) -> list[str]:
        """Return the lines that find one loss, which may be another one later on."""
        kinds = list(self._kinds.values())
        called: dict[str, str] = {}
        for own in dict.fromkeys(own for kind in kinds for own in kind.declared()):
            called[own] = self._use(own, any(own in kind.training_only for kind in kinds))
        body = [self._shaped("target")] if all(issubclass(kind, Elementwise) for kind in kinds) else []
        for key, kind in self._kinds.items():
            last = kind is self._kind
            body += [] if last else [f"if loss_name == {literal(key)}:"]
            body.append(f"{'' if last else '    '}return {self._written(kind, called)}")
        return body

    def _body_of_several(self) -> list[str]:
        """Return the lines that find the losses of all terms or outputs."""
        body = []
        for name, kind in self._terms.items():
            names = {own: self._kind.own_name(name, own) for own in kind.declared()}
            called = {own: self._use(full, own in kind.training_only) for own, full in names.items()}
            if self._places:
                place = literal(self._places[name])
                body.append(f"output, target = item_at(outputs, {place}), item_at(targets, {place})")
            target = "numbers" if issubclass(kind, Elementwise) else "target"
            shaped = self._shaped("numbers")
            body += [shaped] if target == "numbers" and (self._places or shaped not in body) else []
            body.append(f"{_item('loss', name)} = {self._written(kind, called, target)}")
        return body

    def _shaped(self, name: str) -> str:
        """Return the line that turns targets into numbers like the outputs'."""
        return f"{name} = target.reshape(output.shape){'.float()' if self.story.narrow else '.to(output.dtype)'}"

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
            target, sums = f"item_at(target, {literal(place)})" if name else "target", self._sums(traits)
            counted = self._count(traits, target)
            size = "sample_count(batch)" if sums else f"size_of({target}, batch)"
            size = "len(batch[0])" if in_memory and not name else size
            added = [f"{total} += {loss}.item(){'' if sums else ' * size'}", f"{count} += size"]
            found += [f"size = {counted or size}", *(["if size:", indent(lines(*added))] if counted else added)]
        return lines(*found)

    def _sums(self, traits: Traits) -> bool:
        """Whether validation adds up losses that are sums."""
        return self.story.val is not None and traits.reduction == "sum"

    def _count(self, traits: Traits, target: str) -> str:
        """Return how much of a batch counts in validation, as an expression; "" if it is a number of samples."""
        if self.story.val is None or self._sums(traits) or traits.counts not in ("labels", "numbers"):
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


def _sum(total: str, each: str, weights: Mapping[str, str]) -> str:
    """Return the lines that add up losses, each with its weight."""
    terms = [f"{weight} * {_item(each, name)}" for name, weight in weights.items()]
    return lines(*(f"{total} = {f'{total} + ' if k else ''}{term}" for k, term in enumerate(terms)))
