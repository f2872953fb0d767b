"""A run as a recipe: settings and schedule in YAML, for people to edit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

from nbopt.errors import InvalidHyperparam, unknown
from nbopt.export.summary import RunSummary, Schedule
from nbopt.hyperparams import Hyperparams, Strategy
from nbopt.i18n import _
from nbopt.record.journal import ACTIONS, EDIT
from nbopt.techniques.catalogue import PARTS, of_models
from nbopt.techniques.losses.by_output import names_of
from nbopt.techniques.losses.choice import LOSS
from nbopt.techniques.metrics.by_output import names_by_output
from nbopt.techniques.metrics.choice import name_of_metric
from nbopt.techniques.optimizers.standard import OPTIMIZER
from nbopt.techniques.schedules.choice import SCHEDULES

_KEYS = ("seed", "loss", "optimizer", "metrics", "forward", "val", "steps", "hyperparameters", "schedule")

_LONGEST = 2**20  # characters of a recipe

_ARGUMENTS = {"model", "train", "val", "loss", "forward", "optimizer", "metrics", "seed", "device", "name", "store"}

_HEADER = """\
# A recipe: the settings of a training run and the changes made on its way. Run it again, edited or not, with
#     run = nbopt.Run.from_yaml("recipe.yaml", model, train=(X, y), val=(X_val, y_val))
"""
_NOTES = {
    "val": "the part of the training data that is set aside, unless val is given",
    "steps": "it was left there; without this line it trains all its epochs",
    "schedule": "each change acts from the step of that number on, counted from 0",
}


class Recipe(NamedTuple):
    """A recipe as read; only its form is checked.

    Attributes
    ----------
    settings : dict
        By name, what `_KEYS` lists but hyperparameters and schedule.
    hyperparameters : dict
    schedule : dict
        See `Schedule`.
    """

    settings: dict[str, Any]
    hyperparameters: dict[str, Any]
    schedule: Schedule


def to_yaml(story: RunSummary) -> str:
    """Write the recipe."""
    loss = names_of(story.loss) or story.start["loss"]
    settings: dict[str, Any] = {"seed": story.seed, "loss": loss, "optimizer": story.start["optimizer"]}
    if story.metrics:
        settings["metrics"] = _metric_names(story)
    if story.forward is not None:
        settings["forward"] = getattr(story.forward, "__name__", type(story.forward).__name__)
    if story.share is not None:
        settings["val"] = float(story.share)
    if story.steps:  # one that did none is as one that has not started
        settings["steps"] = story.steps
    lines = [_HEADER.rstrip()]
    for name in own_callables(story):
        lines.append(f"# The run was given a {name} of its own: give it again, {name}=...")
    for name, value in settings.items():
        lines.append(_line(name, value, 0) + (f"  # {_NOTES[name]}" if name in _NOTES else ""))
    lines.append("hyperparameters:")
    lines += [_line(name, story.start[name], 2) for name in _acting(story)]
    rows = []
    for step, changes in story.schedule.items():
        if story.steps is None and step == story.done:  # at its end a run restores its best weights by itself
            changes = {name: value for name, value in changes.items() if name != "restore_best"}
        if changes := {**_edits_at(story, step), **changes}:
            rows.append(_line(step, changes, 2))
    if rows:
        lines.append(f"schedule:  # {_NOTES['schedule']}")
        lines += rows
    return "\n".join(lines) + "\n"


def _edits_at(story: RunSummary, step: int) -> dict[str, Any]:
    """Return what a recipe says of the edits of the model at a step: their names, each with what the user wrote."""
    found = [
        {edit.kind: {**edit.settings, **({"settled": True} if edit.settled else {})}}
        for edit in story.edits
        if edit.step == step
    ]
    return {EDIT: found[0] if len(found) == 1 else found} if found else {}


def read(text_or_path: str | Path) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    text_or_path : str or Path
        A str of one line that ends in ``.yaml`` or ``.yml`` is a path.

    Raises
    ------
    ValueError
        If it is not a recipe: says where and why.
    OSError
        If there is no such file.
    """
    text = str(text_or_path)
    if isinstance(text_or_path, Path) or ("\n" not in text and text.endswith((".yaml", ".yml"))):
        text = _read_file(Path(text_or_path))
    if len(text) > _LONGEST:
        raise ValueError(_("the recipe is too long: {count:,} characters.", count=len(text)))
    try:
        _refuse_repeated_keys(yaml.compose(text, Loader=yaml.SafeLoader))
        content = _construct(text)
    except yaml.YAMLError as error:
        raise ValueError(_("the recipe is not YAML: {error}", error=error)) from error
    except RecursionError:
        raise ValueError(_("the recipe is nested too deeply, or contains itself.")) from None
    content = _mapping(_("the recipe"), content)
    for key in content:
        if key not in _KEYS:
            raise unknown(_("entry of the recipe"), key, _KEYS)
    given = _mapping("hyperparameters", content.pop("hyperparameters", None))
    if misplaced := next((name for name in given if name in _ARGUMENTS), None):
        raise ValueError(_("hyperparameters: {name} does not belong here.", name=misplaced))
    hyperparameters = {str(name): _number(value) for name, value in given.items()}
    schedule: Schedule = {}
    for step, changes in _mapping("schedule", content.pop("schedule", None)).items():
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            rule = _("steps must be whole numbers, 0 or more")
            raise ValueError(_("schedule: {rule}; got {step!r}.", rule=rule, step=step))
        schedule[step] = _mapping(_("schedule, step {step}", step=step), changes)
    return Recipe(content, hyperparameters, schedule)


