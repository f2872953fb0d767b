"""The parts of a run as source: each class as it is written in nbopt, without its declarations."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Set
from typing import Any

from torch import Tensor, nn

from nbopt.data.tensor_source import TensorSource
from nbopt.export.compressed.load import load_compressed
from nbopt.export.script.section import PIECES, SHARED, VARIABLES, Section, variables_in
from nbopt.export.script.text import break_long, lines
from nbopt.export.source import Sources, literal
from nbopt.export.source_text import bindings_of, without_annotations
from nbopt.hyperparams import Strategy
from nbopt.i18n import _
from nbopt.techniques.base import Technique, defines, hooks_of
from nbopt.techniques.catalogue import Item, with_own
from nbopt.techniques.hooks import HOOKS
from nbopt.techniques.own_lines import OwnLines
from nbopt.techniques.without_run import acts_with

_PLACES = ("first", "begin", "changed", "shape_batch", "part", "weigh", "counted", "labelled")
"""Where lines in the place of a technique's class stand, see `nbopt.techniques.own_lines`."""
_WIDTH = 80  # of a docstring
_OF_ENGINE = vars(Technique).keys() - {"acts", "memory"}
_INIT = """\
    def __init__(self, weights):
        self.weights = weights"""
_KNOWN = (Technique, *Technique.__mro__[1:])


class Techniques(Section):
    """The techniques that acted."""

    def write(self) -> None:
        """See `Section`."""
        story = self.story
        self._kinds = self.draft.techniques
        self._always: set[str] = set()
        self.words.pieces.update(dict.fromkeys(_PLACES, ""))
        items = with_own(story.techniques)
        written = {kind: kind.own_lines(story) for kind in items if isinstance(kind, type)}
        for kind, own in written.items():
            if own is not None:
                self._take_lines(kind, own)
        self._taken = VARIABLES | {"run", "hyper"} | variables_in((*self.words.values(), *self.words.pieces.values()))
        for item in items:
            acts = isinstance(item, Strategy) or not item.declared() or not item.declared().keys() <= story.inert
            if acts and (not isinstance(item, type) or written[item] is None):
                self._take(variable_of(item, self._taken), item)
        self._write_classes()
        self._write_calls()

    def _write_classes(self) -> None:
        """Write the classes, and the lines that make and change what they are of."""
        again = [
            name
            for name, kinds in self._kinds.items()
            if self.story.edits and any(kind.train is not Technique.train for kind in kinds)
        ]
        made, definitions = [], list[str]()
        for name, kinds in self._kinds.items():
            left, swapped = _OF_ENGINE - {"train"} if name in again else _OF_ENGINE, len(kinds) > 1
            texts = [_class_text(kind, self.story.start, swapped, left, self.sources) for kind in kinds]
            made += self._made(name, "\n".join(texts))
            definitions += texts
        self.words.update(techniques=lines(*made), update_techniques=self._update())
        self.words["train_again"] = lines(*(f"{name}.train(parameters)" for name in again))
        self.draft.definitions += definitions + self._choices()

    def _write_calls(self) -> None:
        """Write the calls of hooks."""
        draft, words = self.draft, self.words
        words.pieces.update({name: self._calls(name, guarded=name != "fit") for name in HOOKS})
        if not isinstance(self.story.train, TensorSource) or self.story.train.inputs is None:
            words.pieces["fit"] = ""  # as in the run
        reweights = draft.has("change_weights", "change_activations")
        words.update(reweights=reweights, model="reweighted" if reweights else "model")
        words["share"] = ", share" * bool(words["weigh"])
        if draft.has("change_weights"):
            self.sources.name_of(load_compressed)  # what a run's export wrote
        if words["single"] and draft.has("change_inputs", "change_batch"):
            rule = _("in a script they need samples as (X, y), not in a single array")
            raise ValueError(_("{names}: {rule}.", names=", ".join(self._kinds), rule=rule))

    def _take_lines(self, kind: type[Technique], own: OwnLines) -> None:
        """Enter the lines that stand in the place of a class, and what they use."""
        self.known.update(own.known)
        for place, text in own.lines.items():
            self.words.pieces[place] = text if place in PIECES else lines(self.words.pieces[place], text)
        text = "\n".join(own.lines.values())
        for function in own.uses:
            self.sources.name_of(function)
        for name in kind.declared():
            if name.upper() in text and name.upper() not in SHARED:  # INITIALIZATION is a stream of random numbers
                self.draft.constants[name.upper()] = literal(self.story.start[name])
            if f'"{name}" in changes' in text:
                self.draft.follow(name)

    def _take(self, name: str, item: Item | Technique) -> None:
        """Find out when and how one item of the catalogue acted."""
        story = self.story
        kinds: list[type[Technique]] = []
        acted = []
        found: dict[int, dict[str, Any]] = {}
        for step, new, values in story.course:
            kind: Any = type(item) if isinstance(item, Technique) else item
            if isinstance(item, Strategy):
                kind = self.draft.class_of(item.name, values[item.name])
            part = item.another() if isinstance(item, Technique) else kind()
            acted.append(acts_with(part, values))
            if kind not in kinds:
                kinds.append(kind)
            if isinstance(item, Strategy) and item.name in new:
                found[step] = {item.name: values[item.name], **{key: values[key] for key in kind.declared()}}
            else:
                found[step] = {key: new[key] for key in kind.declared() if key in new}
        if not any(acted):
            return
        self._kinds[name] = kinds
        if all(acted):
            self._always.add(name)
        self.draft.plan({step: new for step, new in found.items() if step >= 0})

    def _update(self) -> str:
        """Return the lines that give the techniques their new values."""
        found = []
        for name, kinds in self._kinds.items():
            if len(kinds) > 1:
                memory = any(set(a.memory) & set(b.memory) for a in kinds for b in kinds)
                new = f"{name.upper()}S[changes[{literal(name)}]](parameters)"
                found.append(f"if {literal(name)} in changes:")
                found.append(f"    {name} = take_over({new}, {name})" if memory else f"    {name} = {new}")
            if any(key in self.draft.planned for kind in kinds for key in kind.declared()):
                found.append(f"update({name}, changes)")
        return "\n".join(found)

    def _made(self, name: str, text: str) -> list[str]:
        """Return the lines that make what a variable stands for, whose classes are written as ``text``."""
        kind = self._kinds[name][0]
        lines = [f"{name} = {kind.__name__}(parameters)"]
        own = next((each for each in self.story.techniques if type(each) is kind), None)
        if own is not None and "__init__" in _members(kind):
            lines = [f"{name} = {kind.__name__}({_arguments(own, name, self.sources)})"]
            if "self.weights" in text:
                lines.append(f"{name}.weights = parameters")
        if "self.context" in text:
            lines.append(f"{name}.context = context")
        return lines

    def _choices(self) -> list[str]:
        """Return the tables of the classes that are swapped."""
        tables = []
        for name, kinds in self._kinds.items():
            if len(kinds) > 1:
                spec: Any = self.story.hyperparams.spec(name)
                chosen = [(key, spec.classes[key]) for key in spec.options if spec.classes[key] in kinds]
                rows = [f"    {literal(key)}: {kind.__name__}," for key, kind in chosen]
                tables.append("\n".join([f"{name.upper()}S = {{", *rows, "}"]))
        return tables

    def _calls(self, hook: str, guarded: bool = True) -> str:
        """Return the lines that call a hook; without ``guarded``, also while the technique has no effect."""
        lines = []
        for name, kinds in self._kinds.items():
            having = [kind for kind in kinds if defines(kind, hook)]
            if not having:
                continue
            guard = [] if name in self._always or not guarded else [f"{name}.acts"]
            if len(having) < len(kinds):
                guard.append(f'hasattr({name}, "{hook}")')
            line = HOOKS[hook].call.format(hook=f"{name}.{hook}")
            lines += [f"if {' and '.join(guard)}:", f"    {line}"] if guard else [line]
        return "\n".join(lines)


