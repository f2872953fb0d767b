"""A run's model as a file."""

from __future__ import annotations

import os
import secrets
import tempfile
import warnings
from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nbopt.data.tree import tree_map
from nbopt.errors import InvalidHyperparam, shorten, unknown
from nbopt.export.compressed import graphs
from nbopt.export.compressed.folding import Folding, fold
from nbopt.export.compressed.load import lay_rounding
from nbopt.export.compressed.pack import Grid, join, pack
from nbopt.formatting import milliseconds
from nbopt.i18n import _
from nbopt.run.arguments import call, find_arguments, find_many
from nbopt.run.size.kernels import Kernel, time_file
from nbopt.run.size.latency import Latency
from nbopt.run.trained import TrainedSession
from nbopt.training.snapshots.outside import unchanged
from nbopt.training.training import Training

_BITS = 8  # of kernels for whole numbers


class Exported(NamedTuple):
    """A file that a run wrote.

    Attributes
    ----------
    path : Path
    bytes : int
        Its size.
    full : int
        The size of a safetensors file with the same tensors in full.
    tensors : mapping of str to int
        How many bytes of it each tensor takes, if it is known.
    folding : Folding
        Which batch norms were folded, and why others stay; empty unless that was asked for.
    latency : Latency, or None
        Of a program, how long the file takes for the next training batch, measured on the CPU.
    """

    path: Path
    bytes: int
    full: int
    tensors: Mapping[str, int]
    folding: Folding = Folding({}, {})
    latency: Latency | None = None

    @property
    def times_smaller(self) -> float:
        """How many times smaller it is than a file with the same tensors in full."""
        return self.full / self.bytes

    def __repr__(self) -> str:
        told = _(
            "{size:.1f} kB, {times:.1f} times smaller than in full", size=self.bytes / 1e3, times=self.times_smaller
        )
        more = [str(self.folding)] if any(self.folding) else []
        if self.latency is not None:
            median, count = milliseconds(self.latency.median), self.latency.samples
            more.append(_("{median} ms for {count} samples", median=median, count=count))
        return "; ".join([f"{self.path}: {told}", *more])


class Computed(NamedTuple):
    """What a run's model computes with.

    Attributes
    ----------
    state : dict of str to Tensor
        Its ``state_dict``, with what techniques make of its weights.
    grids : dict of str to Grid
        Those that weights are on.
    same : dict of str to str
        Names of tensors that are others, too, and the names of those.
    inputs : dict of str to tuple of float
        The least and the largest input of layers that get inputs of few bits, and these bits.
    """

    state: dict[str, Tensor]
    grids: dict[str, Grid]
    same: dict[str, str]
    inputs: dict[str, tuple[float, float, int]]


@torch.no_grad()
def find_computed(run: TrainedSession) -> Computed:
    """Return what a run's model computes with; to be called between two steps."""
    training = run.training
    evaluating, seeded = training.material.evaluating(), training.noise.seeded(training.evaluation_seed)
    with unchanged(training), evaluating, training.noise.lock, seeded:  # as `Run.predict` does it
        return _find_computed(training)


def _find_computed(training: Training) -> Computed:
    weights: dict[str, Tensor] = dict(training.context.named_weights)
    grids: dict[str, Grid] = {}
    for change in training.acting.change_weights:
        part: Any = change.__self__  # type: ignore[attr-defined]
        grids.update({name: Grid(*grid) for name, grid in part.grids(weights).items()})
        weights = change(weights)
    own = {id(tensor): name for name, tensor in training.model.named_parameters()}
    state: dict[str, Tensor] = {}
    same: dict[str, str] = {}
    for name, tensor in training.model.state_dict(keep_vars=True).items():
        first = own.get(id(tensor), name)  # of a weight that has several names
        if first in state:
            same[name] = first
        else:
            state[name] = weights.get(name, tensor).detach().clone()
    return Computed(state, grids, same, _find_inputs(training))


def _find_inputs(training: Training) -> dict[str, tuple[float, float, int]]:
    found: dict[str, tuple[float, float, int]] = {}
    for change in training.acting.change_activations:
        part: Any = change.__self__  # type: ignore[attr-defined]
        if not hasattr(part, "ends_now"):
            rule = _("a file does not hold what it does to the inputs of layers")
            raise ValueError(_("{name}: {rule}.", name=type(part).__name__, rule=rule))
        training.pass_.calibrate()
        for (layer, bits), ends in zip(part.bits_now.items(), part.ends_now, strict=True):
            found[layer] = (*map(float, ends), bits)
    return found


