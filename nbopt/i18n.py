"""The one function every word a user reads passes through."""

from __future__ import annotations

import gettext
from pathlib import Path

_catalogue = gettext.translation("nbopt", Path(__file__).parent / "locale", fallback=True)


def N_(text: str) -> str:
    """Return ``text`` as it is: words declared when a module is imported are translated where they are shown."""
    return text


def _(text: str, **values: object) -> str:
    """Translate ``text`` and fill in ``values`` by name (``str.format``)."""
    translated = _catalogue.gettext(text)
    return translated.format(**values) if values else translated
