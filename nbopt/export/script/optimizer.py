"""The optimizer of a run, as source: made, changed and swapped."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from nbopt.export.script.section import Section
from nbopt.export.script.techniques import PartsSource
from nbopt.export.source import Sources, literal
from nbopt.export.source_values import alike
from nbopt.export.summary import RunSummary
from nbopt.export.template import WIDTH
from nbopt.i18n import _
from nbopt.techniques.optimizers.base import Optimizer
from nbopt.techniques.optimizers.groups import SHARED_OUT, Groups
from nbopt.techniques.optimizers.second_order import LBFGS, Newton
from nbopt.techniques.optimizers.standard import OPTIMIZER


class OptimizerSource(Section):
    """What a script says of its optimizer.

    Parameters
    ----------
    story, sources, use
        See `Section`.
    parts : PartsSource

    Attributes
    ----------
    choices : str
        The table of the optimizers that are swapped in; "" if there are none.
    changes : dict
        By step, what changes: keys of a torch parameter group, and ``optimizer`` at a swap.

    Raises
    ------
    ValueError
        For an optimizer that cannot be written out.
    """

    def __init__(self, story: RunSummary, sources: Sources, use: Callable[[str], str], parts: PartsSource) -> None:
        self.choices = ""
        self.changes: dict[int, dict[str, Any]] = {}
        self._parts = parts
        super().__init__(story, sources, use)

    def write(self) -> None:
        """See `Section`."""
        self._check_tuning()
        self._write_making()
        self._write_changes()
        self._write_full_steps()

    def _check_tuning(self) -> None:
        """Raise ValueError for what a run trains, or its optimizer calls, and a script would not."""
        if self.story.hooked:
            raise ValueError(_("the optimizer has step hooks, which a script does not call."))
        if self.story.learns:
            raise ValueError(_("the loss has weights that are trained, which a script does not do: to_yaml does."))

    def _write_making(self) -> None:
        story = self.story
        kind = self._kind(story.start["optimizer"])
        settings = _settings(kind, story.start)
        extras = self._extras(kind)
        given = {**_unusual(kind, settings), **extras}
        taken = inspect.signature(kind.torch_class).parameters
        late = {name: given.pop(name) for name in list(given) if name not in taken}
        groups = self._groups(kind, given)
        frozen = any(not parameter.requires_grad for parameter in story.model.parameters())
        self.flags["listed"] = listed = frozen or bool(self._parts.names)
        self.words["parameters"] = "parameters" if listed else "model.parameters()"
        self.words["groups"] = groups
        self.flags["regroups"] = bool(groups) and bool(self._parts.names)
        arguments = ["groups" if groups else self.words["parameters"]]
        for name, value in given.items():
            self.constants[name.upper()] = literal(value)
            arguments.append(f"{name}={name.upper()}")
        if "fused" not in extras and self._fuses(kind) and story.adopted is None:
            arguments.append("fused=True")
        self.words["optimizer"] = f"optimizer = {self._named(kind)}({', '.join(arguments)})"
        if late and not groups:
            self.words["optimizer"] += f"\nfor group in optimizer.param_groups:\n    group.update({literal(late)})"

    def _groups(self, kind: type[Optimizer], given: dict[str, Any]) -> str:
        """Return the lines that make the parameter groups; "" if one group of all weights is all there is."""
        story = self.story
        self.flags["shares"] = False
        if story.adopted is None:
            return ""
        if story.experienced:
            raise ValueError(_("the optimizer given had taken steps before the run, which a script cannot repeat."))
        made = kind.torch_class([nn.Parameter(torch.zeros(2, 2))], **given).param_groups[0]
        others = [
            {key: value for key, value in settings.items() if key not in made or not alike(made[key], value)}
            for _weights, settings in story.groups
        ]
        held = [id(weight) for weights, _settings in story.groups for weight in weights]
        if not any(others) and held == [id(weight) for weight in story.model.parameters() if weight.requires_grad]:
            return ""
        self.flags["shares"] = any(key in other for other in others for key in SHARED_OUT)
        rows = []
        for (weights, _settings), other in zip(story.groups, others, strict=True):
            items = [f'"params": {choose(story.model, weights)}']
            items += [f"{literal(key)}: {literal(value)}" for key, value in other.items()]
            row = f"    {{{', '.join(items)}}},"
            fits = len(row) + 4 <= WIDTH and "\n" not in row
            rows += [row] if fits else ["    {", *(f"        {item}," for item in items), "    },"]
        named = ["named = dict(model.named_parameters())"] if any("named" in row for row in rows) else []
        return "\n".join([*named, "groups = [", *rows, "]"])

    def _write_changes(self) -> None:
        story, flags = self.story, self.flags
        values = dict(story.start)
        kind = self._kind(values["optimizer"])
        settings = _settings(kind, values)
        swapped: dict[str, str] = {}
        swapped_at: list[int] = []
        carries = False
        flags["optimizer_changes"] = flags["late_momentum"] = flags["trims"] = False
        for step, new in story.schedule.items():
            values.update({name: value for name, value in new.items() if name in values})
            after = _settings(self._kind(values["optimizer"]), values)
            if self._kind(values["optimizer"]) is not kind:
                carries = carries or (bool(kind.memory) and kind.memory == self._kind(values["optimizer"]).memory)
                kind = self._kind(values["optimizer"])
                changed = {"optimizer": values["optimizer"], **_unusual(kind, after)}
                swapped[values["optimizer"]] = self._maker(kind)
                swapped_at.append(step)
            else:
                changed = {name: value for name, value in after.items() if value != settings[name]}
                late = kind.torch_class is torch.optim.RMSprop and "momentum" in changed
                flags["late_momentum"] = flags["late_momentum"] or late
                flags["trims"] = flags["trims"] or "history_size" in changed
            self.changes[step] = changed
            flags["optimizer_changes"] = flags["optimizer_changes"] or bool(changed)
            settings = after
        live = any(key in changed for changed in self.changes.values() for key in SHARED_OUT)
        flags["shares"] = flags["shares"] and (live or self._parts.has("change_rate"))
        if swapped and len(story.groups) > 1:
            rule = _("the optimizer given has parameter groups, and a script does not hand them on to another one")
            raise ValueError(_("{rule}, as in step {step}.", rule=rule, step=next(iter(swapped_at))))
        flags["swap"], flags["carries"] = bool(swapped), carries
        flags["partial"] = any("partial" in maker for maker in swapped.values())
        if swapped:
            rows = "".join(f"    {literal(name)}: {maker},\n" for name, maker in swapped.items())
            self.choices = f"OPTIMIZERS = {{\n{rows}}}"

    def _write_full_steps(self) -> None:
        """Write steps that evaluate the loss several times, on a batch or on all samples at once."""
        story, flags, words = self.story, self.flags, self.words
        kinds = optimizers_of(story)
        full = [self._named(kind) for kind in kinds if kind.repeats]
        lbfgs = [kind for kind in kinds if issubclass(kind, LBFGS)]
        flags["full"] = bool(full)
        flags["whole"] = any(kind.full_batch for kind in kinds)
        if flags["whole"] and not all(kind.full_batch for kind in kinds if kind.repeats):
            rule = _("one evaluates the loss of a batch several times, the other that of all samples")
            raise ValueError(_("a script holds not both {names}: {rule}.", names=" + ".join(full), rule=rule))
        flags["mixed"] = bool(full) and not all(kind.repeats for kind in kinds)
        flags["newton"] = Newton in kinds
        flags["decays"] = bool(lbfgs) and any(story.values_of("weight_decay"))
        flags["only_lbfgs"] = kinds == lbfgs
        flags["still"] = bool(lbfgs) and (self._parts.has("change_rate") or 0.0 in story.values_of("lr"))
        words["full_classes"] = full[0] if len(full) == 1 else f"({', '.join(full)})"
        words["weight_decay"] = self.use("weight_decay") if flags["decays"] else ""
        words["closure_arguments"] = "differentiate=torch.Tensor.backward" * flags["newton"]

    def _kind(self, name: str) -> type[Optimizer]:
        spec: Any = self.story.hyperparams.spec(OPTIMIZER.name)
        kind: type[Optimizer] = spec.classes[name]
        return kind

    def _named(self, kind: type[Optimizer]) -> str:
        """Return how the script calls the torch optimizer."""
        name = kind.torch_class.__name__
        if getattr(torch.optim, name, None) is kind.torch_class:
            return f"torch.optim.{name}"
        return self.sources.name_for(_("the optimizer"), kind.torch_class)

    def _extras(self, kind: type[Optimizer]) -> dict[str, Any]:
        """Return what the user's own instance was given beyond the hyperparameters."""
        return {} if self.story.adopted is None else self._extras_of(self.story.adopted, kind)

    def _extras_of(self, instance: torch.optim.Optimizer, kind: type[Optimizer]) -> dict[str, Any]:
        group = instance.param_groups[0]
        parameters = inspect.signature(kind.torch_class).parameters
        known = _settings(kind, self.story.start)
        found = {}
        for name, value in group.items():
            if name != "params" and name in parameters and name not in known and value != parameters[name].default:
                found[name] = value
        return found

    def _fuses(self, kind: type[Optimizer]) -> bool:
        return kind.fused and all(p.is_floating_point() for p in self.story.model.parameters() if p.requires_grad)

    def _maker(self, kind: type[Optimizer]) -> str:
        name, given = self._named(kind), self.story.optimizer
        settings: dict[str, Any] = {"fused": True} if self._fuses(kind) else {}
        if type(given) is kind.torch_class:  # swapped in again, it is as it was given
            settings = self._extras_of(given, kind)
        words = "".join(f", {key}={literal(value)}" for key, value in settings.items())
        return f"partial({name}{words})" if words else name


