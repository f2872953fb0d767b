"""The derivative of the validation loss by hyperparameters, through the steps to come (Maclaurin et al. 2015).

Steps are done on a copy, in 64 bits, as functions of weights and hyperparameters that keep their graph: with the
batches, masks and learning rates that the run's own next steps would have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from nbopt.data.sources import sample_count
from nbopt.errors import unknown
from nbopt.hyperparams import Float, Int
from nbopt.i18n import _
from nbopt.record.snapshots import Snapshot
from nbopt.run.population.forks import Source, fork_member, take
from nbopt.run.population.written_out import WrittenOut, write_out_norms
from nbopt.techniques.base import defines
from nbopt.techniques.context import Slope
from nbopt.techniques.losses.traits import count_targets
from nbopt.techniques.optimizers.groups import is_altered
from nbopt.techniques.optimizers.unrolled import FIXED, STEPS, changes_gradients, may_move_weights
from nbopt.training.compile.step import Layer, find_layers, find_trained, stand_in
from nbopt.training.many.batches import is_pair
from nbopt.training.many.gradients import Called
from nbopt.training.many.member import OneOfMany
from nbopt.training.many.reasons import find_reason
from nbopt.training.rates import find_rates
from nbopt.training.snapshots.checkpoint import capture
from nbopt.training.validation import walk

_ODD = ("maximize", "dampening", "amsgrad")


class Slopes(NamedTuple):
    """What was found last of a run.

    Attributes
    ----------
    step : int
        Steps done when the run was looked at.
    steps : int
        How far ahead the validation loss is that of.
    of : mapping of str to Slope
        By hyperparameter.
    """

    step: int
    steps: int
    of: Mapping[str, Slope]


def find_hypergradient(run: Source, names: str | Iterable[str], steps: int, snapshot: Snapshot | None = None) -> Slopes:
    """See `Run.hypergradient`.

    Parameters
    ----------
    run : TrainedSession or Member
    names, steps
    snapshot : Snapshot, optional
        Where it is, for who asks between two steps of its own.
    """
    number = Int(1, low=1, high=1, ge=1)
    number.name = "steps"
    number.check(steps)
    chosen = [run.hyperparams.spec(name).name for name in ([names] if isinstance(names, str) else names)]
    snapshot = take(run) if snapshot is None else snapshot
    unrolled = Unrolled(fork_member(run, _Nobody(run.name), 0, snapshot, past=False).training)
    for name in chosen:
        if name not in unrolled.values:
            raise unknown(_("hyperparameter for a derivative of this run's loss:"), name, unrolled.names)
    found = unrolled.differentiate(chosen, steps)
    values = {name: float(unrolled.values[name]) for name in chosen}
    specs: dict[str, Any] = {name: run.hyperparams.spec(name) for name in chosen}
    gain = unrolled.gain
    return Slopes(snapshot.step, steps, {name: Slope(values[name], found[name], gain, specs[name]) for name in chosen})


def look_ahead(run: Source, names: Iterable[str], steps: int) -> Mapping[str, Slope]:
    """Do so between two steps of a run or member, in the thread that does them, and keep what is found."""
    run.slopes = find_hypergradient(run, names, steps, capture(run.training))
    found: Mapping[str, Slope] = run.slopes.of
    return found


class _Nobody:
    """Whom a copy belongs to that does its steps by itself."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __len__(self) -> int:
        return 1

    def set(self, **_changes: Any) -> None:
        """Nobody asks."""

    def stop(self, *_members: Any, **_settings: Any) -> None:
        """Nobody asks."""

    def tell(self, text: str) -> None:
        """Who copied it is told."""


