"""Finding something by its name, with an error that helps."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from nbopt.words import _


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
    close = difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=0.5)
    hint = _(" Did you mean {name!r}?", name=close[0]) if close else ""
    return UnknownName(
        _("unknown {kind} {name!r}.", kind=kind, name=name) + hint + _(" Allowed: {names}.", names=", ".join(names))
    )
