"""The teaching playground: a small network's decision boundary live, its weights, and a race of optimizers."""

from nbopt.notebook.playground.playground import Playground as Playground
from nbopt.notebook.playground.race import Race as Race