class Unrolled:
    """The next steps of a training, as a function of its hyperparameters.

    Parameters
    ----------
    training : OneOfMany
        Whose cursor moves on.

    Raises
    ------
    ValueError
        If its steps cannot be written as such a function; says why.

    Attributes
    ----------
    names : list of str
        What the loss can be differentiated by.
    values : dict of str to Tensor
        Of all of these; scalars of 64 bits.
    gain : float
        By how much the validation loss was lower after the steps last differentiated than before.
    """

    gain = 0.0

    def __init__(self, training: OneOfMany) -> None:
        if reason := _find_obstacle(training):
            raise _refuse(reason)
        self._training = training
        self._update, known = STEPS[type(training.torch_optimizer)]
        self._penalties = [
            name for part in training.acting.parts if defines(type(part), "sign_pull") for name in part.declared()
        ]
        self._settings = [name for name, spec in training.loss.declared().items() if isinstance(spec, Float)]
        self.names = [*known, *self._penalties, *self._settings]
        self.values = {name: _number(training.hyperparams[name]) for name in self.names}
        group = training.torch_optimizer.param_groups[0]
        fixed = {name: float(group.get(name) or 0.0) for name in FIXED}
        self._fixed = {name: _number(value) for name, value in fixed.items()}
        self._twin, self._dropping = stand_in(training.model)
        self._judged = copy_as_judged(training)
        self._moved: dict[str, Tensor] = {}  # statistics that the last pass moved
        write_out_norms(self._twin.double(), self._moved)
        write_out_norms(self._judged, {})
        self._loss = copy(training.loss)

    def differentiate(self, names: list[str], steps: int) -> dict[str, float]:
        """Return the derivative by each of these."""
        training, values = self._training, {name: value.clone() for name, value in self.values.items()}
        for name in names:
            values[name].requires_grad_()
        trained = [name for name, _weight in find_trained(self._twin)]
        own = dict(training.model.named_parameters())
        weights = [own[name].detach().double().requires_grad_() for name in trained]
        fixed = {name: weight.detach().double() for name, weight in own.items() if name not in trained}
        buffers = {name: _wide(buffer.clone()) for name, buffer in training.model.named_buffers()}
        states = [
            {key: value.double() for key, value in training.torch_optimizer.state.get(own[name], {}).items()}
            for name in trained
        ]
        counts = [int(state.pop("step", 0)) for state in states]
        base = float(training.hyperparams["lr"])
        with torch.no_grad():
            before = float(self._measure(dict(zip(trained, weights, strict=True)) | fixed | buffers))
        for step in range(steps):
            batch = training.cursor.peek()
            masks = self._draw(batch)
            own_now = dict(zip(trained, weights, strict=True)) | fixed | buffers | masks
            kept = {name: tensor.detach().clone() for name, tensor in own_now.items()}
            with training.noise.lock, training.noise.seeded(0):
                drawn = training.noise.drawn()
                loss = self._lose(*self._pass(self._twin, own_now, batch), values)
                if not all(map(torch.equal, drawn, training.noise.drawn())):
                    raise _refuse(_("the loss draws random numbers"))
            if changed := next((name for name, before in kept.items() if not torch.equal(before, own_now[name])), ""):
                raise _refuse(_("a pass changes {name}, which is no part of its graph", name=changed))
            buffers.update(self._moved)
            self._moved.clear()
            gradients = torch.autograd.grad(loss, weights, create_graph=True)
            factor = find_rates(training, 1)[0] / base if base and training.acting.change_rate else 1.0
            pull = sum((values[name] for name in self._penalties), _number(0.0))
            for place, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
                if weight.ndim > 1:
                    gradient = gradient + pull * weight.detach().sign()
                weights[place], states[place] = self._update(
                    weight,
                    gradient,
                    states[place],
                    values | self._fixed,
                    values["lr"] * factor,
                    counts[place] + step + 1,
                )
            training.advance(1)
            training.validation_due = False
        found = self._measure(dict(zip(trained, weights, strict=True)) | fixed | buffers)
        self.gain = before - float(found.detach())
        slopes = torch.autograd.grad(found, [values[name] for name in names], allow_unused=True)
        return {name: 0.0 if slope is None else float(slope) for name, slope in zip(names, slopes, strict=True)}

    def _draw(self, batch: Any) -> dict[str, Tensor]:
        """Draw the dropout masks of the next step."""
        training, twin = self._training, copy(self._twin)
        wide, forward = (_wide(batch[0]), batch[1]), training.pass_.forward
        layers: list[Layer] = find_layers(twin, self._dropping, wide, training.noise, [], forward)
        masks, kind = {}, next(training.model.parameters()).dtype  # on which depends what is drawn
        with training.noise.lock, training.noise.seeded(training.step_seed + training.step):
            for layer in layers:
                rate = float(training.model.get_submodule(layer.name).p)  # type: ignore[arg-type]
                own = layer._replace(ones=layer.ones.to(kind))
                drawn = own.draw(rate, training.noise.generator) if rate else layer.ones
                masks[f"{layer.name}.mask"] = drawn.double()
        return masks

    def _pass(self, model: nn.Module, tensors: dict[str, Tensor], batch: Any) -> tuple[Any, Any]:
        """Return output and target of a batch, the model computing with these tensors."""
        named = {f"model.{name}": tensor for name, tensor in tensors.items()}
        wide = _wide(batch[0]), batch[1]
        with WrittenOut():
            output, target = functional_call(Called(model), named, (self._training.pass_.forward, wide))
        return output, target

    def _lose(self, output: Tensor, target: Any, values: dict[str, Tensor]) -> Tensor:
        for name in self._settings:
            if values[name].requires_grad:
                vars(self._loss)[name] = values[name]
        return self._loss(output, self._loss.prepare(output, _wide(target)))

    def _measure(self, tensors: dict[str, Tensor]) -> Tensor:
        """Return the validation loss."""
        training, losses, counts = self._training, [], []
        assert training.val is not None
        for batch in walk(training.val, training.evaluation_seed):
            with training.noise.lock, training.noise.seeded(training.evaluation_seed):
                output, target = self._pass(self._judged, tensors, batch)
                losses.append(self._loss.measure(output, self._loss.prepare(output, _wide(target))))
            count = count_targets(self._loss.traits, target)
            counts.append(float(sample_count(batch)) if count is None else float(count))
        total = sum(counts)
        return torch.stack([loss * (count / total) for loss, count in zip(losses, counts, strict=True)]).sum()


