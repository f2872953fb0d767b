"""The base of a script's sections: each fills in the template's words for one thing that a run is made of."""

from __future__ import annotations

from collections.abc import Callable

from nbopt.export.source import Sources
from nbopt.export.summary import RunSummary


class Section:
    """What a script says of one thing.

    Parameters
    ----------
    story : Story
    sources : Sources
    use : callable
        Returns how the script calls a hyperparameter: a constant, or a variable if it changes on the way.

    Attributes
    ----------
    flags, words, constants : dict
        For the template, and for the script's head.
    """

    def __init__(self, story: RunSummary, sources: Sources, use: Callable[[str], str]) -> None:
        self.story = story
        self.sources = sources
        self.use = use
        self.flags: dict[str, bool] = {}
        self.words: dict[str, str] = {}
        self.constants: dict[str, str] = {}
        self.write()

    def write(self) -> None:
        """Fill in flags, words and constants.

        Raises
        ------
        ValueError
            For what a script cannot hold.
        """
        raise NotImplementedError
