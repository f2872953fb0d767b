"""Following units through a forward pass: what each of torch's functions makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nbopt.data.tree import tensors
from nbopt.edits.functions import LOCAL, MOVING, READS, REDUCING, SPREADING, UNITWISE
from nbopt.edits.units import INTO, OUT, THROUGH, Units, names_of
from nbopt.i18n import _

Handler = Callable[["Following", tuple[Any, ...], dict[str, Any], Any], Any]


class Following(TorchFunctionMode):
    """Follows the units of all layers of a model, in this thread alone.

    A tensor's units are a tensor of numbers that broadcasts to its shape, of size 1 where they are the same.

    Parameters
    ----------
    model : torch.nn.Module
    handlers : mapping of str to callable
        What follows units through functions whose weights have units, by the functions' names.

    Attributes
    ----------
    units : Units
    used : dict of str to Tensor
        The weights that the model computed with, which a technique may have made of its own.
    outputs : set of int
        The units that the model puts out.
    seen : list of tuple
        The tensors that layers took, with the units in them.
    """

    def __init__(self, model: nn.Module, handlers: Mapping[str, Handler]) -> None:
        super().__init__()
        self.units = Units()
        self.used: dict[str, Tensor] = {}
        self.outputs: set[int] = set()
        self.seen: list[tuple[Tensor, Tensor]] = []
        self._model = model
        self._handlers = handlers
        self._names = names_of(model)
        self._elsewhere: dict[str, list[tuple[Tensor, str]]] = {}
        self._followed: dict[int, tuple[Tensor, Tensor]] = {}  # with the tensors, so that no id is given twice
        self._none = self.units.new(1)
        self.units.fix(self._none, _("its outputs are joined with what no layer puts out"))

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Do what is asked for, and look what becomes of the units."""
        named = kwargs or {}
        result = func(*args, **named)
        self._look(func, args, named, result)
        return result

    # -- what tensors hold

    def name_of(self, tensor: Any) -> str:
        """Return the name of a weight or buffer of the model; "" for another tensor."""
        if not isinstance(tensor, Tensor):
            return ""
        found = self._names.get(id(tensor))
        if found is None and (isinstance(tensor, nn.Parameter) or tensor.requires_grad or self._is_put_in(tensor)):
            self._names |= names_of(self._model)  # a technique put others in their place
            found = self._names.get(id(tensor))
        return "" if found is None else found[0]

    def use(self, tensor: Any) -> str:
        """Return the name of a weight whose units are followed; "" for another tensor."""
        if name := self.name_of(tensor):
            self.used[name] = tensor
        return name

    def _is_put_in(self, tensor: Tensor) -> bool:
        return tensor.ndim > 0 and tensor.is_leaf and id(tensor) not in self._followed

    def of(self, value: Any) -> Tensor | None:
        """Return the units of a tensor, None if it has none that are followed."""
        found = self._followed.get(id(value)) if isinstance(value, Tensor) else None
        return None if found is None else found[1]

    def follow(self, value: Any, units: Tensor | None) -> None:
        """Take note of the units of a tensor."""
        if not isinstance(value, Tensor) or units is None:
            return
        units = _narrow(units)
        self._followed[id(value)] = value, units
        same = [dim for dim in range(value.ndim) if units.shape[dim] == 1]
        other = value.detach() != 0
        seen = other.any(dim=tuple(same), keepdim=True) if same else other
        self.units.alive.update(units[seen.to("cpu")].tolist() if value.numel() else ())

    def fix_outputs(self, outputs: Any) -> None:
        """Take note that the model's outputs stay as they are."""
        for value in tensors(outputs):
            if (units := self.of(value)) is not None:
                self.outputs |= set(units.reshape(-1).tolist())

    def finish(self) -> Units:
        """Return what was found."""
        self.outputs = {self.units.root(unit) for unit in self.outputs}
        why = _("its outputs are those of the model, which loss and data expect as they are")
        self.units.reasons |= dict.fromkeys(self.outputs, why)
        for (name, _dim), units in self.units.axes.items():
            for tensor, function in self._elsewhere.get(name, ()):
                if tensor is self.used[name]:  # and not the one that a technique made this of
                    self.units.fix(units, _("{name} is used by {function} too", name=name, function=function))
        return self.units

    # -- functions

    def _look(self, func: Any, args: tuple[Any, ...], named: dict[str, Any], result: Any) -> None:
        name = getattr(func, "__name__", "")
        if name == "__get__":  # of an attribute that is another tensor, as x.T
            name = getattr(func.__self__, "__name__", name)
        name = name.strip("_")
        handler = self._handlers.get(name)
        if handler is not None:
            handler(self, args, named, result)
        elif name in READS and not isinstance(result, Tensor):
            return
        elif name in MOVING:
            self._move(func, args, named, result)
        elif name in UNITWISE or name in LOCAL or name in REDUCING or name in SPREADING:
            self._each(name, args, named, result)
        else:
            self.give_up(name, args, named, result)

    def give_up(self, name: str, args: Any, named: Any, result: Any) -> None:
        """Take note that units go through what may join them, and that weights are used there."""
        for value in flat((args, named)):
            if (units := self.of(value)) is not None:
                self.units.fix(units, _("its outputs go through {function}, which may join units", function=name))
            single = isinstance(result, Tensor) and result.numel() == 1  # as a penalty on weights
            if not single and (own := self.name_of(value)):
                self._elsewhere.setdefault(own, []).append((value, name))

    def _move(self, func: Any, args: tuple[Any, ...], named: dict[str, Any], result: Any) -> None:
        """Do to the units what is done to the tensors."""
        first = args[0] if args else next(iter(named.values()), None)
        given = list(first) if isinstance(first, (list, tuple)) else [first]
        for value in given:
            if own := self.name_of(value):
                self._elsewhere.setdefault(own, []).append((cast(Tensor, value), getattr(func, "__name__", "")))
        if all(self.of(value) is None for value in given):
            return
        filled = [self._filled(value) for value in given]
        source = filled if isinstance(first, (list, tuple)) else filled[0]
        keyed = dict(named)
        if not args:
            keyed[next(iter(named))] = source
        if hasattr(func, "__self__") and getattr(func, "__name__", "") == "__get__":
            made = func(source)
        else:
            made = func(source, *args[1:], **keyed) if args else func(**keyed)
        for value, units in zip(tensors(result), tensors(made), strict=True):
            self.follow(value, units)

    def _filled(self, value: Any) -> Any:
        units = self.of(value)
        if units is None:
            return self._none.expand(value.shape) if isinstance(value, Tensor) else value
        return units.expand(value.shape)

    def _each(self, name: str, args: tuple[Any, ...], named: dict[str, Any], result: Any) -> None:
        """Follow units through what is done to each of them alone, where several tensors meet too."""
        given = [value for value in flat((args, named)) if isinstance(value, Tensor)]
        followed = [(value, units) for value in given if (units := self.of(value)) is not None]
        for value in given:
            single = isinstance(result, Tensor) and result.numel() == 1  # as a penalty on weights
            if not followed and not single and value.numel() > 1 and (own := self.name_of(value)):
                self._elsewhere.setdefault(own, []).append((value, name))
        made = next((value for value in tensors(result) if value.ndim or not followed), None)
        if not followed or made is None:
            for _value, units in followed if made is None else ():
                self.units.fix(units, _("its outputs go through {function}, which may join units", function=name))
            return
        source, units = followed[0]
        if name in LOCAL or name in REDUCING or name in SPREADING:
            kept = self._kept(name, source, units, args, named, made)
            if kept is None:
                self.give_up(name, args, named, result)
            else:
                for value in tensors(result):
                    if value.shape == made.shape:
                        self.follow(value, kept)
            return
        for _value, others in followed[1:]:
            self.units.join(units, others)
            units = units + torch.zeros_like(others)
        units = units.reshape((1,) * (made.ndim - units.ndim) + tuple(units.shape))
        for value in given:
            if self.of(value) is None and value.numel() > 1:
                self.meet(value, units, name)
        self.follow(made, units)

    def meet(self, value: Tensor, units: Tensor, function: str) -> None:
        """Take note that units meet a tensor that is not followed: a weight with a number for each, or another one."""
        shape = (1,) * (units.ndim - value.ndim) + tuple(value.shape)
        varied = [dim for dim in range(units.ndim) if units.shape[dim] > 1 and shape[dim] > 1]
        if not varied:
            return
        own, dim = self.use(value), varied[0] - (units.ndim - value.ndim)
        alone = len(varied) == 1 and value.numel() == value.shape[dim]
        if own and alone and units.numel() == units.shape[varied[0]]:
            self.units.axis(own, dim, value.shape[dim], THROUGH, units)
        else:
            self.units.fix(units, _("its outputs meet others in {function}", function=function))

    def _kept(self, name: str, source: Tensor, units: Tensor, args: Any, named: Any, made: Tensor) -> Tensor | None:
        """Return the units after pooling, a sum or softmax over places; None where these are sums over units."""
        varied = [dim for dim in range(units.ndim) if units.shape[dim] > 1]
        if name in LOCAL:
            same = made.ndim == source.ndim and all(made.shape[dim] == source.shape[dim] for dim in varied)
            return units if same else None
        dims = named.get("dim", named.get("axis", args[1] if len(args) > 1 else None))
        if name == "normalize":
            dims = named.get("dim", args[2] if len(args) > 2 else 1)
        if dims is None or isinstance(dims, bool):
            dims = range(source.ndim)
        over = {dim % source.ndim for dim in ([dims] if isinstance(dims, int) else dims)}
        if over & set(varied):
            return None
        if name in SPREADING or made.ndim == source.ndim:
            return units
        return units.reshape([units.shape[dim] for dim in range(units.ndim) if dim not in over])


def _narrow(units: Tensor) -> Tensor:
    """Return units with size 1 in each dimension along which they are the same."""
    for dim in range(units.ndim):
        if units.shape[dim] > 1 and bool((units == units.narrow(dim, 0, 1)).all()):
            units = units.narrow(dim, 0, 1)
    return units


def flat(value: Any) -> Iterator[Any]:
    """Yield what stands among a function's arguments, in lists and mappings too."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from flat(item)
    elif isinstance(value, dict):
        yield from flat(list(value.values()))
    else:
        yield value


def argument(args: tuple[Any, ...], named: dict[str, Any], place: int, name: str) -> Any:
    """Return an argument given by position or by name, None if it was not."""
    return args[place] if len(args) > place else named.get(name)


__all__ = ["INTO", "OUT", "THROUGH", "Following", "argument", "flat"]
