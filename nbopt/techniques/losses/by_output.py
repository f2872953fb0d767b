"""A loss for each of several outputs: the weighted sum is trained on, and each has a curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from nbopt.data.places import Key, Place, check_place, grow, item_at, name_of, read_place
from nbopt.errors import InvalidHyperparam
from nbopt.hyperparams import Choice, variant
from nbopt.i18n import N_, _
from nbopt.techniques.context import Setting
from nbopt.techniques.losses.base import Loss
from nbopt.techniques.losses.terms import Terms, read_term, weight_of
from nbopt.techniques.losses.traits import UNKNOWN, Traits

TARGETS_BY_NAME = N_('give the targets by the names in loss, as train=(X, {"name": y})')
MONITOR = Choice(
    "loss",
    options=("loss",),
    label=N_("Monitored loss"),
    group=N_("Early stopping"),
    help=N_("The validation loss that decides which weights are best and when to stop early."),
)


class ByOutput(Terms):
    """A weighted sum of losses, each of one output and its target.

    Attributes
    ----------
    places : dict of str to tuple
        Where each loss finds output and target, in what the model returns and in what the batch holds.
    latest : list of Tensor
        The losses of the last pass, scalars.
    """

    places: ClassVar[Mapping[str, Place]] = {}
    monitor = MONITOR

    def __init__(self) -> None:
        super().__init__()
        self._routes = list(zip(self.places.values(), self.terms.values(), strict=True))
        self._parts: list[list[Tensor]] = []
        self._held: list[Tensor] = []

    @classmethod
    def weight_name(cls, name: str) -> str:
        """Return what the weight of an output's loss is called as a hyperparameter."""
        return f"{name}_weight"

    @classmethod
    def own_name(cls, name: str, own: str) -> str:
        """Return what an own hyperparameter of an output's loss is called."""
        return f"{name}_{own}"

    @property
    def parts(self) -> dict[Place, Loss]:
        """The losses, by the place of the output."""
        self._inform()
        return dict(self._routes)

    def check(self, output: Any, target: Any) -> None:
        """Raise ValueError where an output or target is not there, or a loss cannot work on them."""
        self._ask("check", output, target)

    def explain(self, output: Any, target: Any) -> None:
        """Raise ValueError where one of the losses failed on these."""
        self._ask("explain", output, target)

    def _ask(self, question: str, output: Any, target: Any) -> None:
        ways = (
            (
                output,
                _("output of the model"),
                _("let the model return a dict or tuple of outputs, as loss names them"),
            ),
            (target, _("target"), TARGETS_BY_NAME),
        )
        for name, (place, loss) in zip(self.terms, self.parts.items(), strict=True):
            try:
                own, truth = (check_place(tree, place, what, way) for tree, what, way in ways)
                getattr(loss, question)(own, truth)
            except ValueError as error:
                raise ValueError(f"loss of {name}: {error}") from error

    def measure(self, output: Any, target: Any) -> Tensor:
        """Return each loss as validation shows it, (losses,)."""
        self._inform()
        pairs = [(loss, item_at(output, place), item_at(target, place)) for place, loss in self._routes]
        return torch.stack([loss.measure(own, loss.prepare(own, truth)) for loss, own, truth in pairs])

    def total(self, measured: Any) -> Any:
        """Return the weighted sum of what `measure` returned."""
        return self._sum(measured)

    def judged(self, measured: Mapping[str, float]) -> float:
        """Return the validation loss that is watched."""
        return measured[f"val_{self.monitor}"]

    def is_judged_anew(self, name: str) -> bool:
        """Whether another loss is watched, or that one is another."""
        return judges_anew(type(self), name, self.monitor)

    @classmethod
    def find_inert(cls, setting: Setting) -> dict[str, str]:
        """Without a validation there is no loss to watch."""
        return {} if setting.validates else {"monitor": _("there is no validation loss without val")}

    def note_part(self, share: float) -> None:
        """Take note that the last pass was that of a part of the batch."""
        self._parts.append([loss * share for loss in self.latest])

    def note_evaluation(self) -> None:
        """Take note that the loss of the step was evaluated, perhaps not for the last time: the first one counts."""
        self._held = self._held or list(self._combined())
        self._parts.clear()

    def after_step(self, loss: Tensor) -> None:
        """Record the losses of the step."""
        super().after_step(loss)
        for name, value in zip(self.measures, self._held or self._combined(), strict=False):
            self.context.measure(name, value)
        self.discard()

    def discard(self) -> None:
        """Forget the losses of a step."""
        super().discard()
        self._parts.clear()
        self._held, self.latest = [], []

    def _combined(self) -> Sequence[Tensor]:
        return [sum(own[1:], own[0]) for own in zip(*self._parts, strict=True)] if self._parts else self.latest

    def _evaluate(self, output: Any, target: Any) -> list[Tensor]:
        values = []
        for place, loss in self._routes:
            own = item_at(output, place)
            values.append(loss(own, loss.prepare(own, item_at(target, place))))
        self.latest = [value.detach() for value in values]
        return values


class Route(NamedTuple):
    """A loss as given, and the output that it is of."""

    place: Place
    weight: float
    loss: Any


