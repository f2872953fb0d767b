"""The lessons: what each sets up, and what it tells the pupil to try and to look at."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from nbopt.i18n import N_


class Setup(NamedTuple):
    """Data and network.

    Attributes
    ----------
    data : str
        One of `nbopt.notebook.playground.data.KINDS`.
    noise : float
    samples : int
        Points to train on.
    depth, width : int
        Hidden layers, and units in each of them.
    activation : str
        One of `nbopt.notebook.playground.network.ACTIVATIONS`.
    seed : int
        Of points and initial weights.
    """

    data: str = "moons"
    noise: float = 0.15
    samples: int = 200
    depth: int = 2
    width: int = 6
    activation: str = "tanh"
    seed: int = 0


BASE: Mapping[str, Any] = MappingProxyType({"optimizer": "adam", "lr": 0.01, "batch_size": 16, "epochs": 5000})
"""The hyperparameters that every lesson starts from, where they are not nbopt's own defaults."""


class Lesson(NamedTuple):
    """A lesson.

    Attributes
    ----------
    title, text : str
    setup : Setup or None
        None for the race on a loss surface.
    hyperparams : dict
        Beside those of `BASE`.
    """

    title: str
    text: str
    setup: Setup | None
    hyperparams: Mapping[str, Any]


WELCOME = N_(
    "Press Start and watch the network divide the plane: on the line, both classes are equally probable. Every control "
    "acts while it trains; other data or another network start a new run with the same settings. Or pick a lesson:"
)
"""What stands in the place of a lesson's text at first."""

_FEW = Setup("moons", noise=0.35, samples=40, depth=3, width=8, activation="relu")

LESSONS: dict[str, Lesson] = {
    "learning_rate": Lesson(
        N_("Learning rate too high"),
        N_(
            "Press Start: at this learning rate every step overshoots, the loss jumps about, and the boundary never "
            "settles. While it trains, drag the learning rate down to 0.01 and watch the curve fall and the boundary "
            "come to rest. Then try 0.0001: too low is wrong as well, only less visibly."
        ),
        Setup("moons", noise=0.2, depth=1, width=8),
        {"lr": 1.0},
    ),
    "overfitting": Lesson(
        N_("Overfitting"),
        N_(
            "A large network, 40 noisy points. Press Start and compare the two loss curves: the training loss (filled "
            "points) goes to zero, the validation loss (hollow points) turns up, while the boundary winds around "
            "single points. Then bring the curves together: raise weight decay or dropout, use fewer units, or more "
            "points."
        ),
        _FEW,
        {},
    ),
    "early_stopping": Lesson(
        N_("Early stopping saves it"),
        N_(
            "The same points and network as in the lesson on overfitting, with early stopping. Press Start: once the "
            "validation loss has not improved for 60 validations, the run ends and the network gets its best weights "
            "back. Watch the boundary at that moment, then lower the patience to 5 and raise it to 1000."
        ),
        _FEW,
        {"early_stopping": True, "patience": 60},
    ),
    "batch_size": Lesson(
        N_("Batch size and noise"),
        N_(
            "Each step follows the gradient of only 2 points: press Start and watch the loss and the boundary tremble. "
            "Double the batch size again and again while it trains: the trembling dies down, but an epoch has fewer "
            "steps. With 256 there is one step an epoch; raise the learning rate to be as fast as before."
        ),
        Setup("xor", noise=0.2, samples=256),
        {"optimizer": "sgd", "lr": 0.3, "batch_size": 2},
    ),
    "redundancy": Lesson(
        N_("How much of it is needed"),
        N_(
            "Press Start and wait until both arms of the spiral are told apart, then Pause. Now open Pruning and drag "
            "Sparsity up, slowly: the smallest weights are taken away, and come back when you drag it down. How many "
            "can go before the boundary breaks? Then let it train on with few weights: how many are enough now?"
        ),
        Setup("spiral", noise=0.1, samples=400, depth=2, width=8, activation="relu"),
        {},
    ),
    "what_if": Lesson(
        N_("What would happen if"),
        N_(
            "Guess before you look. Press Start, then Pause after some seconds: which learning rate would be best now? "
            "Click What if? below it: blue values would lead to a lower validation loss than the present one, orange "
            "to a higher one, grey differ by no more than chance. Click the best and go on. Later, ask again: is it "
            "still the best?"
        ),
        Setup("spiral", noise=0.2, samples=200, depth=2, width=8),
        {"lr": 0.001},
    ),
    "search": Lesson(
        N_("Grid, random or Bayesian"),
        N_(
            "You have 16 trainings to find the best learning rate and weight decay. Press Start, read the validation "
            "loss after 30 epochs, rewind to step 0, change one or both, and again. Which of the two matters? The "
            "notebook of this lesson spends the same 16 on a grid, at random, and by a Bayesian search."
        ),
        Setup("circles", noise=0.2, samples=200),
        {"lr": 0.001, "weight_decay": 1e-6, "batch_size": 256, "epochs": 30},
    ),
    "race": Lesson(
        N_("Optimizers race on a loss surface"),
        N_(
            "Four optimizers look for the lowest point, marked by a cross; each sees only the slope where it stands. "
            "Press Start, then raise the learning rates: which one is thrown off first? In the narrow valleys of the "
            "other surfaces, watch which ones follow the floor and which ones bounce between the walls."
        ),
        None,
        {},
    ),
}
"""By the name of their notebook in ``examples/lessons``."""
