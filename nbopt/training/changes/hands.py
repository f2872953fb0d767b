"""What the user's hand changes of model and optimizer while a run rests, and no journal can do again."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nbopt.errors import InvalidHyperparam
from nbopt.i18n import _
from nbopt.techniques.optimizers.groups import settings_of
from nbopt.training.core import Core
from nbopt.training.material import Material, list_names
from nbopt.training.snapshots.checkpoint import capture
from nbopt.training.user_code.settings import find_settings

_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Look(NamedTuple):
    """What model and optimizer held when a run came to rest.

    Attributes
    ----------
    step : int
    weights : dict of str to Parameter
    shapes : dict of str to torch.Size
        Those of the weights.
    sums : dict of str to int
        Of the bits of weights and buffers, by name.
    groups : list of dict
        The settings of the optimizer's parameter groups.
    remembered : list
        What the optimizer remembers, piece by piece.
    techniques : dict
        What may be changed by hand of what they act on, see `Technique.by_hand`.
    read : dict of str to str
        The numbers that loss and forward read from around them, and what the objects that they are hold.
    """

    step: int
    weights: dict[str, nn.Parameter]
    shapes: dict[str, torch.Size]
    sums: dict[str, int]
    groups: list[dict[str, Any]]
    remembered: list[Any]
    techniques: dict[str, Any]
    read: dict[str, str]


class Hands:
    """Notices changes made by hand in a rest: training goes on with them, and it is said that nothing repeats them.

    What trains and which modules stay in evaluation mode is not among them: `Material` has that journaled. Nor are
    settings of the optimizer that a hyperparameter tells of, as the learning rate: these become changes of it.

    Parameters
    ----------
    training : Core
    """

    def __init__(self, training: Core) -> None:
        self._training = training
        self._left: Look | None = None

    def leave(self) -> None:
        """Take note of how everything is, with all losses looked at: the run frozen from here on."""
        training = self._training
        training.flush()
        groups = [
            {key: value.clone() if isinstance(value, Tensor) else value for key, value in group.items()}
            for group in training.torch_optimizer.param_groups
        ]
        remembered = _pieces(training.torch_optimizer)
        weights = training.material.find_parameters()
        techniques, read = training.acting.by_hand, find_settings(training)
        shapes = {name: weight.shape for name, weight in weights.items()}
        self._left = Look(
            training.step, weights, shapes, _sums(training.material), groups, remembered, techniques, read
        )

    def forget(self) -> None:
        """Take everything for given: the run was put somewhere else."""
        self._left, self._training.touched = None, ""
        self._training.resettled.clear()

    def look(self) -> bool:
        """Look at what was changed since `leave`, and return whether anything was.

        Raises
        ------
        ValueError
            See `check`.
        """
        self.check()
        left, self._left = self._left, None
        if left is None or left.step != self._training.step:  # whoever pulls events has done steps since
            return False
        training, words = self._training, []
        sums = _sums(training.material)
        if names := [name for name, total in sums.items() if left.sums.get(name, total) != total]:
            words.append(_("other numbers, put in by hand: {names}", names=list_names(names)))
        pairs = zip(left.groups, training.torch_optimizer.param_groups, strict=False)
        differ = [key for old, new in pairs for key in old if key != "params" and _differ(old[key], new.get(key))]
        keys = list(dict.fromkeys(differ))
        training.resettled |= find_resettled(training, keys)
        if untold := [key for key in keys if key not in training.resettled]:
            words.append(_("settings of the optimizer, changed by hand: {names}", names=", ".join(untold)))
        if "lr" in keys and training.acting.change_rate:
            words.append(_("the schedule goes on from the lr that the panel shows; run.set(lr=...) changes that"))
        now = _pieces(training.torch_optimizer)
        if len(now) != len(left.remembered) or any(
            one is not other for one, other in zip(left.remembered, now, strict=True)
        ):
            words.append(_("what the optimizer remembers, changed by hand"))
        for word, value in training.acting.by_hand.items():
            if left.techniques.get(word, value) != value:
                words.append(_("{what}, changed by hand", what=word))
        read = find_settings(training)
        if names := [name for name, value in left.read.items() if read.get(name, value) != value]:
            words.append(_("numbers that loss or forward read, changed by hand: {names}", names=list_names(names)))
        if words:
            words.append(_("nothing that goes back to before this repeats it"))
        training.touched = "; ".join(filter(None, [training.touched, *words]))
        return bool(words)

    def check(self) -> None:
        """See that model and optimizer hold the weights that they held when the run came to rest.

        Raises
        ------
        ValueError
            If weights were exchanged, added or taken away, or parameter groups.
        """
        if self._left is not None and self._left.step == self._training.step:
            self._training.material.check(self._left.weights, self._left.shapes)
            self._training.groups.check(self._training.torch_optimizer)

    def take(self) -> None:
        """Go on with what was changed: losses have another size, and a way back to this step leads to it."""
        training = self._training
        training.touched = ""
        training.measure_anew("weights")
        newest = training.snapshots[-1] if training.snapshots else None
        if newest is None or newest.step != training.step or training.validation_due:
            return
        same = newest.facts["hyperparams"] == dict(training.hyperparams)
        if same and newest.facts.get("edits", []) == training.edits:  # else it stands for the time before a change
            training.snapshots.add(capture(training))


def find_resettled(training: Core, keys: Iterable[str]) -> dict[str, Any]:
    """Return the hyperparameters that tell what the optimizer's groups have now for ``keys``, with these values."""
    optimizer, groups = training.optimizer, training.torch_optimizer.param_groups
    held, found = settings_of(training.torch_optimizer), {}
    for key in optimizer.settings().keys() & optimizer.declared().keys() & held.keys() & set(keys):
        if key == "lr" and training.acting.change_rate:  # a schedule's, which goes on from its own
            continue
        with suppress(InvalidHyperparam):
            (value,) = training.hyperparams.check({key: held[key]}).values()
            if all(training.groups.value(place, key, value) == group[key] for place, group in enumerate(groups)):
                found[key] = value
    return found


def _sums(material: Material) -> dict[str, int]:
    """Return sums of the bits of all tensors, whose changes show there, but for those that trade places."""
    modules = {"model": material.model, **material.others}
    tensors = {
        f"{prefix}.{name}": tensor.detach()
        for prefix, module in modules.items()
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
        if tensor.layout is torch.strided and tensor.element_size() in _WHOLE and tensor.numel()
    }
    totals = [tensor.view(_WHOLE[tensor.element_size()]).sum(dtype=torch.int64) for tensor in tensors.values()]
    return dict(zip(tensors, torch.stack(totals).tolist() if totals else [], strict=True))


def _pieces(optimizer: torch.optim.Optimizer) -> list[Any]:
    return [value for own in optimizer.state.values() for value in (own.values() if isinstance(own, dict) else [own])]


def _differ(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return not torch.equal(one, other)
    return type(one) is not type(other) or bool(one != other)
