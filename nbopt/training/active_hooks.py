"""The parts of a run that act in its steps, hook by hook."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from copy import copy
from typing import Any, TypeVar

from torch import Tensor, nn

from nbopt.data.sources import AnySource
from nbopt.data.tensor_source import TensorSource
from nbopt.hyperparams import Hyperparams
from nbopt.hyperparams.declarations import give_values
from nbopt.i18n import _
from nbopt.techniques.base import Technique, defines
from nbopt.techniques.catalogue import PARTS, with_own
from nbopt.techniques.context import Context
from nbopt.techniques.hooks import HOOKS
from nbopt.training.hook_lists import HookLists

AnyTechnique = TypeVar("AnyTechnique", bound=Technique)


_IDLE = [name for name, hook in HOOKS.items() if hook.idle]
_STRATEGIES = frozenset(item.name for item in PARTS if not isinstance(item, type))


class ActiveHooks(HookLists):
    """Holds the parts, and for each hook those that have an effect now, from when the loss is included.

    Parameters
    ----------
    hyperparams : Hyperparams
    weights : sequence of Parameter
        All that the run trains.
    train : source
        What the techniques may learn from before the first step.
    context : Context
        What else they may know.
    own : sequence of Technique
        The user's, of which others like them act.

    Attributes
    ----------
    around : tuple of Technique
        Those that act around every pass.
    is_coarse : bool
        Whether any computes with numbers of 16 bits.
    moves : dict of str to str
        By what the rate moves, by hyperparameter, see `Technique.moves_by`.
    sign_pull : float
        What multiple of the weights' signs is added to gradients.
    part_size : int
        How many samples go through the model at once; 0 for all of a batch.
    draws : bool
        Whether any that acts draws random numbers in the forward pass or before it.
    obstacle : str
        Why the compiled step cannot do what acts now, in words; "" if it can.
    judging : Technique
        That which says which weights are the best so far.
    unfit : dict of str to str
        Hyperparameters of parts that cannot act on these data, each with the reason.
    """

    def __init__(
        self,
        hyperparams: Hyperparams,
        weights: Sequence[nn.Parameter],
        train: AnySource,
        context: Context,
        own: Sequence[Technique],
    ) -> None:
        self._hyperparams = hyperparams
        self._weights = weights
        self._context = context
        self._inputs = train.inputs if isinstance(train, TensorSource) else None
        self._parts: dict[str, Technique] = {}
        self._fitted: tuple[str, ...] = ()
        self.unfit: dict[str, str] = {}
        for item in with_own(own):
            if isinstance(item, Technique):
                self._parts[type(item).__name__] = self._bind(item.another())
            elif isinstance(item, type):
                self._parts[item.__name__] = self._bind(item())
            else:
                self._parts[item.name] = self._bind(self._chosen(item.name)())
        self.judging: Any = next(part for part in self._parts.values() if defines(type(part), "judge"))

    def _chosen(self, name: str) -> type[Technique]:
        spec: Any = self._hyperparams.spec(name)
        return spec.classes[self._hyperparams[name]]  # type: ignore[no-any-return]

    def _bind(self, part: AnyTechnique) -> AnyTechnique:
        """Give a new technique what it acts on and its values."""
        part.weights, part.context = self._weights, self._context
        self._hyperparams.bind(part)
        if reason := part.unfit(self._inputs):
            self.unfit.update(dict.fromkeys(part.declared(), reason))
        return part

    def _fit(self, name: str, part: Technique) -> None:
        """Let a part that begins to act learn from the training inputs: where nobody asks for it, it costs nothing."""
        if defines(type(part), "fit") and name not in self._fitted and self._inputs is not None:
            part.fit(self._inputs)
            self._fitted += (name,)

    def refresh(self) -> None:
        """Find out anew which parts have an effect."""
        found: dict[str, list[Any]] = {hook: [] for hook in HOOKS}
        fit = {name: part for name, part in self._parts.items() if not part.unfit(self._inputs)}
        at_work = {name: part for name, part in fit.items() if part.acts}
        for name, part in at_work.items():
            self._fit(name, part)
        for name, part in fit.items():
            for hook in HOOKS if name in at_work else _IDLE:
                if defines(type(part), hook):
                    found[hook].append(getattr(part, hook))
        acts = [*at_work.values()]
        vars(self).update({hook: methods or () for hook, methods in found.items()})
        self.obstacle = self._find_obstacle(acts)
        self.changes_batches = bool(self.change_inputs or self.change_batch)
        self.around = tuple(part for part in acts if defines(type(part), "change_every_pass"))
        self.is_coarse = any(part.is_coarse for part in acts)
        self.moves = {self._called(part): part.moves_by for part in acts if defines(type(part), "change_rate")}
        self.sign_pull = sum(part.sign_pull for part in acts)
        self.operating = tuple(part for part in acts if defines(type(part), "weight_operands"))
        self.unchecked = tuple(part for part in acts if defines(type(part), "check_outputs") and part.needs_outputs)
        self.renewing = tuple(part for part in acts if defines(type(part), "before_step"))
        # Losses are handed to techniques after a call: what notes them may make something else of them.
        self.masking = tuple(p for p in self.renewing if p in self.operating and not defines(type(p), "after_step"))
        self.part_size = min((size() for size in self.largest_part), default=0)
        self.draws = bool(self.change_batch) or any(part.draws for part in acts)

    def _called(self, part: Technique) -> str:
        """Return the hyperparameter by which a technique is called: its choice, or its first."""
        return next((name for name in _STRATEGIES if self._parts.get(name) is part), None) or next(
            iter(part.declared()), type(part).__name__
        )

    def _find_obstacle(self, acts: Sequence[Technique]) -> str:
        own = self._parts.get("loss")
        unknown = [part for part in acts if part is not own and part.obstacle]
        names = [type(part).__name__ for part in unknown if not defines(type(part), "obstacle")]
        said = next((part.obstacle for part in unknown if defines(type(part), "obstacle")), "")
        return said or (_("{name} acts", name=", ".join(names)) if names else "")

    def find_end(self, values: Mapping[str, Any]) -> str:
        """Return why a technique ends the run where hyperparameters have these values; "" if none does."""
        for part in self._parts.values():
            if defines(type(part), "end_reason"):
                twin = copy(part)
                give_values(twin, values)
                if reason := twin.end_reason():
                    return reason
        return ""

    def is_of(self, hook: str, name: str) -> bool:
        """Return whether a technique that has this hook declares the hyperparameter ``name``."""
        return any(name in part.declared() and defines(type(part), hook) for part in self._parts.values())

    def doubtful(self, changes: Mapping[str, Any]) -> list[Technique]:
        """Return copies, with ``changes``, of the techniques that are to look at outputs before they act so."""
        found = []
        for part in self._parts.values():
            own = changes.keys() & part.declared().keys()
            if own and defines(type(part), "check_outputs") and not part.unfit(self._inputs):
                twin = copy(part)
                give_values(twin, changes, own)
                found += [twin] if twin.acts and twin.needs_outputs else []
        return found

    def settle(self, values: Mapping[str, Any], others: set[str], names: Container[str]) -> None:
        """Give the techniques the values of ``others``, and let those of ``names`` act on the model as they change."""
        for part in self._parts.values():
            if others:
                give_values(part, values, others & part.declared().keys())
            for name in part.declared() if defines(type(part), "on_change") else ():
                if name in names:
                    part.on_change(name)

    def find_several(self) -> set[str]:
        """Return the hyperparameters whose value shown is not what acts everywhere."""
        return {name for part in self._parts.values() for name in part.find_several(self._context.model)}

    @property
    def by_hand(self) -> dict[str, Any]:
        """What the user may change by hand in a pause, by what it is called in words."""
        return {word: value for part in self._parts.values() for word, value in part.by_hand.items()}

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What the techniques tell of themselves: names and values."""
        return [fact for part in self._parts.values() for fact in part.facts]

    @property
    def parts(self) -> list[Technique]:
        """All of them, whether they act or not."""
        return list(self._parts.values())

    def part(self, kind: type[AnyTechnique]) -> AnyTechnique:
        """Return the part of a class that always stands ready."""
        found = self._parts[kind.__name__]
        assert isinstance(found, kind)
        return found

    def include(self, name: str, part: Technique) -> None:
        """Let another part act, in the place of an earlier one of the same name."""
        part.context = self._context
        self._parts[name] = part
        self._fitted = tuple(other for other in self._fitted if other != name)
        self.refresh()

    def train(self, weights: Sequence[nn.Parameter]) -> None:
        """Act on other weights from now on: some were frozen or unfrozen."""
        self._weights = weights
        for part in self._parts.values():
            part.train(weights)

    def changed(self, name: str) -> str:
        """React to a new value of ``name``; return what a strategy swapped in took over, in words."""
        carried = ""
        if name in _STRATEGIES and type(self._parts[name]) is not self._chosen(name):
            before = self._parts[name]
            self._parts[name] = after = self._bind(self._chosen(name)())
            self._fitted = tuple(other for other in self._fitted if other != name)
            self._hyperparams.unbind(before)
            shared = [item for item in before.memory if item in after.memory]
            for item in shared:
                setattr(after, item, getattr(before, item))
            carried = tell_carried(shared, [item for item in before.memory if item not in shared])
        self.refresh()
        return carried

    def prepare(self, batch: Any, training: bool) -> Any:
        """Return a batch as the model is to see it.

        Raises
        ------
        ValueError
            If a part is to act on a batch that is no tensor, nor begins with one.
        """
        if not self.change_inputs and not (training and self.change_batch):
            return batch
        single = isinstance(batch, Tensor)
        parts: list[Any] = [batch] if single else list(batch) if isinstance(batch, (tuple, list)) else []
        if not parts or not isinstance(parts[0], Tensor):
            raise ValueError(_("preprocessing and augmentation need batches (x, y), x a tensor: set them to none."))
        for change in self.change_inputs:
            parts[0] = change(parts[0])
        if training:
            target = parts[1] if len(parts) > 1 else None
            for augment in self.change_batch:
                parts[0], target = augment(parts[0], target)
            parts[1:2] = [target] if len(parts) > 1 else []
        return parts[0] if single else tuple(parts)

    def weights(self, named: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Return what the model is to compute with, by name; `Context.named_weights` may be known already."""
        weights: dict[str, Tensor] = dict(self._context.named_weights) if named is None else named
        for change in self.change_weights:
            weights = change(weights)
        return weights

    # -- snapshots

    @property
    def state(self) -> dict[str, dict[str, Any]]:
        """What the parts remember, by part and attribute."""
        parts = self._parts.items()
        return {name: {item: getattr(part, item) for item in part.memory} for name, part in parts if part.memory}

    def keep(self) -> Callable[[], None]:
        """Return what gives techniques the attributes that they have now, after passes that are to leave no trace."""
        kept = [(part, dict(vars(part))) for part in self._parts.values()]

        def put_back() -> None:
            for part, own in kept:
                vars(part).clear()
                vars(part).update(own)

        return put_back

    def recall(self, state: Mapping[str, Mapping[str, Any]], facts: Mapping[str, Any]) -> None:
        """Remember ``state``; what a snapshot of an earlier version does not have there is found in its ``facts``."""
        for name, part in self._parts.items():
            memory = state.get(name) or part.recall(facts)
            for item in part.memory:
                if item in memory:
                    setattr(part, item, memory[item])


def tell_carried(kept: Sequence[str], dropped: Sequence[str]) -> str:
    """Say what was kept and what was dropped at a swap; "" if there was nothing."""
    words = []
    if kept:
        words.append(_("kept: {names}", names=", ".join(kept)))
    if dropped:
        words.append(_("dropped: {names}", names=", ".join(dropped)))
    return "; ".join(words)
