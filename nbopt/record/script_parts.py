"""The parts of a run as source: each class as it is written in nbopt, without its declarations."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any

from nbopt.hyperparams import Strategy
from nbopt.parts.catalogue import PARTS
from nbopt.parts.channels_last import ChannelsLast
from nbopt.parts.precision import Precision
from nbopt.parts.technique import Technique, defines
from nbopt.record.source import Sources, literal
from nbopt.record.story import Story
from nbopt.words import _

_WIDTH = 80  # of a docstring
BY_SCRIPT = (Precision, ChannelsLast)
"""Parts that a script's own lines stand for, see `nbopt.record.script_forms`."""

_KNOWN = (Technique, *Technique.__mro__[1:])


class PartsSource:
    """What a script says of its parts.

    Attributes
    ----------
    names : dict of str to list of type
        The variables of the script, each with the classes that it stands for in the course of the run.
    changes : dict
        By step, what changes: hyperparameters, and the choice of a class with all its values.

    Raises
    ------
    ValueError
        For a part that cannot be written out.
    """

    def __init__(self, story: Story, sources: Sources) -> None:
        self.story = story
        self.names: dict[str, list[type[Technique]]] = {}
        self.changes: dict[int, dict[str, Any]] = {step: {} for step in story.schedule}
        self.definitions: list[str] = []
        self._always: set[str] = set()
        for item in PARTS:
            if item in BY_SCRIPT:
                continue
            if not isinstance(item, type) or not item.declared().keys() <= story.inert:
                self._take(variable_of(item), item)
        for kinds in self.names.values():
            self.definitions += [_class_text(kind, story.start, len(kinds) > 1, sources) for kind in kinds]

    def _take(self, name: str, item: type[Technique] | Strategy) -> None:
        """Find out when and how one item of the catalogue acted."""
        story = self.story
        values = dict(story.start)
        kinds: list[type[Technique]] = []
        acted = []
        found: dict[int, dict[str, Any]] = {}
        for step, new in {-1: {}, **story.schedule}.items():
            values.update({key: value for key, value in new.items() if key in values})
            kind = _kind(item, story, values)
            part = kind(())
            part.__dict__.update({key: values[key] for key in kind.declared()})
            acted.append(part.acts)
            if kind not in kinds:
                kinds.append(kind)
            if not isinstance(item, type) and item.name in new:
                found[step] = {item.name: values[item.name], **{key: values[key] for key in kind.declared()}}
            else:
                found[step] = {key: new[key] for key in kind.declared() if key in new}
        if not any(acted):
            return
        self.names[name] = kinds
        if all(acted):
            self._always.add(name)
        for step in self.changes:
            self.changes[step].update(found[step])

    @property
    def update(self) -> str:
        """Lines that give the parts their new values."""
        lines = []
        for name, kinds in self.names.items():
            if len(kinds) > 1:
                memory = any(set(a.memory) & set(b.memory) for a in kinds for b in kinds)
                new = f"{name.upper()}S[changes[{literal(name)}]](parameters)"
                lines.append(f"if {literal(name)} in changes:")
                lines.append(f"    {name} = take_over({new}, {name})" if memory else f"    {name} = {new}")
            if any(key in new for new in self.changes.values() for kind in kinds for key in kind.declared()):
                lines.append(f"update({name}, changes)")
        return "\n".join(lines)

    @property
    def making(self) -> str:
        """Lines that make the parts."""
        return "\n".join(f"{name} = {kinds[0].__name__}(parameters)" for name, kinds in self.names.items())

    @property
    def fitting(self) -> str:
        """Lines that let the parts learn from the training inputs."""
        return self.calls("fit", "{}(data[0])".format, guarded=False)

    @property
    def choices(self) -> dict[str, str]:
        """Tables of the classes that are swapped, by name."""
        tables = {}
        for name, kinds in self.names.items():
            if len(kinds) > 1:
                spec: Any = self.story.hyperparams.spec(name)
                chosen = [(key, spec.classes[key]) for key in spec.options if spec.classes[key] in kinds]
                rows = [f"    {literal(key)}: {kind.__name__}," for key, kind in chosen]
                tables[f"{name.upper()}S"] = "\n".join(["{", *rows, "}"])
        return tables

    def calls(self, hook: str, call: Callable[[str], str], guarded: bool = True) -> str:
        """Return the lines that call a hook: ``call`` makes one for a part, given as text.

        Without ``guarded`` they are called also while the part has no effect.
        """
        lines = []
        for name, kinds in self.names.items():
            having = [kind for kind in kinds if defines(kind, hook)]
            if not having:
                continue
            guard = [] if name in self._always or not guarded else [f"{name}.acts"]
            if len(having) < len(kinds):
                guard.append(f'hasattr({name}, "{hook}")')
            line = call(f"{name}.{hook}")
            lines += [f"if {' and '.join(guard)}:", f"    {line}"] if guard else [line]
        return "\n".join(lines)

    def has(self, hook: str) -> bool:
        """Return whether any part has a hook."""
        return any(defines(kind, hook) for kinds in self.names.values() for kind in kinds)

    @property
    def takes_over(self) -> bool:
        """Whether a part hands its memory to another."""
        return "take_over(" in self.update


