"""The optimizer of a run, as source: made, changed and swapped."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from nbopt.parts.optimizer_base import Optimizer
from nbopt.parts.optimizers import OPTIMIZER
from nbopt.parts.second_order import LBFGS, Newton
from nbopt.record.script_parts import PartsSource
from nbopt.record.script_section import Section
from nbopt.record.source import Sources, literal
from nbopt.record.story import Story
from nbopt.words import _


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

    def __init__(self, story: Story, sources: Sources, use: Callable[[str], str], parts: PartsSource) -> None:
        self.choices = ""
        self.changes: dict[int, dict[str, Any]] = {}
        self._parts = parts
        super().__init__(story, sources, use)

    def write(self) -> None:
        """See `Section`."""
        self._write_making()
        self._write_changes()
        self._write_full_steps()

    def _write_making(self) -> None:
        story = self.story
        kind = self._kind(story.start["optimizer"])
        settings = _settings(kind, story.start)
        self._check_adopted()
        extras = self._extras(kind)
        given = {**_unusual(kind, settings), **extras}
        frozen = any(not parameter.requires_grad for parameter in story.model.parameters())
        self.flags["listed"] = listed = frozen or bool(self._parts.names)
        self.words["parameters"] = "parameters" if listed else "model.parameters()"
        arguments = [self.words["parameters"]]
        for name, value in given.items():
            self.constants[name.upper()] = literal(value)
            arguments.append(f"{name}={name.upper()}")
        if "fused" not in extras and self._fuses(kind) and story.adopted is None:
            arguments.append("fused=True")
        self.words["optimizer"] = f"optimizer = {self._named(kind)}({', '.join(arguments)})"

    def _write_changes(self) -> None:
        story, flags = self.story, self.flags
        values = dict(story.start)
        kind = self._kind(values["optimizer"])
        settings = _settings(kind, values)
        swapped: dict[str, str] = {}
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
            else:
                changed = {name: value for name, value in after.items() if value != settings[name]}
                late = kind.torch_class is torch.optim.RMSprop and "momentum" in changed
                flags["late_momentum"] = flags["late_momentum"] or late
                flags["trims"] = flags["trims"] or "history_size" in changed
            self.changes[step] = changed
            flags["optimizer_changes"] = flags["optimizer_changes"] or bool(changed)
            settings = after
        flags["swap"], flags["carries"] = bool(swapped), carries
        flags["partial"] = any("partial" in maker for maker in swapped.values())
        if swapped:
            rows = "".join(f"    {literal(name)}: {maker},\n" for name, maker in swapped.items())
            self.choices = f"OPTIMIZERS = {{\n{rows}}}"

    def _write_full_steps(self) -> None:
        """Write steps on all samples at once, which evaluate the loss several times."""
        story, flags, words = self.story, self.flags, self.words
        kinds = optimizers_of(story)
        full = [self._named(kind) for kind in kinds if kind.full_batch]
        flags["full"] = bool(full)
        flags["mixed"] = bool(full) and not all(kind.full_batch for kind in kinds)
        flags["newton"] = Newton in kinds
        flags["decays"] = LBFGS in kinds and any(story.values_of("weight_decay"))
        flags["only_lbfgs"] = kinds == [LBFGS]
        flags["still"] = LBFGS in kinds and (self._parts.has("change_rate") or 0.0 in story.values_of("lr"))
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
        if kind is Newton:
            return self.sources.name_for(_("the optimizer"), kind.torch_class)
        raise ValueError(
            _(
                "the optimizer {name} is a class of your own, which a script cannot hold: to_yaml keeps the "
                "changes, and takes the class again.",
                name=name,
            )
        )

    def _check_adopted(self) -> None:
        adopted = self.story.adopted
        if adopted is None:
            return
        held = [id(parameter) for group in adopted.param_groups for parameter in group["params"]]
        trained = [id(parameter) for parameter in self.story.model.parameters() if parameter.requires_grad]
        if len(adopted.param_groups) > 1 or held != trained:
            raise ValueError(
                _("the optimizer given has parameter groups or an order of its own, which a script does not hold.")
            )
        if self.story.experienced:
            raise ValueError(_("the optimizer given had taken steps before the run, which a script cannot repeat."))

    def _extras(self, kind: type[Optimizer]) -> dict[str, Any]:
        """Return what the user's own instance was given beyond the hyperparameters."""
        if self.story.adopted is None:
            return {}
        group = self.story.adopted.param_groups[0]
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
        name = self._named(kind)
        return f"partial({name}, fused=True)" if self._fuses(kind) else name


def optimizers_of(story: Story) -> list[type[Optimizer]]:
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
