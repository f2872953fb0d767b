"""What objects keep in their attributes, written down as JSON and tensors can hold it, so that it can be put back.

A plain value stands for itself; ``{kind: ...}`` for all else. What a snapshot holds elsewhere, as a weight of the
model, is a ``part``, and an object met again is a ``ref`` to the ``id`` that it got. Functions, classes and the like
are kept as they are (``atom``). What nothing can copy is left alone (``left``).
"""

from __future__ import annotations

import base64
import math
from collections import deque
from collections.abc import Iterable, Mapping
from copy import copy
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nbopt.i18n import _
from nbopt.objects.keeper import Keeper, Packed
from nbopt.objects.kinds import (
    attributes_of,
    describe_kind,
    holds_attributes,
    is_constant,
    name_of_kind,
    own_attributes,
    say_kind,
)
from nbopt.objects.memory import covers, is_same, storage_of, view_of

PREFIX = "kept."
"""Begins the names of tensors."""

_PLAIN = frozenset((type(None), bool, int, str))
_LARGE = 64 * 2**20  # bytes of a tensor that is not copied again and again; no weight, which is
_ACTIVATION = 4 * 2**20  # ... of one with a graph, which the next step makes anew
_MANY = 20_000  # entries of a container that holds more than plain values
_FLAT = 64  # entries from which on it pays to remember that a container did not change
_DEEP = 60