def split_outputs(given: Mapping[Any, Any], place: Place = ()) -> dict[str, Route]:
    """Return the losses of the outputs by name.

    Raises
    ------
    InvalidHyperparam
        If there is none, a name cannot be that of a hyperparameter or a curve, or a weight is no number of at least 0.

    Examples
    --------
    >>> from nbopt.techniques.losses.by_output import split_outputs
    >>> split_outputs({"digit": "cross_entropy", "angle": (0.3, "mse")})["angle"]
    Route(place=('angle',), weight=0.3, loss='mse')
    """
    found: dict[str, Route] = {}
    for key, item in given.items():
        here = (*place, check_key(_("loss"), key))
        if isinstance(item, Mapping):
            found.update(split_outputs(item, here))
            continue
        if isinstance(item, list):
            rule = _("an output has one loss; to combine several, pass a function of (output, target) that adds them")
            raise InvalidHyperparam(_("loss: {rule}; got {item!r}.", rule=rule, item=item))
        name = name_of(here)
        if name in found:
            raise InvalidHyperparam(_("loss: two outputs are called {name}.", name=name))
        found[name] = Route(here, *read_term(item))
    if not found:
        raise InvalidHyperparam(_("loss: the mapping of outputs to losses is empty."))
    return found


def check_key(what: str, key: Any) -> Key:
    """Return the key of an output if it can be a part of names; raise InvalidHyperparam otherwise."""
    if isinstance(key, int) and not isinstance(key, bool) and key >= 0:
        return key
    if isinstance(key, str) and key.isidentifier() and key.partition("_")[0] not in ("", "val"):
        return key
    rule = _("outputs go by names that do not begin with val or _, or by their position")
    raise InvalidHyperparam(_("{what}: {rule}; got {key!r}.", what=what, rule=rule, key=key))


def loss_at(given: Any, place: Place) -> Any:
    """Return the loss of an output, as given to a run; None if it has none."""
    for key in place:
        given = given.get(key) if isinstance(given, Mapping) else None
    return given[1] if isinstance(given, tuple) and len(given) == 2 else None if isinstance(given, Mapping) else given


def places_in(given: Any) -> list[Place]:
    """Return where the outputs stand that have a loss of their own; none of a single one."""
    return [route.place for route in split_outputs(given).values()] if isinstance(given, Mapping) else []


def names_of(given: Any) -> dict[Any, Any] | None:
    """Return the losses of several outputs by name, without their weights; None unless all are known by name."""
    if not isinstance(given, Mapping):
        return None
    found: dict[Any, Any] = {}
    for key, item in given.items():
        own = names_of(item) if isinstance(item, Mapping) else read_term(item)[1]
        if not isinstance(own, (dict, str)):
            return None
        found[key] = own
    return found


def read_label(label: str, values: Mapping[str, Any]) -> Any:
    """Return the losses that the name of their sum tells, with the weights among the values of hyperparameters."""
    places, losses = zip(*map(read_place, label.split(", ")), strict=True)
    weights = [values.get(f"{name_of(place)}_weight", 1.0) for place in places]
    return grow(places, zip(weights, losses, strict=True))


def combine_outputs(routes: Mapping[str, Route], kinds: Mapping[str, type[Loss]]) -> type[Loss]:
    """Make the class of a weighted sum of losses, with all that they declare, under the names of their outputs."""
    members: dict[str, Any] = {
        "kinds": dict(kinds),
        "places": {name: route.place for name, route in routes.items()},
        "measures": tuple(f"{name}_loss" for name in routes),
        "modules": {f"loss.{name}": module for name, kind in kinds.items() for module in kind.modules.values()},
        "draws": any(kind.draws for kind in kinds.values()),
        "traits": _traits_of([kind.traits for kind in kinds.values()]),
        "__doc__": ByOutput.__doc__,
    }
    members["monitor"] = variant(MONITOR, options=("loss", *members["measures"]))
    for name, route in routes.items():
        members[f"{name}_weight"] = weight_of(
            name, route.weight, f"weight_{name} {name}_loss_weight loss_weight_{name}"
        )
        for own, spec in kinds[name].declared().items():
            members[f"{name}_{own}"] = copy = variant(spec, label=_("{label} of {name}", label=spec.label, name=name))
            copy.name = ""
    return type("ByOutput", (ByOutput,), members)


def judges_anew(kind: type[ByOutput], name: str, monitor: str) -> bool:
    """Whether a change of a hyperparameter makes another validation loss of the one that is watched."""
    if name == "monitor":
        return True
    of_training = {f"{output}_{own}" for output, loss in kind.kinds.items() for own in loss.training_only}
    if monitor == "loss":
        return any(name.startswith(f"{output}_") for output in kind.kinds) and name not in of_training
    output = monitor.removesuffix("_loss")
    return name in {f"{output}_{own}" for own in kind.kinds[output].declared()} - of_training


def _traits_of(each: list[Traits]) -> Traits:
    """Return what is known of the sum: each loss is measured for itself, so what it counts does not matter."""
    reductions = {traits.reduction for traits in each}
    return UNKNOWN._replace(reduction=reductions.pop()) if len(reductions) == 1 else UNKNOWN
