"""Hyperparameters saved by name, beside the runs of a store, to be used in another run."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbopt.errors import unknown
from nbopt.i18n import _
from nbopt.store.database import AUTO, Place, folder_of

_FILE = "presets.json"
_MOST = 100  # characters of a name


def presets(store: Place = AUTO) -> dict[str, dict[str, Any]]:
    """Return the values of every preset by its name.

    Parameters
    ----------
    store : str or path
        The store's folder; by default ``NBOPT_HOME``, else ``.nbopt`` in the working directory.

    Raises
    ------
    ValueError
        If the file is not what `save_preset` wrote.
    """
    path = folder_of(store) / _FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(_("{path} holds no presets: {error}", path=path, error=error)) from None
    if not isinstance(found, dict) or not all(isinstance(values, dict) for values in found.values()):
        raise ValueError(_("{path} holds no presets: it is to map names to values.", path=path))
    return found


def save_preset(name: str, values: Mapping[str, Any], store: Place = AUTO) -> None:
    """Save ``values`` under ``name``, in place of what had that name.

    Raises
    ------
    ValueError
        For a name that is empty or too long, or if the file is not what this wrote.
    """
    name = name.strip()
    if not 0 < len(name) <= _MOST or not name.isprintable():
        raise ValueError(_("a preset needs a name of 1 to {most} characters.", most=_MOST))
    _write({**presets(store), name: dict(values)}, store)


def delete_preset(name: str, store: Place = AUTO) -> None:
    """Delete the values saved under ``name``.

    Raises
    ------
    InvalidHyperparam
        If nothing is saved under that name.
    """
    preset(name, store)
    _write({other: values for other, values in presets(store).items() if other != name.strip()}, store)


def _write(values: Mapping[str, Mapping[str, Any]], store: Place) -> None:
    folder = folder_of(store)
    text = json.dumps(values, indent=1, sort_keys=True)
    folder.mkdir(parents=True, exist_ok=True)
    handle, path = tempfile.mkstemp(dir=folder)  # whole or not at all, whatever happens meanwhile
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(path).replace(folder / _FILE)


def preset(name: str, store: Place = AUTO) -> dict[str, Any]:
    """Return the values saved under ``name``.

    Raises
    ------
    InvalidHyperparam
        If nothing is saved under that name.
    """
    found = presets(store)
    if name.strip() not in found:
        raise unknown(_("preset"), name, sorted(found))
    return found[name.strip()]
