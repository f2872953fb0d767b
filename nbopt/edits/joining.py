"""One head for the features of two models: where the heads are, and what takes the place of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nbopt.edits.picking import everywhere, find_layer
from nbopt.edits.written import beside, joined
from nbopt.i18n import _
from nbopt.training.structure.edit import CannotEdit, Plan
from nbopt.training.trial import evaluate

if TYPE_CHECKING:
    from nbopt.training.training import Training

Calls = list[tuple[str, Any]]


def find_heads(training: Training, other: nn.Module, refuse: Callable[[str], Exception]) -> tuple[str, str]:
    """Return the names of the heads of a run's model and of another one."""
    model = training.model
    outputs: list[tuple[Any, Any]] = []
    ours, theirs = Calls(), Calls()

    def begin(_model: nn.Module, _inputs: tuple[Any, ...]) -> None:
        ours.clear()  # what the loss looks at may take a pass of its own before

    def ask(_model: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], made: Any) -> None:
        theirs.clear()
        try:
            with _hearing(other, theirs):
                outputs.append((made, other.eval()(*inputs, **named)))
        except Exception as error:  # whatever the other model raises
            raise refuse(_("the other model cannot be given this one's inputs ({error})", error=error)) from error

    hooks = model.register_forward_pre_hook(begin), model.register_forward_hook(ask, with_kwargs=True)
    try:
        with _hearing(model, ours):
            evaluate(training)
    finally:
        for hook in hooks:
            hook.remove()
    if not outputs:
        raise refuse(_("the forward pass does not call the model as a whole, whose inputs the other one is to have"))
    made, said = outputs[-1]
    if not isinstance(made, Tensor) or not isinstance(said, Tensor):
        raise refuse(_("both models have to return one tensor"))
    if made.shape[1:] != said.shape[1:]:
        sizes = [" x ".join(map(str, one.shape[1:])) or _("one number") for one in (made, said)]
        told = _("of a sample, the model puts out {ours}, and the other one {theirs}", ours=sizes[0], theirs=sizes[1])
        raise refuse(told)
    named = (_("model"), model, ours, made), (_("other model"), other, theirs, said)
    one, another = (_find_head(*each, refuse) for each in named)
    if (model.get_submodule(one).bias is None) != (other.get_submodule(another).bias is None):
        raise refuse(
            _("one of the heads, {one} and {other}, has a bias and the other has none", one=one, other=another)
        )
    return one, another


def _find_head(whose: str, model: nn.Module, calls: Calls, outputs: Tensor, refuse: Callable[[str], Exception]) -> str:
    """Return the name of the last linear layer."""
    if not calls:
        raise refuse(_("the {model} has no linear layer that could be its head", model=whose))
    name, made = calls[-1]
    if made.numel() != outputs.numel() or not torch.equal(made.flatten(), outputs.flatten()):
        told = _("the outputs of the {model} are not those of its last linear layer, {name}", model=whose, name=name)
        raise refuse(told)
    if not name or [own for own, _made in calls].count(name) > 1:
        raise refuse(_("the last linear layer of the {model} is all of it, or is used several times", model=whose))
    return name


@contextmanager
def _hearing(model: nn.Module, calls: Calls) -> Iterator[None]:
    """Note what linear layers return meanwhile."""
    hooks = []
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):

            def hear(_layer: nn.Module, _inputs: Any, made: Any, name: str = name) -> None:
                calls.append((name, made.detach()))

            hooks.append(layer.register_forward_hook(hear))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@dataclass(frozen=True)
class _Joined:
    """How a head's weight or bias becomes that of one head for two: a `Change`."""

    theirs: Tensor
    share: float

    def value(self, tensor: Tensor) -> Tensor:
        """Return each part weighted, one beside the other; of biases, the mean."""
        return joined(tensor.detach(), self.theirs, self.share)

    def moment(self, tensor: Tensor, power: int) -> Tensor:
        """Return what is remembered; of what is new, nothing is."""
        if tensor.ndim == 1:
            return tensor
        return torch.cat([tensor, torch.zeros_like(self.theirs, dtype=tensor.dtype)], 1)


def plan(model: nn.Module, other: nn.Module, heads: tuple[str, ...], share: float) -> Plan:
    """Return what stands in the place of the model's head."""
    if len(heads) != 2:
        raise CannotEdit(_("it is not known which layers are the heads."))
    head, theirs = find_layer(model, heads[0]), find_layer(other, heads[1])
    if not isinstance(head, nn.Linear) or not isinstance(theirs, nn.Linear):
        raise CannotEdit(_("{name} is no linear layer.", name=heads[0]))
    resizes = {f"{heads[0]}.{name}": _Joined(held.detach(), share) for name, held in theirs.named_parameters()}
    made = beside(head, other, heads[1])
    return Plan(resizes, [], "", everywhere(model, head, made), listeners=[made.listen])


@contextmanager
def averaging_outputs(model: nn.Module, other: nn.Module, share: float) -> Iterator[None]:
    """Have a model return the mean of its outputs and another one's meanwhile."""

    def average(_model: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], made: Any) -> Any:
        return torch.lerp(made, other.eval()(*inputs, **named).to(made.dtype), share)

    hook = model.register_forward_hook(average, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()
