"""Edits: changes of a model's structure, for `Run.change`, one small file each."""

from __future__ import annotations

from nbopt.edits.shrink import Shrink
from nbopt.edits.widen import Widen
from nbopt.training.edit_base import CannotEdit, Edit
from nbopt.training.structure import EDITS

__all__ = ["CannotEdit", "Edit", "Shrink", "Widen"]

EDITS.update({kind.kind: kind for kind in (Shrink, Widen)})
