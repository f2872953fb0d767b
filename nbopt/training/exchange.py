"""A model's weights exchanged for others of another shape, and what goes along with them or is in the way."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nbopt.i18n import _
from nbopt.techniques.base import Technique
from nbopt.training.edit_base import Plan, Resize

if TYPE_CHECKING:
    from nbopt.training.training import Training

_POWERS = dict.fromkeys(("momentum_buffer", "exp_avg", "grad_avg", "exp_inf", "prev"), 1)
_POWERS |= dict.fromkeys(("exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum"), 2)
"""Of which power of the gradients the tensors are means that an optimizer remembers."""

_MEANS = frozenset(("ax",))  # ... and of the weights themselves


class Exchange:
    """Weights, buffers and attributes of a model as they are and as they are to be, ready to be exchanged.

    Attributes
    ----------
    tensors : dict of str to Tensor
        The model's own whose numbers are exchanged.
    """

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self.tensors = {name: named[name] for name in plan.resizes}
        self._numbers = [(self.tensors[name], resize.value(named[name])) for name, resize in plan.resizes.items()]
        self._attributes = [(model.get_submodule(place), name, value) for place, name, value in plan.attributes]

    def do(self) -> None:
        """Give the model what it is to have."""
        self._numbers = [(tensor, _swap(tensor, numbers)) for tensor, numbers in self._numbers]
        attributes = [(module, name, getattr(module, name)) for module, name, _value in self._attributes]
        for module, name, value in self._attributes:
            setattr(module, name, value)
        self._attributes = attributes

    undo = do  # the second time, the exchange leads back


def _swap(tensor: Tensor, numbers: Tensor) -> Tensor:
    before = tensor.data
    tensor.data = numbers
    return before


def carry(training: Training, plan: Plan, exchange: Exchange) -> tuple[dict[Any, Any], list[str]]:
    """Return what the optimizer is to remember, by weight, and what it has to forget, in words."""
    optimizer = training.optimizer
    state, forgotten = dict(optimizer.state), list[str]()
    if optimizer.repeats:  # what they remember is of all weights together
        return {}, optimizer.remembered if state else []
    for name, tensor in exchange.tensors.items():
        own = state.pop(tensor, None)
        if isinstance(own, Mapping) and all(_is_of(tensor, value) for value in own.values()):
            state[tensor] = {key: _resized(key, value, tensor, plan.resizes[name]) for key, value in own.items()}
        elif own is not None:
            forgotten.append(name)
    if forgotten:
        kind = type(training.torch_optimizer).__name__
        return state, [_("what {kind} remembers of {names}", kind=kind, names=", ".join(forgotten))]
    return state, []


def _is_of(tensor: Tensor, value: Any) -> bool:
    """Whether what is remembered of a weight is of its shape, or no more than a number."""
    return not isinstance(value, Tensor) or value.numel() < 2 or value.shape == tensor.shape


def _resized(key: str, value: Any, tensor: Tensor, resize: Resize) -> Any:
    if not isinstance(value, Tensor) or value.shape != tensor.shape:
        return value
    return resize.value(value) if key in _MEANS else resize.moment(value, _POWERS.get(key, 0))


def find_obstacle(training: Training, exchange: Exchange, around: Iterable[tuple[str, Any]]) -> str:
    """Return what would not go along, in words; "" if everything does."""
    names: dict[int, list[str]] = {}
    model = training.model
    for name, tensor in [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]:
        names.setdefault(id(tensor), []).append(name)
    stored = model.state_dict().keys()
    for name, tensor in exchange.tensors.items():
        if len(names[id(tensor)]) > 1:
            return _("one tensor is {names}", names=_(" and ").join(names[id(tensor)]))
        if name not in stored:
            return _("state_dict has no {name}", name=name)
        if tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None):
            return _("there is a hook on {name}", name=name)
    own = {id(tensor) for tensor in exchange.tensors.values()}
    memory = {tensor.untyped_storage().data_ptr(): name for name, tensor in exchange.tensors.items()}
    for place, value in around:
        strided = isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta
        if strided and id(value) not in own and value.untyped_storage().data_ptr() in memory:
            return _("{place} is a view of {name}", place=place, name=memory[value.untyped_storage().data_ptr()])
    shapes = {tensor.shape for tensor in exchange.tensors.values() if tensor.ndim > 1}
    keepers: dict[str, Any] = {type(part).__name__: part for part in training.acting.parts if not _follows(part)}
    keepers[type(training.torch_optimizer).__name__] = training.torch_optimizer
    for kind, keeper in keepers.items():
        for name, value in vars(keeper).items():
            if name not in ("weights", "param_groups", "state") and _holds(value, shapes, training.material.names):
                way = _("a technique that defines train(weights) is told of others, and may make them anew there")
                return _("{kind} keeps tensors of the weights' shape in {name}; {way}", kind=kind, name=name, way=way)
    return ""


def _follows(part: Technique) -> bool:
    """Whether a technique has a way of its own of going on with other weights."""
    return type(part).train is not Technique.train


def _holds(value: Any, shapes: Container[torch.Size], weights: Container[int]) -> bool:
    """Whether there is a tensor of one of these shapes in ``value`` that is none of the weights."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
    return any(isinstance(item, Tensor) and item.shape in shapes and id(item) not in weights for item in items)