def take_away(run: TrainedSession, path: str | Path, int8: bool, folds: bool) -> Exported:
    """See `Run.export`."""
    if not isinstance(path, (str, os.PathLike)):
        rule = _("a file that ends in {endings}", endings=", ".join(_WRITERS))
        raise InvalidHyperparam(_("path must be {rule}; got {value}.", rule=rule, value=shorten(path)))
    path = Path(path)
    if int8 and path.suffix != ".onnx":
        raise ValueError(_("int8: kernels for whole numbers are those of ONNX Runtime: give a path that ends in .onnx"))
    if path.suffix not in _WRITERS:
        raise unknown(_("ending of a file"), path.suffix or path.name, _WRITERS)
    if run.training.acting.change_inputs:
        text = _("the run changes its inputs, as by scaling, which the file does not hold: do so before the model")
        warnings.warn(f"{path.name}: {text}.", stacklevel=3)
    return _WRITERS[path.suffix](run, path, int8, folds)


def _write_packed(run: TrainedSession, path: Path, _int8: bool, folds: bool) -> Exported:
    folding = Folding({}, {})
    if folds:
        found, model, batches = run.worker.between_steps(lambda: _find_called(run))
        folding = fold(model, partial(call, batches[0]), found.grids, packed=True)
        state = {name: tensor for name, tensor in model.state_dict().items() if name not in found.same}
        found = found._replace(state=state)
    else:
        found = run.worker.between_steps(lambda: find_computed(run))
    packed = {name: pack(tensor, found.grids.get(name)) for name, tensor in found.state.items()}
    content = join(packed, found.same, found.inputs, folding.folded)
    replace(path, content)
    sizes = {name: each.size for name, each in packed.items()}
    return Exported(path, len(content), size_in_full(found), sizes, folding)


def _write_graph(run: TrainedSession, path: Path, int8: bool, folds: bool) -> Exported:
    found, model, batches = run.worker.between_steps(lambda: _find_called(run, many=int8))
    folding = fold(model, partial(call, batches[0])) if folds else Folding({}, {})
    fewest = min((bits for _low, _high, bits in found.inputs.values()), default=_BITS)
    if not int8:
        lay_rounding(model, found.inputs)
    elif fewest < _BITS:
        told = _("the run rounds the inputs of layers to {fewest} bits, kernels of 8 bits to 8", fewest=fewest)
        warnings.warn(_("{file}: {told}: outputs are near the run's.", file=path.name, told=told), stacklevel=4)
    part = path.with_name(f"{secrets.token_hex(4)}.part{path.suffix}")
    try:
        if int8:
            graphs.write_int8(model, batches, part)
        elif path.suffix == ".pt2":
            graphs.write_program(model, batches[0], part)
        else:
            graphs.write_onnx(model, batches[0], part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    try:
        latency = time_file(path, batches[0])
    except Exception:  # the file is there all the same
        latency = None
    return Exported(path, path.stat().st_size, size_in_full(found), {}, folding, latency)


def _find_called(run: TrainedSession, many: bool = False) -> tuple[Computed, torch.nn.Module, list[graphs.Arguments]]:
    """Return a copy of the model as it computes, on the CPU, and what it is called with for the next batch or ``many``.

    The copy rounds no inputs of layers yet.
    """
    found, model = find_computed(run), deepcopy(run.model)
    model.load_state_dict(found.state | {name: found.state[other] for name, other in found.same.items()})
    called = find_many(run) if many else [find_arguments(run)]
    batches = [tree_map(lambda tensor: tensor.cpu(), arguments) for arguments in called]
    return found, model.cpu().requires_grad_(False).eval(), batches


def measure_kernels(run: TrainedSession, samples: int) -> list[Kernel]:
    """Return the kernels of ONNX Runtime for a run's model, in full and of 8 bits, for so many samples.

    Rounding of activations by the run is left out: kernels of 8 bits do their own, and the others have all bits.
    """
    _found, model, batches = run.worker.between_steps(lambda: _find_called(run, many=True))
    fold(model, partial(call, batches[0]))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        full, small = Path(folder) / "full.onnx", Path(folder) / "small.onnx"
        graphs.write_onnx(model, batches[0], full)
        graphs.quantize_onnx(full, small, batches)
        return [
            Kernel(name, path.stat().st_size, time_file(path, batches[0], samples))
            for name, path in (("ONNX Runtime", full), ("ONNX Runtime int8", small))
        ]


def size_in_full(found: Computed) -> int:
    """Return the size of a safetensors file with the same tensors as they are."""
    from safetensors.torch import save

    return len(save({name: tensor.contiguous() for name, tensor in found.state.items()}))


def replace(path: Path, content: bytes) -> None:
    """Write a file as a whole, or not at all."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


_WRITERS = {".safetensors": _write_packed, ".pt2": _write_graph, ".onnx": _write_graph}