def variable_of(item: type[Technique] | Strategy) -> str:
    """Return the name that a script gives to an item of the catalogue."""
    if isinstance(item, type):
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", item.__name__).lower()
    return item.name


def _kind(item: type[Technique] | Strategy, story: Story, values: dict[str, Any]) -> type[Technique]:
    if isinstance(item, type):
        return item
    spec: Any = story.hyperparams.spec(item.name)
    kind: type[Technique] = spec.classes[values[item.name]]
    return kind


def _class_text(kind: type[Technique], values: dict[str, Any], swapped: bool, sources: Sources) -> str:
    if kind.unwritten:
        raise ValueError(_("{name}: {reason}.", name=kind.__name__, reason=kind.unwritten))
    members: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if base not in _KNOWN:
            members.update(vars(base))
    if "__init__" not in members:
        members = {"__init__": Technique.__init__, **members}
    attributes = {name: values[name] for name in kind.declared()}
    if swapped:
        attributes["memory"] = ()
        if "acts" not in members:
            attributes["acts"] = True
    methods, functions = [], []
    for name, member in members.items():
        if isinstance(member, staticmethod):  # the user's own
            called = sources.name_for(_("the schedule"), member.__func__)
            functions.append(f"    {name} = staticmethod({called})")
            continue
        if isinstance(member, classmethod):  # speaks of data that the run does not have
            continue
        function = member.fget if isinstance(member, property) else inspect.unwrap(member) if callable(member) else None
        if name in attributes and name != "memory":
            continue
        if function is not None:
            methods.append(_method_text(kind, function, sources))
        elif name == "memory" or not name.startswith("__"):
            attributes[name] = member
    lines = [f"class {kind.__name__}:", textwrap.indent(_docstring(kind), "    "), ""]
    lines += [f"    {name} = {literal(value)}" for name, value in attributes.items()] + functions
    return "\n".join(lines).rstrip() + "\n\n" + "\n\n".join(methods)


def _docstring(kind: type[Technique]) -> str:
    paragraph = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0]
    lines = textwrap.wrap(paragraph.replace("``", ""), _WIDTH - 4)
    return f'"""{lines[0]}"""' if len(lines) == 1 else '"""' + "\n".join([*lines, '"""'])


def _method_text(kind: type[Technique], function: Any, sources: Sources) -> str:
    text = textwrap.dedent(inspect.getsource(function)).rstrip()
    if "super()" in text:
        raise ValueError(_("{name} is written in a way that a script cannot hold.", name=kind.__name__))
    sources.include_used(text, function.__globals__, kind.__name__)
    return textwrap.indent(text, "    ")
