"""Putting back what `nbopt.objects.taking` took down, into the same objects, copies, or those of another process.

Objects that are there are changed, and where something is equal already, nothing is touched: a graph may need it.
Nothing that stands in a snapshot names a class or function to be called: what is made anew is a container, or of a
class that was seen among these objects.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nbopt.objects.keeper import Keeper, Packed
from nbopt.objects.kinds import (
    CONTAINERS,
    STANDARD,
    attributes_of,
    describe_kind,
    is_constant,
    name_of_kind,
    own_attributes,
    set_attribute,
)
from nbopt.objects.memory import is_same
from nbopt.objects.numbers import read_array, read_scalar

_HARMLESS = re.compile(r"[\w -]{0,1000}")


class Putting:
    """One way back.

    Parameters
    ----------
    keeper : Keeper
    tensors : mapping of str to Tensor
        Those that taking gave.
    parts : mapping of str to Tensor
        Weights and buffers as a snapshot holds them by other means, by their names.
    device : torch.device
        For what was not on the CPU.
    foreign : bool
        Whether it was read from a store. Texts that could be paths are then not put in the place of others.

    Attributes
    ----------
    lost : list of str
        Where something could not be put back.
    """

    def __init__(
        self,
        keeper: Keeper,
        tensors: Mapping[str, Tensor],
        parts: Mapping[str, Tensor],
        device: torch.device,
        foreign: bool = False,
    ) -> None:
        self.lost: list[str] = []
        self._keeper = keeper
        self._tensors = tensors
        self._parts = parts
        self._device = device
        self._foreign = foreign
        self._made: dict[int, Any] = {}
        self._used: dict[int, Any] = {}
        self._live: dict[str, Tensor] = {}

    def know(self, roots: Mapping[str, Any]) -> None:
        """Know the weights and buffers of the modules among ``roots``."""
        for root, value in roots.items():
            for prefix, module in value.named_modules(prefix=root) if isinstance(value, nn.Module) else ():
                for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                    if tensor is not None:
                        self._live[f"{prefix}.{name}"] = tensor

    def put(self, roots: Mapping[str, Any], packed: Mapping[str, Packed]) -> None:
        """Give ``roots`` what was taken from them."""
        self.know(roots)
        for root, value in roots.items():
            if root in packed:
                self.value(packed[root], value, root)

    def value(self, packed: Packed, live: Any, place: str) -> Any:
        """Return what is to be at ``place``, where ``live`` is now."""
        if not isinstance(packed, dict):
            if type(live) is type(packed) and live == packed and type(packed) is not float:
                return live
            foreign = isinstance(packed, str) and self._foreign and not _HARMLESS.fullmatch(packed)
            return self._lose(live, place) if foreign else packed
        if "ref" in packed:
            return self._made.get(packed["ref"], live)
        if "part" in packed:
            return self._live.get(packed["part"], live)
        if "atom" in packed:
            return self._atom(packed["atom"], live, place)
        if "left" in packed:
            return live
        made = self._of(packed, live, place)
        if "id" in packed:
            self._made[packed["id"]] = made
        return made

    def _of(self, packed: Mapping[str, Packed], live: Any, place: str) -> Any:
        if "tensor" in packed:
            return self._tensor(packed, live)
        if "view" in packed:
            return self._view(packed, live, place)
        if "array" in packed:
            array = read_array(packed, self._tensors)
            alike = type(live) is np.ndarray and (live.dtype, live.shape) == (array.dtype, array.shape)
            return live if alike and live.tobytes() == array.tobytes() and self._claim(live) else array
        if "complex" in packed:
            return complex(*(self.value(part, None, place) for part in packed["complex"]))
        if packed.keys() & {"number", "float", "bytes"}:
            return read_scalar(packed)
        if "module" in packed:
            return self._module(packed, live, place)
        if "object" in packed:
            return self._object(packed, live, place)
        return self._container(packed, live, place)

    def _claim(self, live: Any) -> bool:
        """Whether an object that is there may be what was taken down: it is not taken for two."""
        if id(live) in self._used:
            return False
        self._used[id(live)] = live
        return True

    def _lose(self, live: Any, place: str) -> Any:
        self.lost.append(place)
        return live

    def _atom(self, atom: list[Any], live: Any, place: str) -> Any:
        token, number, kind = atom
        found = self._keeper.find(number) if token == self._keeper.token else None
        if found is not None:
            return found
        return live if is_constant(live) and describe_kind(live) == kind else self._lose(live, place)

    # -- tensors

    def _tensor(self, packed: Mapping[str, Packed], live: Any, in_place: bool = False) -> Tensor:
        kept, grad = self._tensors[packed["tensor"]], bool(packed.get("grad"))
        alike = isinstance(live, Tensor) and live.is_leaf and live.requires_grad is grad and not live.is_meta
        if alike and (live.dtype, live.shape) == (kept.dtype, kept.shape) and self._claim(live):
            if is_same(live.detach().to("cpu"), kept):
                return live  # type: ignore[no-any-return]
            if in_place or grad:  # others hold it, as an optimizer; a plain one may be a view of the user's data
                with torch.no_grad():
                    return live.copy_(kept)  # type: ignore[no-any-return]
        made = kept.to(self._device if packed["device"] else "cpu", copy=True)
        if isinstance(live, nn.Parameter):
            return nn.Parameter(made, grad)
        return made.requires_grad_(grad)

    def _view(self, packed: Mapping[str, Packed], live: Any, place: str) -> Any:
        base = self.value(packed["view"], None, place)
        if not isinstance(base, Tensor):
            return self._lose(live, place)
        size, stride, offset = packed["size"], packed["stride"], packed["offset"] + base.storage_offset()
        if isinstance(live, Tensor) and live.untyped_storage().data_ptr() == base.untyped_storage().data_ptr():
            if (list(live.shape), list(live.stride()), live.storage_offset()) == (size, stride, offset):
                return live
        return (base if packed.get("grad") else base.detach()).as_strided(size, stride, offset)

    # -- containers

    def _container(self, packed: Mapping[str, Packed], live: Any, place: str) -> Any:
        name = next((name for name in ("list", "tuple", "deque", "set", "dict") if name in packed), None)
        if name is None:
            return self._lose(live, place)
        kind: Any = self._keeper.classes.get(packed["class"]) if "class" in packed else tuple
        if kind is None or not issubclass(kind, (list, tuple, deque, set, frozenset, dict)):
            return self._lose(live, place)
        reuse = type(live) is kind and not issubclass(kind, tuple) and self._claim(live)
        if not reuse and kind not in CONTAINERS.values() and not issubclass(kind, tuple):
            return self._lose(live, place)
        if name == "dict":
            return self._dict(packed, live if reuse else kind(), dict(live) if reuse else {}, place)
        if name in ("list", "deque"):
            made = live if reuse else (kind([], packed["length"]) if name == "deque" else kind())
            if "id" in packed:
                self._made[packed["id"]] = made
            items = self._items(packed[name], list(live) if isinstance(live, (list, deque)) else [], place)
            if len(items) != len(made) or any(a is not b for a, b in zip(items, made, strict=True)):
                made.clear()
                made.extend(items)
            return made
        items = self._items(packed[name], list(live) if isinstance(live, tuple) else [], place)
        if name == "set":
            if type(live) is kind and live == set(items):
                return live
            if reuse and kind is set:
                live.clear()
                live.update(items)
                return live
            return kind(items)
        if isinstance(live, tuple) and type(live) is kind and list(map(id, live)) == list(map(id, items)):
            return live
        try:
            return tuple.__new__(kind, items)
        except TypeError:  # a tuple of the interpreter's own
            return kind(items)

    def _items(self, packed: Iterable[Packed], live: list[Any], place: str) -> list[Any]:
        return [self.value(item, live[k] if k < len(live) else None, f"{place}[{k}]") for k, item in enumerate(packed)]

    def _dict(self, packed: Mapping[str, Packed], made: Any, before: dict[Any, Any], place: str) -> Any:
        if "id" in packed:
            self._made[packed["id"]] = made
        known = {_plain(key): key for key in before}
        items = {}
        for key, value in packed["dict"]:
            key = self.value(key, known.get(_plain(key)), f"{place} key")
            items[key] = self.value(value, before.get(key), f"{place}[{key!r}]")
        if list(items) != list(before) or any(items[key] is not before[key] for key in items):
            kind = OrderedDict if isinstance(made, OrderedDict) else dict  # a class of the user's may do more
            kind.clear(made)
            for key, value in items.items():
                kind.__setitem__(made, key, value)
        return made

    # -- objects

    def _object(self, packed: Mapping[str, Packed], live: Any, place: str) -> Any:
        kind = self._keeper.classes.get(packed["class"])
        if not (name_of_kind(live) == packed["class"] and self._claim(live)):
            if kind is None:
                return self._lose(live, place)
            live = object.__new__(kind)
        if "id" in packed:
            self._made[packed["id"]] = live
        self._attributes(packed["object"], live, attributes_of(live), place)
        return live

    def _attributes(self, packed: list[Any], live: Any, before: dict[str, Any], place: str) -> None:
        after = {name: self.value(value, before.get(name), f"{place}.{name}") for name, value in packed}
        for name in before.keys() - after.keys():
            if name in vars(live):
                del vars(live)[name]
        for name, value in after.items():
            if name not in before or before[name] is not value:
                set_attribute(live, name, value)

    def _module(self, packed: Mapping[str, Packed], live: Any, place: str) -> Any:
        if not (name_of_kind(live) == packed["class"] and isinstance(live, nn.Module) and self._claim(live)):
            kind = self._keeper.classes.get(packed["class"])
            if live is not None or kind is None or not issubclass(kind, nn.Module):
                return self._lose(live, place)
            live = object.__new__(kind)  # a step made it, in a copy that has not done that step
            nn.Module.__init__(live)
        if "id" in packed:
            self._made[packed["id"]] = live
        own = [pair for pair in packed["module"] if pair[0] not in STANDARD]
        self._attributes(own, live, own_attributes(live), place)
        trains = {name: trains for name, _value, trains in packed["weights"]}
        self._named([pair[:2] for pair in packed["weights"]], live._parameters, place, trains)
        self._named(packed["buffers"], live._buffers, place)
        self._named(packed["children"], live._modules, place)
        return live

    def _named(
        self, packed: list[Any], there: dict[str, Any], place: str, trains: Mapping[str, bool] | None = None
    ) -> None:
        for name in [name for name in there if name not in {name for name, _value in packed}]:
            del there[name]  # made since, by a step
        for name, value in packed:
            at, live = f"{place}.{name}", there.get(name)
            if isinstance(value, dict) and "tensor" in value:
                there[name] = self._tensor(value, live, in_place=True)
            elif isinstance(value, dict) and "part" in value:
                there[name] = self._fit(live, value["part"], None if trains is None else trains[name])
            else:
                found = self.value(value, live, at)
                if found is not None or value is None:
                    there[name] = found

    def _fit(self, live: Any, part: str, trains: bool | None) -> Any:
        """Return a tensor that can take the values of ``part``, which loading puts into it."""
        kept = self._parts.get(part)
        if kept is None or (isinstance(live, Tensor) and (live.shape, live.dtype) == (kept.shape, kept.dtype)):
            return live
        made = kept.to(self._device, copy=True)
        if not isinstance(live, Tensor if trains is None else nn.Parameter):
            return made if trains is None else nn.Parameter(made, trains)
        live.data = made  # others hold it, as an optimizer
        if trains is not None:
            live.requires_grad_(trains).grad = None
        return live


def _plain(key: Any) -> Any:
    return key if isinstance(key, (str, int, float, bool)) else None
