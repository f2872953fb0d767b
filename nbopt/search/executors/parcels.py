"""What trials are made of, pickled for other processes; and in words, what of it cannot be."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

from nbopt.i18n import _

_DEEPEST = 8  # attributes of attributes that are looked into


def pack(subject: Any, dumps: Callable[[Any], bytes]) -> bytes:
    """Return a study's subject, pickled.

    Parameters
    ----------
    subject : Subject
    dumps : callable
        That of cloudpickle, which takes functions and classes of a notebook along.

    Raises
    ------
    TypeError
        Where something of it cannot be pickled; names that.
    """
    try:
        return dumps(subject)
    except Exception as error:  # whatever an object of the user's raises
        place, found = _find(subject.given(), dumps)
        kind = f"{type(found).__module__}.{type(found).__qualname__}".removeprefix("builtins.")
        told = _("{place}, a {kind}, cannot be sent to other processes ({error})", place=place, kind=kind, error=error)
        way = _("open or make it where it is used, or leave __getstate__ to do so; or search with executor='threads'")
        raise TypeError(_("{told}: {way}.", told=told, way=way)) from error


def _find(given: dict[str, Any], dumps: Callable[[Any], bytes]) -> tuple[str, Any]:
    """Return the innermost object that cannot be pickled, and where it is."""
    place, found, seen = "", given, set[int]()
    inside: Iterator[tuple[str, Any]] = iter(given.items())
    for _depth in range(_DEEPEST):
        wrong = next((pair for pair in inside if id(pair[1]) not in seen and not _can_pickle(pair[1], dumps)), None)
        if wrong is None:
            break
        place, found = f"{place}{wrong[0]}", wrong[1]
        seen.add(id(found))
        inside = _parts(found)
    return place or _("the study"), found


def _can_pickle(what: Any, dumps: Callable[[Any], bytes]) -> bool:
    try:
        dumps(what)
    except Exception:  # whatever an object of the user's raises
        return False
    return True


def _parts(what: Any) -> Iterator[tuple[str, Any]]:
    """Return what an object holds, and how one gets there."""
    if isinstance(what, dict):
        yield from ((f"[{key!r}]", value) for key, value in what.items())
    elif isinstance(what, (list, tuple, set, frozenset)):
        yield from ((f"[{place}]", value) for place, value in enumerate(what))
    elif isinstance(what, types.FunctionType):
        names = what.__code__.co_names
        yield from ((f", its {name}", what.__globals__[name]) for name in names if name in what.__globals__)
        for name, cell in zip(what.__code__.co_freevars, what.__closure__ or (), strict=True):
            yield f", its {name}", cell.cell_contents
    elif isinstance(what, types.MethodType):
        yield "", what.__self__
    elif hasattr(what, "__dict__"):
        yield from ((f".{name}", value) for name, value in vars(what).items())
