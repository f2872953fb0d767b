"""Finding something by its name, with an error that helps."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from nbopt.words import _

_LONGEST = 80  # characters of a wrong value that an error repeats


class InvalidHyperparam(ValueError, TypeError):
    """A hyperparameter's name or value that nbopt cannot take.

    Both a ``ValueError`` and a ``TypeError``, as scikit-learn's own parameter error is.
    """


class UnknownName(InvalidHyperparam, KeyError):
    """A name that stands for nothing here; a ``KeyError`` too, so that mappings behave as mappings."""

    __str__ = Exception.__str__  # KeyError would quote the whole message


def unknown(kind: str, name: object, allowed: Iterable[str]) -> UnknownName:
    """Build the error for ``name``, which is none of ``allowed``; says which one was probably meant."""
    names = list(allowed)
    text = name if isinstance(name, str) else shorten(name)
    close = difflib.get_close_matches(text[:_LONGEST].lower(), names, n=1, cutoff=0.5)
    hint = _(" Did you mean {name!r}?", name=close[0]) if close else ""
    choice = _(" Allowed: {names}.", names=", ".join(names)) if names else _(" There is none yet.")
    return UnknownName(_("unknown {kind} {name}.", kind=kind, name=shorten(name)) + hint + choice)


def shorten(value: object) -> str:
    """Write ``value``, whatever it is, for an error that is about it."""
    try:
        text = repr(value)
    except Exception:  # a number of too many digits, an object that cannot be shown
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
