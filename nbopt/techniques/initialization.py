"""Initial weights, drawn anew as the first act of a run."""

from __future__ import annotations

from nbopt.data.noise import INITIALIZATION, derive_seed
from nbopt.hyperparams import Choice, Float
from nbopt.i18n import N_
from nbopt.techniques.base import Technique
from nbopt.techniques.drawn_weights import RULES, draw_weights
from nbopt.techniques.own_lines import OwnLines, Told

AS_GIVEN = "as given"
_GROUP = N_("Model")


class Initialization(Technique):
    """Weights drawn anew just before a run's first step, see `nbopt.techniques.drawn_weights.initialize`.

    Until then nothing is drawn: so whatever leads back there, as a rewind or a replay, finds the model as it was given.
    """

    initialization = Choice(
        AS_GIVEN,
        options=(AS_GIVEN, *RULES),
        label=N_("Initial weights"),
        group=_GROUP,
        help=N_("How weights are initialized before the first step, from the run's seed; fixed after that."),
        initial=True,
    )
    initial_gain = Float(
        1.0,
        low=0.1,
        high=10.0,
        log=True,
        gt=0.0,
        label=N_("Initial gain"),
        group=_GROUP,
        needs="initialization",
        help=N_("Factor that the initial weights are multiplied by."),
        initial=True,
    )

    compiles = True

    @property
    def acts(self) -> bool:
        """Unless the weights are to stay as given."""
        return self.initialization != AS_GIVEN

    @classmethod
    def own_lines(cls, told: Told) -> OwnLines:
        """Draw the weights first of all."""
        rule = RULES.get(told.start["initialization"])
        if rule is None or told.steps == 0:  # they are drawn in the first step
            return OwnLines()
        seed = "derive_seed(SEED, INITIALIZATION)"
        line = f"draw_weights(model, {rule.__name__}, hyper.initial_gain, {seed})"
        return OwnLines({"first": line}, uses=[rule])

    def before_first_step(self) -> None:
        """Draw the weights."""
        seed = derive_seed(self.context.seed, INITIALIZATION)
        draw_weights(self.context.model, RULES[self.initialization], self.initial_gain, seed)