def _construct(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except ValueError as error:  # a number of too many digits, a day that there is not
        raise yaml.YAMLError(str(error)) from error


def _read_file(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_LONGEST + 1)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(_("the recipe {path} is not UTF-8: {error}", path=path, error=error)) from None


def check_values(where: str, values: Mapping[str, Any], hyperparams: Hyperparams) -> dict[str, Any]:
    """Return ``values`` in canonical form; actions may be among them.

    Raises
    ------
    InvalidHyperparam
        For an unknown name or an illegal value; says where it stands.
    """
    checked: dict[str, Any] = {}
    for name, value in values.items():
        try:
            if name in ACTIONS:
                if value is not True:
                    raise InvalidHyperparam(_("{name} can only be true; got {value!r}.", name=name, value=value))
                checked[name] = True
                continue
            name = hyperparams.current(name)
            if name not in hyperparams:
                raise unknown(_("hyperparameter"), name, [*hyperparams, *ACTIONS], hyperparams.synonyms)
            spec = hyperparams.spec(name)
            checked[name] = spec.check(_number(value))
        except InvalidHyperparam as error:
            raise InvalidHyperparam(f"{where}: {error}") from error
    return checked


def own_callables(story: RunSummary) -> list[str]:
    """Return which arguments of the run's maker a recipe cannot hold."""
    found = []
    if not isinstance(story.loss, str) and names_of(story.loss) is None:
        found.append("loss")
    if not isinstance(story.optimizer, str) and not _is_torchs(story.optimizer):
        found.append("optimizer")
    if names_by_output(story.metrics) is None and not all(map(name_of_metric, story.metrics.values())):
        found.append("metrics")
    if story.forward is not None:
        found.append("forward")
    if story.start["schedule"] not in SCHEDULES:
        found.append("schedule")
    if any(edit.written.given or "other" in edit.settings for edit in story.edits):
        found.append("edits")
    return found


def _is_torchs(optimizer: Any) -> bool:
    return isinstance(optimizer, type) and getattr(torch.optim, optimizer.__name__, None) is optimizer


def _metric_names(story: RunSummary) -> list[str] | dict[Any, Any]:
    if (by_output := names_by_output(story.metrics)) is not None:
        return by_output
    names = {name: name_of_metric(metric) or name for name, metric in story.metrics.items()}
    return list(names) if all(name == stands_for for name, stands_for in names.items()) else names


def _acting(story: RunSummary) -> list[str]:
    """Return the hyperparameters that act at some time, or were given a value of their own."""
    names = set(story.hyperparams.active)
    specs = [story.hyperparams.spec(name) for name in story.hyperparams]
    strategies = [spec for spec in specs if isinstance(spec, Strategy)]
    for strategy in strategies:
        names -= {name for kind in strategy.classes.values() for name in kind.declared()}
    for strategy in strategies:
        for choice in story.values_of(strategy.name):
            names |= set(strategy.classes[choice].declared())
    brought = of_models(story.techniques)
    for item in PARTS:  # nothing is said of parts that were left as they are
        own = {item.name} if isinstance(item, Strategy) else set(item.declared())
        names -= {name for name in own - brought if story.values_of(name) == [story.hyperparams.spec(name).default]}
    names -= {name for name in ("steps", "validate_every") if not any(story.values_of(name))}
    names |= {name for name, value in story.start.items() if value != story.hyperparams.spec(name).default}
    overruling = {name: spec.unless for name, spec in zip(story.hyperparams, specs, strict=True) if spec.unless}
    names -= {name for name, other in overruling.items() if all(story.values_of(other))}
    names -= {OPTIMIZER.name, LOSS.name} | story.inert
    names -= story.untouched
    return [name for name in story.hyperparams if name in names]


def _line(name: object, value: Any, indent: int) -> str:
    text: str = yaml.safe_dump({name: value}, default_flow_style=True, width=10**6, sort_keys=False, allow_unicode=True)
    return " " * indent + text.strip()[1:-1]  # without the braces


def _mapping(where: str, value: Any) -> dict[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        rule = _("names and values are expected, name: value")
        raise ValueError(_("{where}: {rule}; got {value!r}.", where=where, rule=rule, value=value))
    return value


def _number(value: Any) -> Any:
    """Return a number where YAML sees text: ``1e-3``, without a point."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _refuse_repeated_keys(node: yaml.Node | None) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ValueError(_("line {line}: a name or a number is expected before the colon.", line=line))
        if key.value in seen:
            raise ValueError(_("line {line}: {key} is a duplicate key.", line=line, key=key.value))
        seen.add(key.value)
        _refuse_repeated_keys(value)
