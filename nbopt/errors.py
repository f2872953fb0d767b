"""Finding something by its name, with an error that helps."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from nbopt.i18n import _

MOST = 200
"""Characters of a name that is given."""

_PAGES = 10_000  # characters of a text that tells something
_LISTED = 24  # names that an error about a wrong one lists
_CLOSEST = 3  # ... of more than that
_LONGEST = 80  # characters of a wrong value that an error repeats


class InvalidHyperparam(ValueError, TypeError):
    """A hyperparameter's name or value that nbopt cannot take.

    Both a ``ValueError`` and a ``TypeError``, as scikit-learn's own parameter error is.
    """


class UnknownName(InvalidHyperparam, KeyError):
    """A name that stands for nothing here; a ``KeyError`` too, so that mappings behave as mappings."""

    __str__ = Exception.__str__  # KeyError would quote the whole message


def unknown(
    kind: str,
    name: object,
    allowed: Iterable[str],
    synonyms: Mapping[str, str] = MappingProxyType({}),
    elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> UnknownName:
    """Build the error for ``name``, which is none of ``allowed``; says which one was probably meant.

    Parameters
    ----------
    kind : str
        What the name was to stand for.
    name : object
    allowed : iterable of str
        Listed if they are few, otherwise the three that are most like ``name``.
    synonyms : mapping of str to str
        Names that others use for the same thing, and what it is called here.
    elsewhere : mapping of str to str
        Names that would be allowed if something else were done first, and that in words.
    """
    names = list(allowed)
    text = (name if isinstance(name, str) else shorten(name))[:_LONGEST].lower()
    if text in elsewhere:
        return UnknownName(_("unknown {kind} {name}: {first}.", kind=kind, name=shorten(name), first=elsewhere[text]))
    meant = synonyms.get(text) or next(iter(difflib.get_close_matches(text, names, n=1, cutoff=0.5)), "")
    hint = _(" Did you mean {name!r}?", name=meant) if meant else ""
    if not names:
        choice = _(" There is none yet.")
    elif len(names) <= _LISTED:
        choice = _(" Allowed: {names}.", names=", ".join(names))
    else:
        close = difflib.get_close_matches(text, names, n=_CLOSEST, cutoff=0.0)
        choice = _(" The closest of {count}: {names}.", count=len(names), names=", ".join(close))
    return UnknownName(_("unknown {kind} {name}.", kind=kind, name=shorten(name)) + hint + choice)


def check_text(what: str, text: object) -> str:
    """Return ``text`` if it can be stored and shown, as a name; raise InvalidHyperparam otherwise."""
    if not isinstance(text, str):
        rule = _("a string")
    elif not 0 < len(text) <= MOST:
        rule = _("a string of 1 to {most} characters", most=MOST)
    elif not _is_unicode(text):
        rule = _("a string without lone surrogates")
    else:
        return str(text)
    raise InvalidHyperparam(_("{what} must be {rule}; got {value}.", what=what, rule=rule, value=shorten(text)))


def storable(text: str) -> str:
    """Return a text that anybody may have written as one that can be stored and shown: no longer than some pages."""
    if len(text) > _PAGES:
        text = text[: _PAGES // 2] + " … " + text[-_PAGES // 2 :]
    return text if _is_unicode(text) else text.encode("utf-8", "backslashreplace").decode()


def tell_error(error: BaseException) -> str:
    """Return an error's kind and text; whatever that text is, and if there is none."""
    try:
        text = str(error)
    except Exception:  # the user's own class, whose __str__ fails
        text = ""
    kind = type(error).__name__
    return storable(f"{kind}: {text}" if text else kind)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shorten(value: object) -> str:
    """Write ``value``, whatever it is, for an error that is about it."""
    try:
        text = repr(value)
    except Exception:  # a number of too many digits, an object that cannot be shown
        text = f"<{type(value).__name__}>"
    return storable(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…")


_ELSEWHERE = {
    "seed": "random_state random_seed manual_seed",
    "val": "validation_data val_data valid validation eval_dataset val_loader val_dataloader validation_split",
    "metrics": "metric scoring scorer",
}

SYNONYMS = {other: name for name, others in _ELSEWHERE.items() for other in others.split()}
"""What other libraries call an argument of `Run` that is no hyperparameter, and what it is called here."""
