"""How long the files of programs that a run writes take, measured with what runs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nbopt.data.tree import tensors, tree_map
from nbopt.export.compressed.graphs import Arguments, need
from nbopt.run.size.latency import Latency, measure_latency


class Kernel(NamedTuple):
    """A program that computes what a run's model does.

    Attributes
    ----------
    name : str
    bytes : int
        The size of its file.
    latency : Latency
    """

    name: str
    bytes: int
    latency: Latency


def time_file(path: Path, arguments: Arguments, samples: int | None = None) -> Latency:
    """Measure how long a program takes, on the CPU and with as many threads as torch has.

    Parameters
    ----------
    path : Path
        Of a file that ends in ``.pt2`` or ``.onnx``.
    arguments : tuple
        What it is called with.
    samples : int, optional
        How many of their samples; all without it, and where there are fewer.
    """
    leaf = next(tensors(arguments), None)
    count = 1 if leaf is None or not leaf.ndim else len(leaf)
    if samples is not None and samples < count:
        arguments = tree_map(lambda tensor: tensor[:samples] if len(tensor) == count else tensor, arguments)
        count = samples
    do = _program(path, arguments) if path.suffix == ".pt2" else _session(path, arguments)
    with torch.no_grad():
        return measure_latency(do, count)


def _program(path: Path, arguments: Arguments) -> Callable[[], Any]:
    given, named = arguments
    module = torch.export.load(path).module()
    return lambda: module(*given, **named)


def _session(path: Path, arguments: Arguments) -> Callable[[], Any]:
    runtime = need("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(path, options)
    given = [x for x in [*arguments[0], *arguments[1].values()] if isinstance(x, Tensor)]
    fed = {entry.name: x.numpy() for entry, x in zip(session.get_inputs(), given, strict=True)}
    return lambda: session.run(None, fed)