class Taking:
    """One look at objects.

    Parameters
    ----------
    keeper : Keeper
    tensors : dict of str to Tensor, or None
        Where copies go; None only looks.
    held : iterable of str

    Attributes
    ----------
    left : dict of str to str
        What nothing can copy, by where it is: what it is.
    """

    def __init__(self, keeper: Keeper, tensors: dict[str, Tensor] | None, held: Iterable[str] = ()) -> None:
        self.left: dict[str, str] = {}
        self._keeper = keeper
        self._tensors = tensors
        self._held = frozenset(held)
        self._seen: dict[int, dict[str, Packed]] = {}
        self._parts: dict[int, str] = {}
        self._storages: dict[int, tuple[Tensor, dict[str, Packed]]] = {}
        self._alive: list[Any] = []  # so that no id is given twice
        self._ids = count()
        self._depth = 0

    def take(self, roots: Mapping[str, Any]) -> Packed:
        """Return what ``roots`` keep, by name."""
        for root, value in roots.items():
            for prefix, module in value.named_modules(prefix=root) if isinstance(value, nn.Module) else ():
                for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                    if tensor is not None and f"{prefix}.{name}" in self._held:
                        self._parts.setdefault(id(tensor), f"{prefix}.{name}")
                        self._storages.setdefault(storage_of(tensor), (tensor, {"part": f"{prefix}.{name}"}))
        return {root: self.value(value, root) for root, value in roots.items()}

    def value(self, value: Any, place: str) -> Packed:
        """Return what ``value``, found at ``place``, is."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is tuple:
            return {"tuple": self._items(value, place)}
        if (known := self._seen.get(id(value))) is not None:
            return {"ref": known.setdefault("id", next(self._ids))}
        if (part := self._parts.get(id(value))) is not None:
            return {"part": part}
        if is_constant(value):
            return {"atom": [self._keeper.token, self._keeper.enter(value), describe_kind(value)]}
        node: dict[str, Packed] = {}
        self._seen[id(value)] = node
        self._alive.append(value)
        self._depth += 1
        if self._depth > _DEEP:
            node.update(self._leave(place, _("nested too deeply")))
        else:
            node.update(self._of(value, place))
        self._depth -= 1
        return node

    def _of(self, value: Any, place: str) -> dict[str, Packed]:
        if isinstance(value, Tensor):
            return self._tensor(value, place)
        if isinstance(value, nn.Module):
            return self._module(value, place)
        if isinstance(value, np.ndarray):
            return self._array(value, place)
        if isinstance(value, np.generic):
            return {"number": _text(np.asarray(value).tobytes()), "dtype": value.dtype.str}
        if type(value) is complex:
            return {"complex": [self.value(value.real, place), self.value(value.imag, place)]}
        if isinstance(value, (bytes, bytearray)):
            return {"bytes": _text(bytes(value)), "changes": isinstance(value, bytearray)}
        if isinstance(value, (list, tuple, deque, set, frozenset, dict)):
            return self._container(value, place)
        if holds_attributes(value):
            attributes = [[name, self.value(own, f"{place}.{name}")] for name, own in attributes_of(value).items()]
            return {"object": attributes, "class": self._class(value)}
        return self._leave(place, value)

    def _class(self, value: Any) -> str:
        name = name_of_kind(value)
        self._keeper.classes[name] = type(value)
        return name

    def _leave(self, place: str, value: Any) -> dict[str, Packed]:
        self.left[place] = value if isinstance(value, str) else say_kind(value)
        return {"left": self.left[place]}

    # -- containers

    def _items(self, values: Iterable[Any], place: str) -> list[Packed]:
        return [self.value(item, f"{place}[{index}]") for index, item in enumerate(values)]

    def _container(self, value: Any, place: str) -> dict[str, Packed]:
        last = self._keeper.flat.get(place) if len(value) >= _FLAT else None
        if last is not None and type(last[0]) is type(value) and last[0] == value:
            return dict(last[1])
        flat = len(value) >= _FLAT and all(map(_is_plain, value.values() if isinstance(value, dict) else value))
        if len(value) > _MANY and not flat:
            return self._leave(place, _("{what} of {count}", what=say_kind(value), count=len(value)))
        if isinstance(value, dict):
            pairs = [[self.value(key, f"{place} key"), self.value(own, _at(place, key))] for key, own in value.items()]
            node: dict[str, Packed] = {"dict": pairs, "class": self._class(value)}
        else:
            kinds = {"list": list, "tuple": tuple, "deque": deque, "set": (set, frozenset)}
            kind = next(name for name, of in kinds.items() if isinstance(value, of))  # type: ignore[arg-type]
            node = {kind: self._items(value, place), "class": self._class(value)}
            if isinstance(value, deque):
                node["length"] = value.maxlen
        if type(value).__module__ not in ("builtins", "collections", "torch") and getattr(value, "__dict__", None):
            self._leave(place, value)  # attributes besides
        if flat:
            self._keeper.flat[place] = copy(value), node
            return dict(node)
        return node

    # -- numbers

    def _tensor(self, value: Tensor, place: str) -> dict[str, Packed]:
        strange = value.layout is not torch.strided or value.is_meta or value.is_quantized or value.is_nested
        if strange or type(value) not in (Tensor, nn.Parameter, nn.Buffer):
            return self._leave(place, value)
        limit = _LARGE if value.is_leaf else _ACTIVATION
        if value.nbytes > limit and not isinstance(value, nn.Parameter):
            return self._leave(place, _("a tensor of {size} MB", size=value.nbytes // 10**6))
        other, known = self._storages.get(storage_of(value), (None, {}))
        if other is not None and covers(other, value):
            held = known if "part" in known else {"ref": known.setdefault("id", next(self._ids))}
            return view_of(held, other, value)
        node = {"tensor": self._keep(value.detach(), place), "device": value.device.type != "cpu"}
        if value.is_leaf and value.requires_grad:
            node["grad"] = True
        if other is None:
            self._storages[storage_of(value)] = value, self._seen[id(value)]
        elif "part" not in known and covers(value, other):  # a part of it came first, and is to be one again
            node["id"] = next(self._ids)
            earlier = {key: known[key] for key in ("id",) if key in known}
            known.clear()
            known.update({**view_of(node, value, other), **earlier})
            self._seen[id(value)] = node
            self._storages[storage_of(value)] = value, node
            return {"ref": node["id"]}
        return node

    def _array(self, value: Any, place: str) -> dict[str, Packed]:
        if value.dtype.kind not in "biufcSUmM" or type(value) is not np.ndarray or value.nbytes > _LARGE:
            return self._leave(place, value)
        flat = torch.frombuffer(bytearray(value.tobytes()), dtype=torch.uint8) if value.nbytes else torch.zeros(0)
        return {"array": self._keep(flat, place), "dtype": value.dtype.str, "shape": list(value.shape)}

    def _keep(self, value: Tensor, place: str) -> str:
        name = PREFIX + place
        if self._tensors is None:
            return name
        while name in self._tensors:
            name += "'"
        last = self._keeper.copies.get(name)
        value = value.to("cpu")
        if last is None or not is_same(last, value):
            last = self._keeper.copies[name] = value.clone(memory_format=torch.contiguous_format)
        self._tensors[name] = last
        return name

    # -- modules

    def _module(self, value: nn.Module, place: str) -> dict[str, Packed]:
        if isinstance(value, torch.jit.ScriptModule):
            return self._leave(place, value)
        return {
            "module": [[k, self.value(v, f"{place}.{k}")] for k, v in own_attributes(value).items()],
            "weights": [[name, *rest, _trains(value, name)] for name, *rest in self._named(value._parameters, place)],
            "buffers": self._named(value._buffers, place),
            "children": self._named(value._modules, place),
            "class": self._class(value),
        }

    def _named(self, values: Mapping[str, Any], place: str) -> list[Packed]:
        return [[name, self.value(value, f"{place}.{name}")] for name, value in values.items()]


def _trains(module: nn.Module, name: str) -> bool:
    weight = module._parameters[name]
    return weight is not None and weight.requires_grad


def _is_plain(value: Any) -> bool:
    return type(value) in _PLAIN or type(value) is float


def _at(place: str, key: Any) -> str:
    return f"{place}[{key!r}]" if _is_plain(key) else f"{place}[{type(key).__name__}]"


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
