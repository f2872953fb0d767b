"""The base of a script's sections: each says one thing that a run is made of."""

from __future__ import annotations

from nbopt.export.script.values import ScriptValues
from nbopt.export.source import Sources
from nbopt.export.summary import RunSummary


class Section:
    """What a script says of one thing.

    Parameters
    ----------
    story : RunSummary
    sources : Sources
    values : ScriptValues

    Attributes
    ----------
    words : dict of str to str
        What is filled in for a ``$word`` of `nbopt.export.script.template`.
    known : dict of str to bool
        What there is and what holds, see `nbopt.export.script.prune`.
    """

    def __init__(self, story: RunSummary, sources: Sources, values: ScriptValues) -> None:
        self.story = story
        self.sources = sources
        self.values = values
        self.words: dict[str, str] = {}
        self.known: dict[str, bool] = {}
        self.write()

    def write(self) -> None:
        """Find out what is to be said.

        Raises
        ------
        ValueError
            For what a script cannot hold.
        """
        raise NotImplementedError
