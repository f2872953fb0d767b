"""A loss of several terms, each with a weight that is a control."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from nbopt.errors import InvalidHyperparam
from nbopt.hyperparams import Choice, Float
from nbopt.i18n import N_, _
from nbopt.techniques.losses.base import GROUP, Loss
from nbopt.techniques.losses.traits import combine_traits

Number = TypeVar("Number", Tensor, float)


class Terms(Loss):
    """A weighted sum of losses, whose weights may adapt by themselves (Kendall et al. 2018, eq. 7 to 10).

    Balanced by uncertainty, the term number i counts ``exp(-s_i) L_i / 2 + s_i / 2``, times its weight, where the log
    variance s_i goes down the gradient of just that. Validation shows the sum with the weights as they are set.

    Attributes
    ----------
    kinds : dict of str to type
        The terms' classes by name.
    scales : list of float
        The s_i.
    """

    kinds: ClassVar[dict[str, type[Loss]]] = {}
    balance = Choice(
        "fixed",
        options=("fixed", "uncertainty"),
        label=N_("Balance"),
        group=GROUP,
        help=N_("Weight the terms as set, or also by the uncertainty of each term, learnt during training."),
    )
    balance_rate = Float(
        0.01,
        low=1e-4,
        high=1.0,
        log=True,
        ge=0.0,
        label=N_("Balance rate"),
        group=GROUP,
        help=N_("Learning rate of the uncertainties."),
    )
    memory: ClassVar[tuple[str, ...]] = ("scales",)

    def __init__(self) -> None:
        self.terms = {name: kind() for name, kind in self.kinds.items()}
        self.scales = [0.0] * len(self.terms)
        self._seen: list[Tensor] = []
        self._told = False

    @classmethod
    def weight_name(cls, name: str) -> str:
        """Return what the weight of a term is called as a hyperparameter."""
        return f"weight_{name}"

    @classmethod
    def own_name(cls, name: str, own: str) -> str:
        """Return what a term's own hyperparameter is called: terms share those of the same name."""
        return own

    def on_change(self, name: str) -> None:
        """Take note that the terms have not heard of a change yet."""
        self._told = False

    def __call__(self, output: Tensor, target: Any) -> Tensor:
        """Return the weighted sum that is trained on."""
        self._inform()
        values = self._evaluate(output, target)
        if self.balance == "fixed":
            return self._sum(values)
        self._seen.append(torch.stack([value.detach() for value in values]))
        return self._sum(balance_terms(values, self.scales))

    def measure(self, output: Tensor, target: Any) -> Tensor:
        """Return the weighted sum that validation shows."""
        self._inform()
        return self._sum([term.measure(output, term.prepare(output, target)) for term in self.terms.values()])

    def check(self, output: Any, target: Any) -> None:
        """Raise ValueError where one of the terms cannot work on these."""
        self._inform()
        for term in self.terms.values():
            term.check(output, target)

    def explain(self, output: Any, target: Any) -> None:
        """Raise ValueError where one of the terms failed on these."""
        self._inform()
        for term in self.terms.values():
            term.explain(output, target)

    def after_step(self, loss: Tensor) -> None:
        """Move the uncertainties down their gradient, by the terms of this step."""
        if not self._seen:
            return
        self.scales = move_scales(self.scales, self._seen, self._weights(), self.balance_rate)
        self._seen.clear()

    def discard(self) -> None:
        """Forget the terms of a step that did not come about."""
        self._seen.clear()

    def _evaluate(self, output: Any, target: Any) -> list[Tensor]:
        return [term(output, term.prepare(output, target)) for term in self.terms.values()]

    def _weights(self) -> list[float]:
        return [getattr(self, self.weight_name(name)) for name in self.terms]

    def _sum(self, values: Iterable[Number]) -> Number:
        total: Number | None = None
        for weight, value in zip(self._weights(), values, strict=True):
            total = weight * value if total is None else total + weight * value
        assert total is not None
        return total

    def _inform(self) -> None:
        """Give the terms their values, where one has changed."""
        if not self._told:
            for name, term in self.terms.items():
                term.__dict__.update(self._values_for(name, term))
            self._told = True

    def _values_for(self, name: str, term: Loss) -> dict[str, Any]:
        return {own: getattr(self, self.own_name(name, own)) for own in term.declared()}


