"""Hyperparameters: declared once, where they act, and a run's live values.

A class that does something tunable derives from `Tunable` and declares class attributes:

>>> from nbopt.hyperparams import Float, Tunable
>>> class Dropout(Tunable):
...     dropout = Float(0.0, low=0.0, high=0.9, ge=0.0, lt=1.0, label="Dropout")
>>> Dropout().dropout
0.0

The check of a value, the live control, the journal's entries and the search dimension all follow from that one line.
``low`` to ``high`` is what a control offers; ``ge``, ``gt``, ``lt`` bound what is legal, which is often more.

When called, ``nbopt.hyperparams()``, this module returns a table of all hyperparameters that a run can have:

>>> "lr" in nbopt.hyperparams()
True
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from nbopt.hyperparams.declarations import Hyperparam, Tunable, variant
from nbopt.hyperparams.kinds import Choice, Flag, Float, Int, Strategy, Text
from nbopt.hyperparams.table import HyperparamTable
from nbopt.hyperparams.values import Hyperparams

__all__ = [
    "Choice",
    "Flag",
    "Float",
    "Hyperparam",
    "HyperparamTable",
    "Hyperparams",
    "Int",
    "Strategy",
    "Text",
    "Tunable",
    "variant",
]


class _Callable(ModuleType):
    def __call__(self) -> HyperparamTable:
        """Return all hyperparameters that a run can have: default, range, legal values, group and help of each.

        Some act in some runs only: those of an optimizer where it is chosen, and ``dropout`` where the model has
        such layers. A run's own, with what they are now, are ``run.hyperparams``.

        Returns
        -------
        HyperparamTable
            Shows itself as a table; a mapping from name to row; ``to_pandas()`` makes it a data frame.

        Examples
        --------
        >>> import nbopt
        >>> table = nbopt.hyperparams()
        >>> table["batch_size"]["range"]
        '8 to 1024, in powers of 2'
        >>> table["lr"]["legal"]
        'a finite number at least 0'
        """
        # Declared all over the package, and with torch: imported only now.
        known: Any = import_module("nbopt.run.declared")
        return HyperparamTable(known.declare_all().specs)


# `nbopt.hyperparams` has to be two things: the module that declarations are imported from, and what people call.
# A function of that name would be replaced by the module as soon as anything imports it.
sys.modules[__name__].__class__ = _Callable
