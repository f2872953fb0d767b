"""The optimizer of a run, as source: made, changed and swapped."""

from __future__ import annotations

import inspect
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from nbopt.export.script.section import Section
from nbopt.export.script.text import WIDTH, fill, indent, lines
from nbopt.export.source import literal
from nbopt.export.source_values import alike
from nbopt.i18n import _
from nbopt.techniques.optimizers.base import Optimizer
from nbopt.techniques.optimizers.groups import Groups
from nbopt.techniques.optimizers.standard import OPTIMIZER


class OptimizerLines(Section):
    """The optimizer: made, changed and swapped."""

    def write(self) -> None:
        """See `Section`."""
        if self.story.hooked:
            raise ValueError(_("the optimizer has step hooks, which a script does not call."))
        if self.story.learns:
            raise ValueError(_("the loss has weights that are trained, which a script does not do: to_yaml does."))
        self._write_changes()
        self._write_making()
        self._write_full_steps()

    def _write_making(self) -> None:
        story = self.story
        kind = self.draft.class_of(OPTIMIZER.name, story.start["optimizer"])
        extras = {} if story.adopted is None else self._extras_of(story.adopted, kind)
        given = {**_unusual(kind, _settings(kind, story.start)), **extras}
        taken = inspect.signature(kind.torch_class).parameters
        late = {name: given.pop(name) for name in list(given) if name not in taken}
        groups = self._groups(kind, given)
        frozen = any(not parameter.requires_grad for parameter in story.model.parameters())
        listed = frozen or bool(groups) or bool(self.draft.techniques)
        self.words["parameters"] = "parameters" if listed else "model.parameters()"
        self.draft.constants.update({name.upper(): literal(value) for name, value in given.items()})
        arguments = ["groups" if groups else self.words["parameters"], *(f"{name}={name.upper()}" for name in given)]
        if "fused" not in extras and self._fuses(kind) and story.adopted is None:
            arguments.append("fused=True")
        held = 'held = {p for g in optimizer.param_groups for p in g["params"]}' if groups else ""
        listing = f"[p for p in model.parameters() if {'p in held' if groups else 'p.requires_grad'}]" if listed else ""
        self.words["renew"] = lines(held, listing and f"parameters[:] = {listing}")
        self.words["optimizer"] = lines(
            f"parameters = {listing}" if listed and not groups else "",
            groups,
            f"optimizer = {self._named(kind)}({', '.join(arguments)})",
            f"for group in optimizer.param_groups:\n    group.update({literal(late)})" if late and not groups else "",
            held and f"{held}\nparameters = {listing}",
        )

    def _groups(self, kind: type[Optimizer], given: dict[str, Any]) -> str:
        """Return the lines that make the parameter groups; "" if one group of all weights is all there is."""
        story = self.story
        self.words["shares_out"] = False
        held = [id(weight) for weights, _settings in story.groups for weight in weights]
        trained = [id(weight) for weight in story.model.parameters() if weight.requires_grad]
        if story.adopted is None:
            if len(story.groups) > 1 or (held and not set(trained) <= set(held)):
                raise _handed_on(0)
            return ""
        if story.experienced:
            raise ValueError(_("the optimizer given had taken steps before the run, which a script cannot repeat."))
        made = kind.torch_class([nn.Parameter(torch.zeros(2, 2))], **given).param_groups[0]
        others = [
            {key: value for key, value in settings.items() if key not in made or not alike(made[key], value)}
            for _weights, settings in story.groups
        ]
        if not any(others) and held == trained:
            return ""
        live = {"lr"} if self.draft.has("change_rate") else set[str]()
        live |= {key for new in self._changed for key in new}
        self.words["shares_out"] = any(live & other.keys() for other in others)
        rows = []
        for (weights, _settings), other in zip(story.groups, others, strict=True):
            items = [f'"params": {_choose(story.model, weights)}']
            items += [f"{literal(key)}: {literal(value)}" for key, value in other.items()]
            row = f"    {{{', '.join(items)}}},"
            fits = len(row) + 4 <= WIDTH and "\n" not in row
            rows += [row] if fits else ["    {", *(f"        {item}," for item in items), "    },"]
        named = ["named = dict(model.named_parameters())"] if any("named" in row for row in rows) else []
        return "\n".join([*named, "groups = [", *rows, "]"])

    def _write_changes(self) -> None:
        story = self.story
        swapped: dict[str, str] = {}
        carries, told = False, list[str]()
        self._changed: list[dict[str, Any]] = []
        for earlier, (step, _new, values) in pairwise(story.course):
            before, kind = (self.draft.class_of(OPTIMIZER.name, each["optimizer"]) for each in (earlier.values, values))
            settings, after = _settings(before, earlier.values), _settings(kind, values)
            if kind is not before:
                if len(story.groups) > 1:
                    raise _handed_on(step)
                carries = carries or (bool(before.memory) and before.memory == kind.memory)
                changed = {"optimizer": values["optimizer"], **_unusual(kind, after)}
                swapped[values["optimizer"]] = self._maker(kind)
            else:
                changed = {name: value for name, value in after.items() if value != settings[name]}
                told += [kind.changed] if any(f'"{name}"' in kind.changed for name in changed) else []
            self.draft.plan({step: changed})
            self._changed.append(changed)
        rows = "".join(f"    {literal(name)}: {maker},\n" for name, maker in swapped.items())
        self.draft.definitions += [f"OPTIMIZERS = {{\n{rows}}}"] if swapped else []
        self.words.update(carries=carries, changes_settings=any(self._changed))
        self.words["optimizer_changed"] = lines(*dict.fromkeys(told))

    def _write_full_steps(self) -> None:
        """Write steps that evaluate the loss several times, on a batch or on all samples at once."""
        story = self.story
        kinds = [self.draft.class_of(OPTIMIZER.name, name) for name in sorted(set(story.values_of(OPTIMIZER.name)))]
        full = [self._named(kind) for kind in kinds if kind.repeats]
        only_full = bool(full) and all(kind.repeats for kind in kinds)
        whole = any(kind.full_batch for kind in kinds)
        if whole and not all(kind.full_batch for kind in kinds if kind.repeats):
            rule = _("one evaluates the loss of a batch several times, the other that of all samples")
            raise ValueError(_("a script holds not both {names}: {rule}.", names=" + ".join(full), rule=rule))
        closing = {self._named(kind): kind.closing for kind in kinds if kind.closing}
        if not full or only_full:
            self.known["full"] = only_full
        may_rest = bool(closing) and (self.draft.has("change_rate") or 0.0 in story.values_of("lr"))
        self.words.update(inline=not full, whole=whole, may_rest=may_rest)
        blocks = [
            text if len(kinds) == 1 else f"if isinstance(optimizer, {name}):\n{indent(text)}"
            for name, text in closing.items()
        ]
        classes = full[0] if len(full) == 1 else f"({', '.join(full)})"
        self.words.update(weights=self.words["parameters"], take_weights="")
        if full and story.edits:  # sums over all weights go by their order, in which new ones come last
            self.words.update(weights="weights", take_weights='weights = optimizer.param_groups[0]["params"]')
            anew = "optimizer = made_anew(optimizer)"
            guarded = anew if only_full else f"if isinstance(optimizer, {classes}):\n{indent(anew)}"
            self.words["renew"] = lines(guarded, self.words["renew"])
        self.words["closing"] = fill(lines(*blocks), self.words)
        self.words["full_classes"] = classes
        self.words["differentiate"] = "differentiate=torch.Tensor.backward" * any(kind.curved for kind in kinds)

    # -- how it is called and made

    def _named(self, kind: type[Optimizer]) -> str:
        """Return how the script calls the torch optimizer."""
        name = kind.torch_class.__name__
        if getattr(torch.optim, name, None) is kind.torch_class:
            return f"torch.optim.{name}"
        return self.sources.name_for(_("the optimizer"), kind.torch_class)

    def _extras_of(self, instance: torch.optim.Optimizer, kind: type[Optimizer]) -> dict[str, Any]:
        """Return what the user's own instance was given beyond the hyperparameters."""
        parameters = inspect.signature(kind.torch_class).parameters
        known = {"params", *_settings(kind, self.story.start)}
        group = {name: value for name, value in instance.param_groups[0].items() if name not in known}
        return {name: value for name, value in _unusual(kind, group).items() if name in parameters}

    def _fuses(self, kind: type[Optimizer]) -> bool:
        return kind.fused and all(p.is_floating_point() for p in self.story.model.parameters() if p.requires_grad)

    def _maker(self, kind: type[Optimizer]) -> str:
        name, given = self._named(kind), self.story.optimizer
        settings: dict[str, Any] = {"fused": True} if self._fuses(kind) else {}
        if type(given) is kind.torch_class:  # swapped in again, it is as it was given
            settings = self._extras_of(given, kind)
        words = "".join(f", {key}={literal(value)}" for key, value in settings.items())
        return f"partial({name}{words})" if words else name