# Scripts hold these two as they are written here, so in lines of 88 characters.


def balance_terms(terms: list[Tensor], scales: list[float]) -> list[Tensor]:
    """Return a loss's terms with these log variances (Kendall et al. 2018, eq. 7)."""
    pairs = zip(terms, scales, strict=True)
    return [term * (math.exp(-scale) / 2) + scale / 2 for term, scale in pairs]


def move_scales(
    scales: list[float],
    seen: list[Tensor],
    weights: list[float],
    rate: float,
) -> list[float]:
    """Return the log variances a step further down their gradient.

    ``seen`` holds the terms of the step, one vector for each time they were evaluated.
    """
    moved = []
    means = torch.stack(seen).mean(0).tolist()
    for scale, mean, weight in zip(scales, means, weights, strict=True):
        slope = weight * (1 - math.exp(-scale) * mean) / 2
        step = rate * slope if math.isfinite(slope) else 0.0
        moved.append(min(max(scale - step, -20.0), 20.0))
    return moved


def split_terms(given: Sequence[Any]) -> dict[str, tuple[float, Any]]:
    """Return the terms of a loss by name, each with its weight.

    Raises
    ------
    InvalidHyperparam
        If there is none, one stands there twice, or a weight is no number of at least 0.
    """
    found: dict[str, tuple[float, Any]] = {}
    for item in given:
        weight, term = read_term(item)
        name = term if isinstance(term, str) else getattr(term, "__name__", type(term).__name__)
        if not name.isidentifier() or name in found:
            rule = _("each term needs a different name: give the function another __name__")
            raise InvalidHyperparam(_("loss: {rule}; got {name!r}.", rule=rule, name=name))
        found[name] = weight, term
    if not found:
        raise InvalidHyperparam(_("loss: the list of terms is empty."))
    return found


def read_term(item: Any) -> tuple[float, Any]:
    """Return the weight of a term, and its loss.

    Raises
    ------
    InvalidHyperparam
        If the weight is no number of at least 0.
    """
    weight, term = item if isinstance(item, (tuple, list)) and len(item) == 2 else (1.0, item)
    if isinstance(weight, bool) or not isinstance(weight, numbers.Real) or not 0 <= float(weight) < math.inf:
        rule = _("terms are losses, or pairs (weight, loss) with a weight of at least 0")
        raise InvalidHyperparam(_("loss: {rule}; got {item!r}.", rule=rule, item=item))
    return float(weight), term


def weight_of(name: str, weight: float, synonyms: str = "") -> Float:
    """Declare the weight of a term."""
    return Float(
        weight,
        low=1e-3,
        high=100.0,
        log=True,
        zero=True,
        ge=0.0,
        label=_("Weight of {name}", name=name),
        group=GROUP,
        help=_("Factor of this term in the sum."),
        synonyms=synonyms,
    )


def combine(terms: Mapping[str, tuple[float, type[Loss]]]) -> type[Loss]:
    """Make the class of a weighted sum, with all that its terms declare.

    Raises
    ------
    InvalidHyperparam
        If the terms want targets of different kinds.
    """
    tasks = {kind.task for _weight, kind in terms.values()} - {Loss.task}
    if len(tasks) > 1:
        names = ", ".join(f"{name} ({kind.task})" for name, (_weight, kind) in terms.items())
        raise InvalidHyperparam(_("loss: these terms need different targets: {names}.", names=names))
    members: dict[str, Any] = {"kinds": {name: kind for name, (_weight, kind) in terms.items()}}
    for name, (weight, kind) in terms.items():
        members[f"weight_{name}"] = weight_of(name, weight)
        members.update(kind.declared())
    members["modules"] = {
        f"loss.{name}": module for name, (_weight, kind) in terms.items() for module in kind.modules.values()
    }
    members["draws"] = any(kind.draws for _weight, kind in terms.values())
    members["traits"] = combine_traits([kind.traits for _weight, kind in terms.values()])
    members["__doc__"] = Terms.__doc__
    return type("Terms", (Terms,), members)