def variable_of(item: Item | Technique, taken: Set[str] = VARIABLES) -> str:
    """Return the name that a script gives to an item of the catalogue, where some are ``taken``."""
    if isinstance(item, Strategy):
        return item.name
    kind = type(item) if isinstance(item, Technique) else item
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()
    return f"{name}_technique" if name in taken else name


def _arguments(own: Technique, variable: str, sources: Sources) -> str:
    """Return what a technique of the user's is made with, as source; what has weights is an argument of ``train``."""
    arguments, settings = own.made_with
    bound = inspect.signature(type(own).__init__).bind(own, *arguments, **settings).arguments
    texts = []
    for key, value in list(bound.items())[1:]:
        if isinstance(value, (nn.Module, Tensor)):
            reason = _("{kind} holds weights or data.", kind=type(value).__name__)
            text = sources.argument(key, f"{key}_of_{variable}", reason)
        else:
            text = sources.name_for(type(own).__name__, value)
        texts.append(f"{key}={text}")
    return ", ".join(texts)


def _members(kind: type[Technique]) -> dict[str, Any]:
    """Return what a class holds of its own, what it inherits from others than `Technique` first."""
    members: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if base not in _KNOWN:
            members.update(vars(base))
    return members


def _class_text(kind: type[Technique], values: dict[str, Any], swapped: bool, left: Set[str], sources: Sources) -> str:
    if kind.unwritten:
        raise ValueError(_("{name}: {reason}.", name=kind.__name__, reason=_(kind.unwritten)))
    if other := next((hook for hook in hooks_of(kind) if not (HOOKS[hook].call or HOOKS[hook].looks)), ""):
        reason = _("a script does not hold what {hook} does", hook=other)
        raise ValueError(_("{name}: {reason}.", name=kind.__name__, reason=reason))
    members = _members(kind)
    attributes = {name: values[name] for name in kind.declared()}
    if swapped:
        attributes["memory"] = ()
        if "acts" not in members:
            attributes["acts"] = True
    methods, functions = [], []
    for name, member in members.items():
        if name in left and not name.startswith("__"):
            continue
        if isinstance(member, staticmethod):  # the user's own
            called = sources.name_for(_("the schedule"), member.__func__)
            functions.append(f"    {name} = staticmethod({called})")
            continue
        if isinstance(member, classmethod) or (name in HOOKS and HOOKS[name].looks):  # of what a script has not
            continue
        function = member.fget if isinstance(member, property) else inspect.unwrap(member) if callable(member) else None
        if name in attributes and name != "memory":
            continue
        if function is not None:
            methods.append(_method_text(kind, function, sources))
        elif not name.startswith("__"):
            attributes[name] = member
    if "__init__" not in members:
        methods.insert(0, _INIT)
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
    if kind.__module__.partition(".")[0] == "nbopt":
        text = break_long(without_annotations(text))
    sources.include_used(text, bindings_of(function), kind.__name__)
    return textwrap.indent(text, "    ")
