"""What only a search needs, imported when it does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from nbopt.i18n import _


def need(name: str, extra: str = "search") -> Any:
    """Return a module of an extra; raise ImportError, with what to install, where it is missing."""
    try:
        return import_module(name)
    except ImportError as error:
        told = _("a study needs {name}, which is not installed", name=name) if extra == "search" else ""
        told = told or _("executor='{extra}' needs {name}, which is not installed", extra=extra, name=name)
        text = _("{told}: pip install 'nbopt[{extra}]'", told=told, extra=extra)
        raise ImportError(f"{text} ({error}).", name=name) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Have Optuna say nothing of studies that are made; the study is what the user sees."""
    logger = logging.getLogger("optuna")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
