"""The hyperparameter that says how steps are done; `mode.py` decides by it."""

from __future__ import annotations

from nbopt.hyperparams import Choice, Tunable
from nbopt.i18n import N_


class Pace(Tunable):
    """How steps are done."""

    tier = Choice(
        "auto",
        options=("auto", "eager", "compiled"),
        label=N_("Steps"),
        group=N_("Speed"),
        help=N_("Compiled steps are faster but take a while to compile; auto compiles long runs that gain by it."),
        synonyms="compile jit",
    )