def groups_at(groups: Groups, kind: type[Optimizer], values: dict[str, Any]) -> list[tuple[list[nn.Parameter], Any]]:
    """Return the weights and settings of the parameter groups given, as the first step used them."""
    settings = _settings(kind, values)
    return [
        (weights, given | {key: groups.value(index, key, settings[key]) for key in given.keys() & settings.keys()})
        for index, (weights, given) in enumerate(groups.given)
    ]


def choose(model: nn.Module, weights: list[nn.Parameter]) -> str:
    """Return an expression for some weights of a model: a rule, if there is one that picks just them in this order.

    Raises
    ------
    ValueError
        If one is not the model's.
    """
    named = list(model.named_parameters())
    wanted = list(map(id, weights))
    for child, module in model.named_children():
        if list(map(id, module.parameters())) == wanted:
            place = f"model.{child}" if child.isidentifier() else f"model.get_submodule({literal(child)})"
            return f"{place}.parameters()"
    for trained in ("", " and p.requires_grad"):
        for rule, holds in _rules(model).items():
            found = [id(p) for name, p in named if holds(name, p) and (p.requires_grad or not trained)]
            if found == wanted:
                where = f" if {rule}{trained}" if rule else trained.replace(" and", " if")
                source = "n, p in named.items()" if "n." in rule else "p in model.parameters()"
                return f"[p for {source}{where}]"
    names = {id(p): name for name, p in named}
    if not all(id(weight) in names for weight in weights):
        raise ValueError(_("the optimizer given holds weights that are not the model's."))
    return "[\n" + "".join(f"            named[{literal(names[id(weight)])}],\n" for weight in weights) + "        ]"


