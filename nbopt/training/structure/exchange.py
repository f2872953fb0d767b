"""A model's weights and modules exchanged for others, and what goes along with them or is in the way."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nbopt.i18n import _
from nbopt.techniques.base import Technique
from nbopt.techniques.optimizers.powers import power_of
from nbopt.training.structure.edit import Plan
from nbopt.training.structure.sizes import find_sizes

if TYPE_CHECKING:
    from nbopt.training.training import Training

Record = list[Any]
"""How to undo a part of an edit, as copies of a model can take it along: a kind, objects, and what they had."""


class Exchange:
    """Weights, buffers, attributes and modules of a model as they are and as they are to be, ready to be exchanged.

    Attributes
    ----------
    tensors : dict of str to Tensor
        The model's own whose numbers are exchanged.
    modules : list of tuple
        What stands at a place that gets another module, None being nothing, and that one.
    gone : list of Parameter
        The weights that the model has no more.
    records : list
        How the model gets back the structure that it had, see `undo`.
    """

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self.tensors = {name: named[name] for name in plan.resizes}
        self.modules: list[tuple[nn.Module | None, nn.Module | None]] = []
        self.records: list[Record] = []
        self._numbers = [(tensor, plan.value(name, tensor)) for name, tensor in self.tensors.items()]
        self._before = [(tensor, tensor.data) for tensor in self.tensors.values()]
        self._filled = [(named[name], value, named[name].detach().clone()) for name, value in plan.numbers.items()]
        self._model, self._listeners = model, plan.listeners
        self._attributes = [(model.get_submodule(place), name, value) for place, name, value in plan.attributes]
        own = {id(tensor) for tensor in self.tensors.values()}
        self._owners = [module for module in model.modules() if any(id(held) in own for held in _held(module))]
        self._places: list[tuple[nn.Module, str, nn.Module | None]] = []
        for place, module in plan.modules.items():
            parent, _dot, name = place.rpartition(".")
            self._places.append((model.get_submodule(parent), name, module))
        self._record()
        self.gone = self._find_gone(model)

    def _record(self) -> None:
        """Note how everything is before."""
        self.records += [["shape", tensor, list(tensor.shape)] for tensor in self.tensors.values()]
        named = [(module, name) for module, name, _value in self._attributes]
        named += [(module, name) for module in self._owners for name, _size in find_sizes(module)]
        self.records += [["attribute", module, name, getattr(module, name)] for module, name in named]
        for parent in dict.fromkeys(parent for parent, _name, _module in self._places):
            self.records.append(["children", parent, dict(parent._modules)])
        if self._listeners:
            held = self._model._forward_pre_hooks, self._model._forward_pre_hooks_with_kwargs
            self.records.append(["listeners", self._model, *[dict(hooks) for hooks in held]])
        self.modules = [(parent._modules.get(name), module) for parent, name, module in self._places]

    def _find_gone(self, model: nn.Module) -> list[nn.Parameter]:
        going = {id(part) for old, _new in self.modules if old is not None for part in old.modules()}
        rest = [module for module in model.modules() if id(module) not in going]
        kept = {id(weight) for module in rest for weight in module.parameters(recurse=False)}
        kept |= {id(weight) for _old, new in self.modules if new is not None for weight in new.parameters()}
        old = [weight for module, _new in self.modules if module is not None for weight in module.parameters()]
        return [weight for weight in dict.fromkeys(old) if id(weight) not in kept]

    def do(self) -> None:
        """Give the model what it is to have."""
        for tensor, numbers in self._numbers:
            _give(tensor, numbers)
        for module, name, value in self._attributes:
            setattr(module, name, value)
        for module in self._owners:
            for name, size in [*find_sizes(module)]:
                setattr(module, name, size)
        for (parent, name, made), (old, _new) in zip(self._places, self.modules, strict=True):
            if made is None:
                del parent._modules[name]
            else:
                _fit_in(made, old)
                parent._modules[name] = made
        for tensor, numbers, _before in self._filled:
            _fill(tensor, numbers)
        for listener in self._listeners:
            self._model.register_forward_pre_hook(listener, with_kwargs=True)

    def undo(self) -> None:
        """Give the model back what it had."""
        undo(self.records)
        for tensor, numbers in self._before:
            _give(tensor, numbers)
        for tensor, _numbers, before in self._filled:
            _fill(tensor, before)


def _give(tensor: Tensor, numbers: Tensor) -> None:
    """Give a tensor other numbers, maybe of another shape."""
    if tensor.shape != numbers.shape:
        # While somebody holds what was computed with it, torch expects gradients of the shape that it had; not of a
        # tensor that had another type in between.
        between = torch.float16 if tensor.dtype != torch.float16 else torch.float32
        tensor.data = tensor.data.new_empty(0, dtype=between)
    tensor.data = numbers


def undo(records: Iterable[Record]) -> None:
    """Give a model back the structure that it had; the numbers in weights that had another shape are lost."""
    for kind, *rest in records:
        if kind == "shape":
            tensor, shape = rest
            if list(tensor.shape) != shape:
                _give(tensor, tensor.data.new_zeros(shape))
                tensor.grad = None
        elif kind == "attribute":
            setattr(*rest)
        elif kind == "children":
            parent, children = rest
            parent._modules.clear()
            parent._modules.update(children)
        elif kind == "listeners":
            model, hooks, named = rest
            for held, before in ((model._forward_pre_hooks, hooks), (model._forward_pre_hooks_with_kwargs, named)):
                held.clear()
                held.update(before)


@torch.no_grad()
def _fill(tensor: Tensor, numbers: Tensor) -> None:
    tensor.copy_(numbers)  # in place: views of it go on holding what it holds


def _held(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]


def _fit_in(made: nn.Module, old: nn.Module | None) -> None:
    """Have what is new in a module train as that which it takes the place of: in the same mode, or not at all."""
    if old is None:
        return
    modules, weights = set(old.modules()), list(old.parameters())
    for module in made.modules():
        if module not in modules:
            module.training = old.training
    if weights and not any(weight.requires_grad for weight in weights):
        known = {id(weight) for weight in weights}
        for weight in made.parameters():
            if id(weight) not in known:
                weight.requires_grad_(False)


def carry(training: Training, plan: Plan, exchange: Exchange) -> tuple[dict[Any, Any], list[str]]:
    """Return what the optimizer is to remember, by weight, and what it has to forget, in words."""
    optimizer = training.optimizer
    state, forgotten = dict(optimizer.state), list[str]()
    if optimizer.repeats:  # what they remember is of all weights together
        return {}, optimizer.remembered if state else []
    for name, tensor in exchange.tensors.items():
        own = state.pop(tensor, None)
        if isinstance(own, Mapping) and all(_is_of(tensor, value) for value in own.values()):
            state[tensor] = {key: _resized(key, value, tensor, plan, name) for key, value in own.items()}
        elif own is not None:
            forgotten.append(name)
    for weight in exchange.gone:
        if state.pop(weight, None):
            forgotten.append(training.material.names[id(weight)].removeprefix("model."))
    if forgotten:
        kind = type(training.torch_optimizer).__name__
        return state, [_("what {kind} remembers of {names}", kind=kind, names=", ".join(forgotten))]
    return state, []


def _is_of(tensor: Tensor, value: Any) -> bool:
    """Whether what is remembered of a weight is of its shape, or no more than a number."""
    return not isinstance(value, Tensor) or value.numel() < 2 or value.shape == tensor.shape


def _resized(key: str, value: Any, tensor: Tensor, plan: Plan, name: str) -> Any:
    if not isinstance(value, Tensor) or value.shape != tensor.shape:
        return value
    power = power_of(key)
    return plan.value(name, value) if power is None else plan.moment(name, value, power)


def find_obstacle(training: Training, exchange: Exchange, around: Iterable[tuple[str, Any]]) -> str:
    """Return what would not go along, in words; "" if everything does."""
    stored = training.model.state_dict().keys()
    for name, tensor in exchange.tensors.items():
        if name not in stored:
            return _("state_dict has no {name}", name=name)
        if tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None):
            return _("there is a hook on {name}", name=name)
    for old, _new in exchange.modules:
        if old is not None and (old._forward_hooks or old._forward_pre_hooks or old._backward_hooks):
            return _("there is a hook on a {kind} that is exchanged", kind=type(old).__name__)
    gone = {training.material.names.get(id(weight), ""): weight for weight in exchange.gone}
    own = {id(tensor) for tensor in [*exchange.tensors.values(), *gone.values()]}
    memory = {tensor.untyped_storage().data_ptr(): name for name, tensor in {**exchange.tensors, **gone}.items()}
    for place, value in around:
        strided = isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta
        if strided and id(value) not in own and value.untyped_storage().data_ptr() in memory:
            return _("{place} is a view of {name}", place=place, name=memory[value.untyped_storage().data_ptr()])
    shapes = {tensor.shape for tensor in [*exchange.tensors.values(), *gone.values()] if tensor.ndim > 1}
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
