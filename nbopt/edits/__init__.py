"""Edits: changes of a model's structure, for `Run.change`, one small file each."""

from __future__ import annotations

from nbopt.edits.widen import Widen
from nbopt.training.edit_base import CannotEdit, Edit
from nbopt.training.edits import EDITS

__all__ = ["CannotEdit", "Edit", "Widen"]

EDITS.update({kind.kind: kind for kind in (Widen,)})
