"""What may be written to a run's attributes: a value that would act nowhere is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbopt.i18n import _

_FIXED = frozenset(("model", "seed", "device", "hyperparams", "history", "journal"))


def check_assigned(known: Mapping[str, Any], name: str, value: Any) -> None:
    """Raise AttributeError for what a run with the attributes ``known`` does not take.

    That is a hyperparameter, which `Run.set` changes, and what a run is made of.
    """
    if name in known.get("hyperparams", ()):
        way = _("run.set({name}={value!r})", name=name, value=value)
        raise AttributeError(_("{name} is a hyperparameter: write {way}.", name=name, way=way))
    if name in _FIXED and name in known:
        raise AttributeError(_("a run keeps the {name} that it was made with: make another Run.", name=name))