def _handed_on(step: int) -> ValueError:
    rule = _("the optimizer given has parameter groups, and a script does not hand them on to another one")
    return ValueError(_("{rule}, as in step {step}.", rule=rule, step=step))


def groups_at(groups: Groups, kind: type[Optimizer], values: dict[str, Any]) -> list[tuple[list[nn.Parameter], Any]]:
    """Return the weights and settings of the parameter groups given, as the first step used them."""
    settings = _settings(kind, values)
    return [
        (weights, given | {key: groups.value(index, key, settings[key]) for key in given.keys() & settings.keys()})
        for index, (weights, given) in enumerate(groups.given)
    ]


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


def _choose(model: nn.Module, weights: list[nn.Parameter]) -> str:
    """Return an expression for some weights of a model: the first of those people write that picks just them.

    Raises
    ------
    ValueError
        If one is not the model's.
    """
    children = [child for child, _module in model.named_children()]
    found = [f"model.{each}" if each.isidentifier() else f"model.get_submodule({literal(each)})" for each in children]
    found = [f"{place}.parameters()" for place in found]
    rules = ["", "p.ndim >= 2", "p.ndim < 2", 'n.endswith("bias")', 'not n.endswith("bias")']
    rules += [f"{no}n.startswith({literal(f'{each}.')})" for each in children for no in ("", "not ")]
    for trained in ("", "p.requires_grad"):
        for rule in rules:
            where = " and ".join(each for each in (rule, trained) if each)
            source = "n, p in named.items()" if "n." in rule else "p in model.parameters()"
            found.append(f"[p for {source} if {where}]" if where else f"[p for {source}]")
    named, wanted = dict(model.named_parameters()), list(map(id, weights))
    for text in found:  # made of names alone, as a script would do it
        if list(map(id, eval(text, {"model": model, "named": named}))) == wanted:
            return text
    names = {id(p): name for name, p in named.items()}
    if not names.keys() >= set(wanted):
        raise ValueError(_("the optimizer given holds weights that are not the model's."))
    return lines("[", *(f"            named[{literal(names[each])}]," for each in wanted), "        ]")
