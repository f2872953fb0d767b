"""Early stopping on the validation loss, with the best weights restored at the end."""

from __future__ import annotations

import math

from nbopt.hyperparams import Flag, Float, Int, Tunable
from nbopt.i18n import _

_GROUP = _("Early stopping")


class EarlyStopping(Tunable):
    """Ends a run once the validation loss has not improved in ``patience`` validations (Prechelt 1998).

    Attributes
    ----------
    best : float
        Lowest validation loss so far; infinite before the first validation.
    best_step : int or None
        The step it was measured at.
    waited : int
        Validations since the loss was last better by more than ``min_delta``.
    bar : float
        The loss when patience last started anew.
    """

    early_stopping = Flag(
        False,
        label=_("Stop early"),
        group=_GROUP,
        help=_("End the run by patience; restore the best weights."),
    )
    patience = Int(
        5,
        low=1,
        high=50,
        ge=1,
        label=_("Patience"),
        group=_GROUP,
        help=_("Validations without improvement before the run ends."),
    )
    min_delta = Float(
        0.0,
        low=1e-6,
        high=1.0,
        log=True,
        zero=True,
        ge=0.0,
        label=_("Smallest gain"),
        group=_GROUP,
        help=_("A validation loss counts as better only if lower by more than this."),
    )

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the best: the loss measured from now on is another one."""
        self.best = math.inf
        self.best_step: int | None = None
        self.bar = math.inf
        self.waited = 0

    def observe(self, loss: float, step: int) -> bool:
        """Take a validation loss; return whether it is the lowest so far.

        The best weights are those of the lowest loss; ``min_delta`` only decides whether patience starts anew.
        """
        if loss < self.bar - self.min_delta:
            self.bar = loss
            self.waited = 0
        else:
            self.waited += 1
        lowest = loss < self.best
        if lowest:
            self.best, self.best_step = loss, step
        return lowest

    @property
    def due(self) -> bool:
        """Whether the run should end now."""
        return self.early_stopping and self.waited >= self.patience

    @property
    def left(self) -> int:
        """Validations left before the run ends."""
        return max(0, self.patience - self.waited)
