"""The layers of a model: what each holds and computes, and how long all of them take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nbopt.data.samples import count_samples, cut, find_samples
from nbopt.run.size.latency import Latency, measure_latency
from nbopt.training.structure.macs import count_macs


class Layer(NamedTuple):
    """A module with weights of its own.

    Attributes
    ----------
    name, kind : str
        Its name in the model, and that of its class.
    weights : tuple of str
        The names of what it holds.
    parameters, nonzero : int
        How many numbers that is, and how many of those that the model computes with are not 0.
    macs : int
        Multiply-accumulate operations for one sample.
    """

    name: str
    kind: str
    weights: tuple[str, ...]
    parameters: int
    nonzero: int
    macs: int


def list_layers(training: Any, macs: Counter[str] | None = None) -> list[Layer]:
    """Return the layers of a model, in its own order; weights that several share count for the first.

    Parameters
    ----------
    training : Training
        Between two steps; left as it is.
    macs : Counter, optional
        What `macs_of` returned: it costs a forward pass.
    """
    model = training.model
    computed = {**dict(model.named_parameters()), **training.acting.weights()}
    macs = macs_of(training) if macs is None else macs
    seen: set[Tensor] = set()
    found = []
    for name, module in model.named_modules():
        own = {_join(name, part): weight for part, weight in module.named_parameters(recurse=False)}
        own = {path: weight for path, weight in own.items() if weight not in seen}
        seen.update(own.values())
        if count := sum(weight.numel() for weight in own.values()):
            nonzero = sum(int(torch.count_nonzero(computed[path])) for path in own)
            found.append(Layer(name, type(module).__name__, tuple(own), count, nonzero, macs[name]))
    return found


def macs_of(training: Any) -> Counter[str]:
    """Return the multiply-accumulate operations for one sample, by the name of the layer that they belong to.

    Those of a module without weights belong to the next one above it that has some, or to "".
    """
    layers = {name for name, module in training.model.named_modules() if any(True for _ in module.parameters(False))}
    batch, samples = _batch(training)
    found: Counter[str] = Counter()
    with evaluating(training):
        counted = count_macs(training.model, lambda: training.pass_.predict(batch))
    for name, count in counted.items():
        while name and name not in layers:
            name = name.rpartition(".")[0]
        found[name] += round(count / samples)
    return found


def time_pass(training: Any, samples: int) -> Latency:
    """Measure how long the model takes for so many samples of the next batch, or for all where there are fewer."""
    batch, count = _batch(training)
    leaf = find_samples(batch)
    if leaf is not None and samples < count:
        batch, count = cut(batch, count, 0, samples), samples
    with evaluating(training):
        return measure_latency(lambda: training.pass_.predict(batch), count)


def _batch(training: Any) -> tuple[Any, int]:
    """Return the next batch of training, and how many samples it has."""
    batch = training.cursor.peek()
    leaf = find_samples(batch)
    return batch, 1 if leaf is None else max(1, count_samples(batch, leaf))


@contextmanager
def evaluating(training: Any) -> Iterator[None]:
    """Do passes as a validation does them: without gradients, and with noise of their own."""
    noise = training.noise
    graph = torch.set_grad_enabled(training.pass_.needs_graph)
    with training.material.evaluating(), graph, noise.lock, noise.seeded(training.evaluation_seed):
        yield


def _join(module: str, part: str) -> str:
    return f"{module}.{part}" if module else part
