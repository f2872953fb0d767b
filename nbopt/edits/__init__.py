"""Edits: changes of a model's structure, for `Run.change`, one small file each.

Examples
--------
>>> run.step(3)
>>> wide = run.change(nbopt.edits.Widen("0", by=8))
>>> wide.model[0].out_features - run.model[0].out_features
8
"""

from __future__ import annotations

from nbopt.edits.deepen import Deepen
from nbopt.edits.factorize import Factorize
from nbopt.edits.fuse import Fuse
from nbopt.edits.merge import Merge
from nbopt.edits.share import Share
from nbopt.edits.shrink import Shrink
from nbopt.edits.widen import Widen
from nbopt.training.structure.edit import CannotEdit, Edit
from nbopt.training.structure.structure import EDITS as EDITS
from nbopt.training.structure.structure import read_edit as read_edit

__all__ = ["CannotEdit", "Deepen", "Edit", "Factorize", "Fuse", "Merge", "Share", "Shrink", "Widen"]

EDITS.update({kind.kind: kind for kind in (Deepen, Factorize, Fuse, Merge, Share, Shrink, Widen)})
