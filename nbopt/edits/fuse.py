"""Fusing a model with another trained one: an average of both, unit by unit, or one head for the features of both."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import nn

from nbopt.edits import averaging, joining
from nbopt.edits.norms import find_norms, measure_norms
from nbopt.edits.traversal import is_pattern
from nbopt.edits.written import average_numbers, fill_in, join_heads
from nbopt.errors import InvalidHyperparam, shorten, unknown
from nbopt.export.edits import Written
from nbopt.export.script import edited
from nbopt.export.source import literal
from nbopt.i18n import _
from nbopt.objects.given import fingerprint_of, module_of
from nbopt.training.structure.edit import CannotEdit, Edit, Plan, as_lists

if TYPE_CHECKING:
    from nbopt.training.training import Training

_WAYS = ("average", "features")


@dataclass(frozen=True)
class Fuse(Edit):
    """Make one model of the run's and another trained one.

    ``how="average"``, for models of the same structure: neurons, channels and hidden units of the other one are put
    into the order in which they are most like the run's own, which does not change what it computes, and weights are
    averaged (Git Re-Basin by weight matching, Ainsworth, Hayase and Srinivasa 2023). Units are followed as `Shrink`
    does it, through residual connections, batch normalization and flattening; those that stay, as the outputs of what
    layer normalization takes and heads of attention, are averaged in the order that they have. What batch normalization
    knows of its inputs is measured anew on training data, in a cell of up to 4,096 samples (Jordan et al. 2023). What
    the optimizer remembers goes on, and the best weights so far stay what they are.

    ``how="features"``, for models of any two kinds that take the same inputs and put out as many numbers: both are
    kept up to their heads, and one head takes the features of both. The head is the last linear layer of a model, whose
    outputs have to be the model's. At first, outputs are the mean of those of both models. The other model's weights
    train too, unless they are frozen there, as those of ``run.frozen_model("best")`` are.

    The other model is copied, and stays as it is. A store holds no more of it than a fingerprint: whoever opens the run
    again gives it again, ``nbopt.open(..., edits=[nbopt.edits.Fuse(other)])``.

    Parameters
    ----------
    other : Module, Run or member of a population
        A run stands for its model as it is now, with the weights that it computes with; ``run.frozen_model("best")`` is
        that of its best validation.
    how : {"average", "features"}
    share : float
        Of the other model in the average of weights, or of outputs; above 0 and below 1.

    Raises
    ------
    TypeError
        If ``other`` is nothing of the kind, or cannot be copied.
    InvalidHyperparam
        If how or share is not legal.

    Examples
    --------
    >>> import nbopt, torch
    >>> data = torch.randn(60, 4), torch.arange(60) % 3
    >>> models = [torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)) for _ in range(2)]
    >>> one, other = (nbopt.Run(model, data, epochs=4, store=None) for model in models)
    >>> one.step(3), other.step(3)
    (None, None)
    >>> averaged = one.change(nbopt.edits.Fuse(other))
    >>> averaged.model[0].out_features
    8
    >>> both = one.change(nbopt.edits.Fuse(other, how="features"))
    >>> both.model[2].head
    Linear(in_features=16, out_features=3, bias=True)
    """

    other: Any = field(repr=False)
    how: str = "average"
    share: float = 0.5
    label: str = field(default="", repr=False)
    frozen: Any = field(default=(), repr=False)
    orders: Any = field(default=(), repr=False)
    axes: Any = field(default=(), repr=False)
    moved: int = field(default=0, repr=False)
    norms: int = field(default=0, repr=False)
    heads: Any = field(default=(), repr=False)

    kind: ClassVar[str] = "fuse"

    def __post_init__(self) -> None:
        """Check what was given, or stood in a journal."""
        if self.how not in _WAYS:
            raise unknown(_("way to fuse models"), self.how, _WAYS)
        number = isinstance(self.share, (int, float)) and not isinstance(self.share, bool)
        if not number or not 0 < self.share < 1:
            rule = _("share must be a number above 0 and below 1, of the other model")
            raise InvalidHyperparam(_("{rule}; got {value}.", rule=rule, value=shorten(self.share)))
        if not self.label:
            object.__setattr__(self, "other", _copy_of(self.other))
            object.__setattr__(self, "label", fingerprint_of(self.other))
            frozen = [name for name, weight in self.other.named_parameters() if not weight.requires_grad]
            object.__setattr__(self, "frozen", frozen)
        for name in ("axes", "orders", "heads", "frozen"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        right = all(map(is_pattern, self.orders))
        right = right and all(isinstance(name, str) for name in (*self.heads, *self.frozen))
        right = (
            right
            and isinstance(self.label, str)
            and type(self.moved) is type(self.norms) is int
            and len(self.heads) in (0, 2)
        )
        if not right or not all(averaging.is_axis(axis, len(self.orders)) for axis in self.axes):
            raise InvalidHyperparam(_("{name} must tell where units stand.", name="axes"))

    @property
    def keeps(self) -> bool:  # type: ignore[override]
        """Outputs are the mean of both models' where their features are joined."""
        return self.how == "features"

    @property
    def given(self) -> Mapping[str, nn.Module | None]:
        """The other model."""
        return {self.label: self.other}

    def take(self, given: Mapping[str, nn.Module | None]) -> Self:
        """Return the edit with the other model."""
        if self.other is not None:
            return self
        if (other := given.get(self.label)) is None:
            rule = _("only you have it: give it again, edits=[nbopt.edits.Fuse(other)]")
            raise CannotEdit(_("the model was fused with {label}: {rule}.", label=self.label, rule=rule))
        return replace(self, other=other)

    def prepare(self, training: Training) -> Self:
        """Find in which order the other model's units are like the run's, or the heads of both."""
        if self.label == fingerprint_of(training.model):
            raise self.refuse(_("the other model is the run's own"))
        if self.how == "features":
            return replace(self, heads=joining.find_heads(training, self._there(training.model), self.refuse))
        orders, axes, moved = averaging.find_order(training, self._there(training.model), self.refuse)
        return replace(self, orders=orders, axes=axes, moved=moved, norms=len(find_norms(training.model)))

    def _there(self, model: nn.Module) -> nn.Module:
        """Return a copy of the other model, where the run's is."""
        copy: nn.Module = deepcopy(self.other).to(next(model.parameters()).device)
        for name, weight in copy.named_parameters():
            weight.requires_grad_(name not in self.frozen)
        return copy

    def plan(self, model: nn.Module, generator: torch.Generator) -> Plan:
        """Return the averages, or the head and what stands beside it."""
        other = self._there(model)
        if self.how == "features":
            words = _("one head for its features and those of {other}", other=self.label)
            return joining.plan(model, other, self.heads, self.share)._replace(words=words)
        numbers = averaging.average(model, other, self.orders, self.axes, self.share)
        words = _("averaged with {other}, {count} of its units in another order", other=self.label, count=self.moved)
        return Plan({}, [], words, numbers=numbers)

    def settings(self) -> dict[str, Any]:
        """Return what the user wrote: the other model by its fingerprint."""
        return {"other": self.label, **super().settings()}

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any], given: Mapping[str, nn.Module | None]) -> Self:
        """Return the edit that `settings` tells of, with the other model."""
        label = settings.get("other")
        if (other := given.get(str(label))) is None:
            rule = _("only you have it: give it again, edits=[nbopt.edits.Fuse(other)]")
            raise ValueError(_("the model was fused with {label}: {rule}.", label=label, rule=rule))
        own = {name: value for name, value in settings.items() if name != "other"}
        cls.check_settings(own)
        return cls(other, **own)

    def write(self, number: int) -> Written:
        """Return the statements of a script that fuse the model with another one."""
        if self.how == "features":
            settings = f"{literal(list(self.heads))}, {self.share!r}, {literal(list(self.frozen))}"
            made = [f"settings = {settings}", "join_heads(model, optimizer, other, *settings)"]
            return Written(made, [join_heads], ("other", self.label))
        orders = averaging.read_orders(self.orders, self.axes)
        made = ["if optimizer is None:", "    return  # the best weights stay", "# fmt: off", "orders = {"]
        for name, parts in orders.items():
            rows = textwrap.wrap(f"{literal(name)}: {literal(parts)},", 72, break_long_words=False)
            made += [f"    {row}" for row in rows]
        made += ["}", "# fmt: on", f"numbers = average_numbers(model, other, orders, {self.share!r})"]
        made.append("fill_in(model, numbers)")
        given = "other", self.label
        if not self.norms:
            return Written(made, [average_numbers, fill_in], given)
        made.append("measure_norms(model, run_passes)")
        return Written(made, [average_numbers, fill_in, edited.measure_norms], given, passes=True)

    def finish(self, training: Training) -> None:
        """Measure anew what batch normalization knows of its inputs."""
        if self.norms:
            measure_norms(training)

    @contextmanager
    def expecting(self, model: nn.Module) -> Iterator[None]:
        """Have the model put out the mean of both models' outputs."""
        if self.how == "features":
            with joining.averaging_outputs(model, self._there(model), self.share):
                yield
        else:
            yield

    def to_json(self) -> dict[str, Any]:
        """Return the edit as the journal holds it: the other model by its fingerprint."""
        named = {own.name: as_lists(getattr(self, own.name)) for own in fields(self) if own.name != "other"}
        return {"edit": self.kind, **named}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the edit that `to_json` wrote, without the other model."""
        if not value["label"]:
            raise ValueError(_("{name} must tell what other model there was.", name="label"))
        held: dict[str, Any] = {own.name: value[own.name] for own in fields(cls) if own.name != "other"}
        return cls(None, **held)


def _copy_of(other: Any) -> nn.Module:
    """Return a copy of the module that somebody gave, or that stands for it."""
    module = module_of(other)
    if module is None:
        rule = _("the other model must be a torch.nn.Module, a run or a member of a population")
        raise TypeError(_("{rule}; got {given}.", rule=rule, given=shorten(other)))
    try:
        copy = deepcopy(module)
    except Exception as error:  # whatever an object of the user's raises
        raise TypeError(_("the other model cannot be copied: {error}", error=error)) from error
    return copy if module is other else copy.requires_grad_(True).train()