def _rules(model: nn.Module) -> dict[str, Callable[[str, nn.Parameter], bool]]:
    """Return rules that people pick weights by, as source and as functions."""
    rules: dict[str, Callable[[str, nn.Parameter], bool]] = {
        "": lambda name, p: True,
        "p.ndim >= 2": lambda name, p: p.ndim >= 2,
        "p.ndim < 2": lambda name, p: p.ndim < 2,
        'n.endswith("bias")': lambda name, p: name.endswith("bias"),
        'not n.endswith("bias")': lambda name, p: not name.endswith("bias"),
    }
    for child, _module in model.named_children():
        start = f"{child}."
        rules[f"n.startswith({literal(start)})"] = partial(_begins, start, True)
        rules[f"not n.startswith({literal(start)})"] = partial(_begins, start, False)
    return rules


def _begins(start: str, wanted: bool, name: str, _parameter: nn.Parameter) -> bool:
    return name.startswith(start) is wanted


def optimizers_of(story: RunSummary) -> list[type[Optimizer]]:
    """Return the classes of the optimizers that a run used, in the order of their names."""
    spec: Any = story.hyperparams.spec(OPTIMIZER.name)
    return [spec.classes[name] for name in sorted(set(story.values_of(OPTIMIZER.name)))]


def _settings(kind: type[Optimizer], values: dict[str, Any]) -> dict[str, Any]:
    """Return ``values`` as keys of a torch parameter group."""
    part = kind()
    part.__dict__.update({name: values[name] for name in kind.declared()})
    return part.settings()


def _unusual(kind: type[Optimizer], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that are not torch's own defaults, and the learning rate."""
    parameters = inspect.signature(kind.torch_class).parameters
    return {
        name: value
        for name, value in settings.items()
        if name == "lr" or name not in parameters or value != parameters[name].default
    }
