"""What the sections of a script write into, each of which says one thing that a run is made of."""

from __future__ import annotations

import ast
import builtins
import keyword
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from nbopt.export.script import deals, edited, pieces, plain, template
from nbopt.export.script.text import WIDTH, Words
from nbopt.export.source import Sources, literal
from nbopt.export.summary import RunSummary, Schedule
from nbopt.techniques.base import Technique
from nbopt.techniques.losses.choice import LOSS
from nbopt.techniques.metrics.choice import METRICS


def variables_in(texts: Iterable[object]) -> set[str]:
    """Return the names in lines of a script that nothing else may have."""
    code = re.sub(r'hyper\.|""".*?"""|#[^\n]*|\$\w+|"[^"\n]*"', "", "\n".join(map(str, texts)), flags=re.DOTALL)
    return set(re.findall(r"(?<![.\w])[a-z_]\w*", code)) - {*keyword.kwlist, *dir(builtins)}


PIECES = {name.lower(): text for name, text in vars(pieces).items() if name.isupper()}
HOMES = (deals, plain, edited)
SHARED = {name: item for module in HOMES for name, item in vars(module).items() if not name.startswith("_")}
"""What a script may hold or import, by name; in the order in which scripts have it."""
VARIABLES = variables_in([template.TRAIN, template.EVALUATE, *PIECES.values()]) - {"run"}
"""Names in the script's own functions: nothing of the user's has one, as what is not there is left out by its name."""


def told(text: str, there: Iterable[str]) -> str:
    """Return those of some names that Python reads, in the order in which they stand there, as arguments."""
    read = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)]
    read.sort(key=lambda node: (node.lineno, node.col_offset))
    return "".join(f", {name}" for name in dict.fromkeys(node.id for node in read) if name in set(there))


def called(name: str) -> str:
    """Return the variable that holds a hyperparameter; what it is the name of may be called so itself."""
    return f"{name}_name" if name == LOSS.name or name in METRICS else name


class Draft:
    """A script that is being written. The hyperparameters it uses are constants; one that changes is a variable.

    Attributes
    ----------
    story : RunSummary
    sources : Sources
    words : Words
        What is filled in for a ``$word`` of `nbopt.export.script.template`, or is asked for there by ``run.word``.
    known : dict of str to bool
        What there is and what holds, see `nbopt.export.script.prune`.
    others : dict of str to str
        What the script calls otherwise than functions do that it holds as they are written.
    constants : dict of str to str
        Each as source.
    schedule : dict
        By step, what changes.
    variables : dict of str to str
        Those of the loop, and the hyperparameters that they hold.
    techniques : dict of str to list of type
        The variables that hold techniques, and of which classes those are over time.
    arguments : set of str
        Those that hold functions of the user's.
    definitions : list of str
        Classes and tables; they come after what they use.
    functions : list of str
        The script's own, in order.
    left_out : list of str
        What is said of what is left out.
    """

    def __init__(self, story: RunSummary, sources: Sources) -> None:
        self.story = story
        self.sources = sources
        self.words = Words(PIECES)
        self.known: dict[str, bool] = {}
        self.others: dict[str, str] = {}
        self.constants: dict[str, str] = {}
        self.schedule: Schedule = {step: {} for step in story.schedule}
        self.variables: dict[str, str] = {}
        self.techniques: dict[str, list[type[Technique]]] = {}
        self.arguments: set[str] = set()
        self.definitions: list[str] = []
        self.functions: list[str] = []
        self.left_out: list[str] = []

    def use(self, name: str) -> str:
        """Return how the script calls a hyperparameter."""
        self.constants.setdefault(name.upper(), _written(self.story.start[name]))
        if not self.follow(name):
            return name.upper()
        variable = called(name)
        self.variables[variable] = name
        return variable

    def follow(self, name: str) -> bool:
        """Enter a hyperparameter's changes into the schedule; return whether there are any."""
        changes = {step: {name: new[name]} for step, new in self.story.schedule.items() if name in new}
        self.plan(changes)
        return bool(changes)

    def plan(self, changes: Mapping[int, Mapping[str, Any]]) -> None:
        """Enter changes into the schedule."""
        for step, new in changes.items():
            self.schedule[step].update(new)

    @property
    def planned(self) -> set[str]:
        """What stands in the schedule."""
        return {name for changes in self.schedule.values() for name in changes}

    def class_of(self, strategy: str, chosen: str) -> Any:
        """Return the class that is chosen by a name, as of an optimizer."""
        spec: Any = self.story.hyperparams.spec(strategy)
        return spec.classes[chosen]

    def has(self, *hooks: str) -> bool:
        """Return whether a technique has one of these hooks."""
        return any(self.words[hook] for hook in hooks)

    @property
    def table(self) -> str:
        """The schedule as source; "" if nothing changes."""
        rows = []
        for step, changes in self.schedule.items():
            items = [f"{literal(name)}: {_written(value)}" for name, value in changes.items()]
            row = f"    {step}: {{{', '.join(items)}}},"
            if len(row) > WIDTH:
                row = f"    {step}: {{\n" + "".join(f"        {item},\n" for item in items) + "    },"
            rows += [row] if changes else []
        return "\n".join(["SCHEDULE = {", *rows, "}"]) if rows else ""


class Section:
    """What a script says of one thing."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.story, self.sources = draft.story, draft.sources
        self.words, self.known = draft.words, draft.known
        self.write()

    def write(self) -> None:
        """Find out what is to be said.

        Raises
        ------
        ValueError
            For what a script cannot hold.
        """
        raise NotImplementedError


def _written(value: Any) -> str:
    """Return the value of a hyperparameter as source; epochs without an end are infinite."""
    return 'float("inf")' if value == math.inf else literal(value)
