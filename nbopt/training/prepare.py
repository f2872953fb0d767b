"""What is checked before a run's first step, so that errors speak of what the user gave."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from nbopt.data.noise import SPLIT, derive_seed
from nbopt.data.places import Place, check_place, name_of
from nbopt.data.sources import AnySource, DatasetSource, StreamSource, as_source
from nbopt.data.split import split
from nbopt.data.tensor_source import TensorSource
from nbopt.errors import InvalidHyperparam
from nbopt.export.summary import Schedule
from nbopt.hyperparams import Hyperparams
from nbopt.i18n import _
from nbopt.techniques.losses.base import Loss
from nbopt.techniques.losses.by_output import TARGETS_BY_NAME, places_in
from nbopt.torch_private import load_dynamo
from nbopt.training.device import fits
from nbopt.training.types import adapt, float_type


def check_model(model: object) -> nn.Module:
    """Return ``model`` if it can be trained here.

    Raises
    ------
    TypeError
        If it is no torch module.
    ValueError
        If it has lazy layers.
    """
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise TypeError(_("model is the class {name}, not an instance: write {name}().", name=model.__name__))
    if not isinstance(model, nn.Module):
        raise TypeError(_("model must be a torch.nn.Module; got {kind}.", kind=type(model).__name__))
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()):
        raise ValueError(_("the model has lazy layers that have not seen data yet: call it once on a batch first."))
    return model


def check_optimizer(
    optimizer: object, model: nn.Module, modules: Mapping[str, nn.Module]
) -> torch.optim.Optimizer | None:
    """Return the user's own optimizer instance, if it is one; warn if it leaves out weights of the loss.

    Parameters
    ----------
    optimizer : object
        As given to a run.
    model : torch.nn.Module
    modules : mapping of str to torch.nn.Module
        Those of the loss.

    Raises
    ------
    ValueError
        If it trains another model, or if nothing requires a gradient.
    """
    own = {id(weight): name for name, weight in model.named_parameters()}
    of_loss = {id(w): name for module in modules.values() for name, w in module.named_parameters() if id(w) not in own}
    if not any(weight.requires_grad for module in (model, *modules.values()) for weight in module.parameters()):
        raise ValueError(_("the model has no parameter that requires a gradient: there is nothing to train."))
    if not isinstance(optimizer, torch.optim.Optimizer):
        return None
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not held <= own.keys() | of_loss.keys():
        raise ValueError(_("the optimizer given holds parameters that are not this model's."))
    if left_out := [of_loss[weight] for weight in of_loss.keys() - held]:
        warnings.warn(
            _(
                "the loss has parameters that the optimizer given does not hold ({names}), so that nothing trains "
                "them: hand it loss.parameters() too.",
                names=", ".join(sorted(left_out)),
            ),
            stacklevel=3,
        )
    return optimizer


def check_val(val: Any) -> Any:
    """Return ``val``, a fraction as a float; raise ValueError for a number that is no fraction."""
    if not isinstance(val, numbers.Real):
        return val
    share = float(val)
    if isinstance(val, bool) or not 0 < share < 1:
        rule = _("val must be data, None or a fraction of train between 0 and 1")
        raise ValueError(_("{rule}; got {value!r}.", rule=rule, value=val))
    return share


def check_seed(seed: object) -> int:
    """Return ``seed`` if it is a whole number of at least 0; raise ValueError otherwise."""
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or seed < 0:
        raise ValueError(_("seed must be a whole number of at least 0; got {value!r}.", value=seed))
    return int(seed)


def check_in_time(changes: Mapping[str, Any], hyperparams: Hyperparams, step: int) -> None:
    """Raise InvalidHyperparam if one of ``changes``, made when ``step`` steps are done, comes too late to act."""
    for name in (spec.name for spec in hyperparams.specs if spec.initial):
        if step and changes.get(name, hyperparams[name]) != hyperparams[name]:
            rule = _("it acts only before the first step, and this is step {step}", step=step)
            way = _("run.rewind(0) first, or run.branch(at=0, {name}=...)", name=name)
            raise InvalidHyperparam(_("{name}: {rule}. Go back: {way}.", name=name, rule=rule, way=way))


def load_ahead() -> None:
    """Import what torch imports with the first optimizer: a second better spent while nobody waits for it."""
    load_dynamo()


def check_planned(hyperparams: Hyperparams, changes: Mapping[str, Any], schedule: Schedule) -> None:
    """Raise InvalidHyperparam if values do not go together once ``changes``, then a schedule, are made to them."""
    values = dict(changes)
    for step, planned in sorted(schedule.items()):
        values.update(planned)
        try:
            hyperparams.check_together(values)
        except InvalidHyperparam as error:
            raise InvalidHyperparam(_("schedule, step {step}: {error}", step=step, error=error)) from error


def make_sources(
    train: Any,
    val: Any,
    seed: int,
    device: torch.device,
    model: nn.Module | None = None,
    loss: object = None,
    forward: object = None,
    batch_size: int = 64,
) -> tuple[AnySource, AnySource | None]:
    """Turn ``train`` and ``val`` into sources, their tensors on ``device`` if they fit there.

    Parameters
    ----------
    train, val
        As given to a run.
    seed : int
        Decides what is cut off for ``val``.
    device : torch.device
    model : torch.nn.Module, optional
        Decides with ``loss`` what type arrays become.
    forward : callable, optional
        The user's own: it takes whole numbers as they are given.
    batch_size : int
        Of an ``IterableDataset`` given without a loader.

    Raises
    ------
    TypeError, ValueError
        If one is no data, empty, or shaped unlike the other.
    """
    floats = torch.float32 if model is None else float_type(model)
    train_source: AnySource = as_source(train, "train", floats, batch_size)
    val_source: AnySource | None = None
    if model is not None and forward is None:
        adapt(train_source, model, loss)
    if isinstance(val, float):
        train_source, val_source = split(train_source, val, derive_seed(seed, SPLIT))
    elif val is not None:
        val_source = as_source(val, "val", floats, batch_size)
        if model is not None and forward is None:
            adapt(val_source, model, loss)
        _check_val_batches(val_source, forward, loss)
        _check_alike(train_source, val_source)
    for source in (train_source, val_source):
        if isinstance(source, TensorSource) and not fits(source.nbytes(), device):
            source.stay(device)
        elif source is not None:
            source.to(device)
    return train_source, val_source


def check_pair(batch: Any) -> None:
    """Raise ValueError if a batch is no (x, y), as the usual forward pass takes it."""
    parts = isinstance(batch, (tuple, list))
    if not parts or len(batch) != 2:
        kind = _("{count} parts", count=len(batch)) if parts else type(batch).__name__
        rule = _("give forward=callable(model, batch) -> (output, target)")
        raise ValueError(_("a batch holds {kind}, not (x, y): {rule}.", kind=kind, rule=rule))


def check_forward(forward: object) -> None:
    """Raise TypeError if ``forward`` cannot be called."""
    if forward is not None and not callable(forward):
        rule = _("forward must be callable(model, batch) -> (output, target)")
        raise TypeError(_("{rule}; got {kind}.", rule=rule, kind=type(forward).__name__))


def check_returned(pair: Any) -> None:
    """Raise TypeError if what a forward returned is no (output, target): a batch of two unpacks, too."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        parts = _("{count} parts", count=len(pair)) if isinstance(pair, (tuple, list)) else type(pair).__name__
        raise TypeError(_("forward must return (output, target); it returned {parts}.", parts=parts))