def _refuse(reason: str) -> ValueError:
    return ValueError(_("the loss after steps of this run cannot be differentiated: {reason}.", reason=reason))


def copy_as_judged(training: OneOfMany) -> nn.Module:
    """Return a copy of the model, in evaluation mode and in 64 bits."""
    twin, _names = stand_in(training.model.eval())
    training.material.put_back()
    return twin.double().eval()


def _find_obstacle(training: OneOfMany) -> str:
    if reason := find_reason(training):
        return reason
    if training.val is None:
        return _("there is no validation")
    if type(training.torch_optimizer) not in STEPS or len(training.torch_optimizer.param_groups) > 1:
        return _("no formula for this optimizer")
    group, settings = training.torch_optimizer.param_groups[0], training.optimizer.settings()
    by_hand = any(key in group and group[key] != value for key, value in settings.items() if key != "lr")
    if by_hand or is_altered(training.torch_optimizer) or any(group.get(key) for key in _ODD):
        return _("the optimizer is set up in an unusual way")
    if not is_pair(training.cursor.peek()):
        return _("the batches are not pairs of tensors")
    hooks: Sequence[Any] = [*training.acting.after_gradients, *training.acting.after_step]
    kinds = {type(hook.__self__): None for hook in hooks}
    others = [kind.__name__ for kind in kinds if may_move_weights(kind) or changes_gradients(kind)]
    if others or training.acting.changes_batches:
        return _("{name} acts", name=", ".join(others) or _("augmentation or preprocessing"))
    return ""


def _number(value: float) -> Tensor:
    return torch.tensor(float(value), dtype=torch.float64)


def _wide(tensor: Any) -> Any:
    return tensor.double() if isinstance(tensor, Tensor) and tensor.is_floating_point() else tensor
