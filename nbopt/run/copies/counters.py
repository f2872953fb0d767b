"""What a run's data and functions keep from call to call, and share with copies: numbers, texts, small containers.

Copies have a model and a loss of their own, but no dataset, nor the variables around a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from inspect import getattr_static
from itertools import chain
from types import FunctionType
from typing import Any

from torch.utils.data import Dataset, Sampler

from nbopt.data.stream_source import StreamSource
from nbopt.record.snapshots import Snapshot
from nbopt.training.snapshots.checkpoint import capture
from nbopt.training.snapshots.restoring import restore
from nbopt.training.training import Training
from nbopt.training.user_code.callables import functions_of

_PLAIN = (type(None), bool, int, float, str)
_MOST = 64  # entries of a container
Place = tuple[str, Callable[[], Any], Callable[[Any], Any]]
"""A name, what tells its value, and what puts one back."""


class Counters:
    """Numbers, texts and small containers as they are when this is made."""

    def __init__(self, training: Training) -> None:
        self._parts = {
            id(part): (part, set(vars(part))) for part in _parts_of(training) if not _is_librarys(type(part))
        }
        own = [
            place
            for part, names in self._parts.values()
            for place in _within(vars(part), f"{type(part).__name__}.", names)
        ]
        self._before = [(place, _copy(place[1]())) for place in (*own, *_around_functions(training))]

    def find_changed(self, training: Training, snapshot: Snapshot | None = None) -> list[str]:
        """Return the names of those that a batch and a pass change; all is put back, and ``training`` to where it is.

        Parameters
        ----------
        training : Training
        snapshot : Snapshot, optional
            Where it is, if that is known.
        """
        if self._before or self._parts:
            snapshot = capture(training) if snapshot is None else snapshot
            with suppress(Exception):  # which a step raises
                batch = training.cursor.peek()
                with training.noise.lock, training.noise.seeded(training.step_seed):
                    training.pass_.plain(batch)
            restore(training, snapshot)
        return self.put_back()

    def put_back(self) -> list[str]:
        """Put them back to what they were; return the names of those that had changed."""
        changed = []
        for (name, get, put), before in self._before:
            if not _are_equal(get(), before):
                put(before)
                changed.append(name)
        for part, names in self._parts.values():
            new = [name for name, value in vars(part).items() if name not in names and isinstance(value, _PLAIN)]
            for name in new:  # which were the class's until then
                del vars(part)[name]
                changed.append(f"{type(part).__name__}.{name}")
        return changed


def _parts_of(training: Training) -> list[Any]:
    source = training.cursor.source
    parts = [source.loader] if isinstance(source, StreamSource) else [source.sampler, source.collate]
    parts += [getattr(source, "dataset", None)]
    found: dict[int, Any] = {}
    for part in parts:  # which grows by what they hold
        if id(part) not in found and hasattr(part, "__dict__") and not isinstance(part, (FunctionType, type)):
            found[id(part)] = part
            parts += [value for value in vars(part).values() if isinstance(value, (Dataset, Sampler))]
    return [*found.values()]


def _around_functions(training: Training) -> Iterator[Place]:
    given = [training.pass_.forward, *functions_of(training.loss), getattr(training.cursor.source, "collate", None)]
    given += [getattr_static(type(module), "forward", None) for module in training.model.modules()]
    for function in given:
        if isinstance(function, FunctionType) and not _is_librarys(function):
            yield from _within(function.__globals__, "", function.__code__.co_names)
            for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
                yield from _within(_Cell(cell), "", [name])


def _within(holder: Any, prefix: str, names: Any) -> Iterator[Place]:
    for name in names:
        value = holder.get(name)
        if isinstance(value, _PLAIN) and name in holder:
            yield prefix + name, partial(holder.get, name), partial(holder.__setitem__, name)
        elif type(value) in (dict, list, set) and len(value) <= _MOST:
            yield prefix + name, partial(_itself, value), partial(_refill, value)


class _Cell:
    """A variable of a closure, as a mapping of one name."""

    def __init__(self, cell: Any) -> None:
        self._cell = cell

    def __contains__(self, name: str) -> bool:
        return self.get(name, self) is not self

    def get(self, name: str, default: Any = None) -> Any:
        """Return its value."""
        try:
            return self._cell.cell_contents
        except ValueError:  # not assigned yet
            return default

    def __setitem__(self, name: str, value: Any) -> None:
        self._cell.cell_contents = value


def _itself(value: Any) -> Any:
    return value


def _copy(value: Any) -> Any:
    return value if isinstance(value, _PLAIN) else value.copy()


def _are_equal(one: Any, other: Any) -> bool:
    """Whether values are equal; of containers, whether they hold the same objects: tensors are no truth values."""
    if one is other or type(one) is not type(other):
        return one is other
    if isinstance(one, _PLAIN):
        return bool(one == other)
    pairs = zip([*_flat(one)], [*_flat(other)], strict=False)
    return len(one) == len(other) and all(mine is its or _are_equal_plain(mine, its) for mine, its in pairs)


def _are_equal_plain(one: Any, other: Any) -> bool:
    return isinstance(one, _PLAIN) and isinstance(other, _PLAIN) and one == other


def _flat(container: Any) -> Any:
    """Return what a container holds, in order: of a dict, keys and values."""
    return chain.from_iterable(container.items()) if isinstance(container, dict) else container


def _refill(kept: Any, before: Any) -> None:
    kept.clear()
    kept.extend(before) if isinstance(kept, list) else kept.update(before)


def _is_librarys(kind: Any) -> bool:
    return str(kind.__module__).partition(".")[0] in ("nbopt", "torch")
