"""The parts of a run that act in its steps, hook by hook."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from weakref import WeakSet

from torch import Tensor, nn

from nbopt.data.sources import AnySource
from nbopt.data.tensor_source import TensorSource
from nbopt.hyperparams import Hyperparams
from nbopt.i18n import _
from nbopt.techniques.base import Technique, compiles, defines
from nbopt.techniques.catalogue import PARTS, with_own
from nbopt.techniques.context import Context
from nbopt.techniques.hooks import HOOKS

AnyTechnique = TypeVar("AnyTechnique", bound=Technique)


class ActiveHooks:
    """Holds the parts, and for each hook those that have an effect now.

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
    change_inputs, change_batch, change_weights : list of callable
    change_pass, change_every_pass, change_loss : list of callable
    after_gradients, change_rate, change_groups, after_step, after_epoch : list of callable
        See `nbopt.techniques.hooks`.
    draws : bool
        Whether any that acts draws random numbers in the forward pass or before it.
    not_compiled : str
        The names of those that act now and that the compiled step does not know.
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
        self._fitted: WeakSet[Technique] = WeakSet()
        self._strategies = {item.name for item in PARTS if not isinstance(item, type)}
        self.unfit: dict[str, str] = {}
        for item in with_own(own):
            if isinstance(item, Technique):
                self._parts[type(item).__name__] = self._bind(item.another())
            elif isinstance(item, type):
                self._parts[item.__name__] = self._bind(item())
            else:
                self._parts[item.name] = self._bind(self._chosen(item.name)())
        self.refresh()

    def _chosen(self, name: str) -> type[Technique]:
        spec: Any = self._hyperparams.spec(name)
        kind: type[Technique] = spec.classes[self._hyperparams[name]]
        return kind

    def _bind(self, part: AnyTechnique) -> AnyTechnique:
        """Give a new technique what it acts on and its values."""
        part.weights, part.context = self._weights, self._context
        self._hyperparams.bind(part)
        if reason := part.unfit(self._inputs):
            self.unfit.update(dict.fromkeys(part.declared(), reason))
        return part

    def _fit(self, part: Technique) -> None:
        """Let a part that begins to act learn from the training inputs: where nobody asks for it, it costs nothing."""
        if defines(type(part), "fit") and part not in self._fitted and self._inputs is not None:
            part.fit(self._inputs)
            self._fitted.add(part)

    def refresh(self) -> None:
        """Find out anew which parts have an effect."""
        found: dict[str, list[Any]] = {hook: [] for hook in HOOKS}
        acts = [part for part in self._parts.values() if part.acts and not part.unfit(self._inputs)]
        for part in acts:
            self._fit(part)
            for hook in HOOKS:
                if defines(type(part), hook):
                    found[hook].append(getattr(part, hook))
        self.change_inputs: list[Callable[[Tensor], Tensor]] = found["change_inputs"]
        self.change_batch: list[Callable[[Tensor, Any], tuple[Tensor, Any]]] = found["change_batch"]
        own = self._parts.get("loss")
        names = [type(part).__name__ for part in acts if part is not own and not compiles(part)]
        self.not_compiled = ", ".join(names)
        self.changes_batches = bool(self.change_inputs or self.change_batch)
        self.change_weights: list[Callable[[dict[str, Tensor]], dict[str, Tensor]]] = found["change_weights"]
        self.draws = bool(self.change_batch) or any(part.draws for part in acts)
        self.change_pass: list[Callable[..., tuple[Any, Any, Tensor]]] = found["change_pass"]
        self.change_every_pass: list[Callable[..., tuple[Any, Any, Tensor]]] = found["change_every_pass"]
        self.change_loss: list[Callable[..., Tensor]] = found["change_loss"]
        self.after_gradients: list[Callable[[], None]] = found["after_gradients"]
        self.change_rate: list[Callable[[float, int, float, float], float]] = found["change_rate"]
        self.change_groups: list[Callable[[Sequence[dict[str, Any]]], None]] = found["change_groups"]
        self.after_step: list[Callable[[Tensor], None]] = found["after_step"]
        self.after_epoch: list[Callable[[float | None], None]] = found["after_epoch"]

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
        self.refresh()

    def train(self, weights: Sequence[nn.Parameter]) -> None:
        """Act on other weights from now on: some were frozen or unfrozen."""
        self._weights = weights
        for part in self._parts.values():
            part.train(weights)

    def changed(self, name: str) -> str:
        """React to a new value of ``name``; return what a strategy swapped in took over, in words."""
        carried = ""
        if name in self._strategies and type(self._parts[name]) is not self._chosen(name):
            before = self._parts[name]
            self._parts[name] = after = self._bind(self._chosen(name)())
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

    def weights(self) -> dict[str, Tensor]:
        """Return what the model is to compute with, by name."""
        weights: dict[str, Tensor] = dict(self._context.named_weights)
        for change in self.change_weights:
            weights = change(weights)
        return weights

    # -- snapshots

    @property
    def state(self) -> dict[str, dict[str, Any]]:
        """What the parts remember, by part and attribute."""
        return {
            name: {item: getattr(part, item) for item in part.memory}
            for name, part in self._parts.items()
            if part.memory
        }

    @state.setter
    def state(self, state: dict[str, dict[str, Any]]) -> None:
        for name, part in self._parts.items():
            for item, value in state.get(name, {}).items():
                setattr(part, item, value)


def tell_carried(kept: Sequence[str], dropped: Sequence[str]) -> str:
    """Say what was kept and what was dropped at a swap; "" if there was nothing."""
    words = []
    if kept:
        words.append(_("kept: {names}", names=", ".join(kept)))
    if dropped:
        words.append(_("dropped: {names}", names=", ".join(dropped)))
    return "; ".join(words)