def _check_val_batches(val: AnySource, forward: object, loss: object) -> None:
    """Look before the first step what the first validation would find, where that costs no more than a sample."""
    batch: Any = None
    if isinstance(val, StreamSource):
        batch = next(val.batches(0), None) if val.length is None else None
        if val.length == 0 or (val.length is None and batch is None):
            raise ValueError(_("val is empty: it yields no batch."))
    elif isinstance(val, DatasetSource) and forward is None:
        batch = val.first()
    if batch is not None and forward is None:
        try:
            check_pair(batch)
            for place in places_in(loss):
                check_place(batch[1], place, _("target"), TARGETS_BY_NAME)
        except ValueError as error:
            raise ValueError(_("val: {error}", error=error)) from error


def _check_alike(train: AnySource, val: AnySource) -> None:
    if not isinstance(train, TensorSource) or not isinstance(val, TensorSource):
        return
    columns: list[dict[Any, torch.Tensor]] = [dict(enumerate(source.columns)) for source in (train, val)]
    if train.structure is not None or val.structure is not None:
        columns = [_by_name(source) for source in (train, val)]
        if missing := [place for place in columns[0] if place not in columns[1]]:
            names = ", ".join("/".join(map(str, place)) for place in missing)
            raise ValueError(_("val has no {names}, but train has: give both the same.", names=names))
        columns[1] = {place: columns[1][place] for place in columns[0]}
    shapes = [[tuple(column.shape[1:]) for column in each.values()] for each in columns]
    if shapes[0] != shapes[1]:
        given = [", ".join(str(tuple(column.shape)) for column in source.columns) for source in (train, val)]
        said = _("train {train} and val {val} hold samples of different shapes.", train=given[0], val=given[1])
        if len(train.columns) == 1 and train.size == val.size:
            said += " " + _("Inputs and labels are given together: nbopt.Run(model, (X, y)).")
        raise ValueError(said)


def _by_name(source: TensorSource) -> dict[Any, torch.Tensor]:
    """Return columns by their places; without names, they are x and y."""
    places = [(0,), (1,)] if source.structure is None else source.structure.places
    return dict(zip(places, source.columns, strict=False))


def check_labels(source: AnySource | None, place: Place, output: torch.Tensor, loss: Loss) -> None:
    """Check all labels of an output in a source, given one batch's output; raise ValueError, naming their range.

    Of a loss that nothing is known of, what labels it takes is not known either.
    """
    labels = source.targets.get(place) if isinstance(source, TensorSource) else None
    if labels is None or not loss.traits.reduction:
        return
    scores = isinstance(output, torch.Tensor) and output.ndim in (1, 2)
    if scores and labels.ndim == 1 and not labels.is_floating_point():
        present = torch.unique(labels).to(output.device)
        with suppress(RuntimeError):  # of types: the step itself raises it, and says more
            try:
                loss.explain(output[:1].expand(len(present), *output.shape[1:]), present)
            except ValueError as error:
                if not place:
                    raise
                raise ValueError(f"loss of {name_of(place)}: {error}") from error
