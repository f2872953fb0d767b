"""What a metric says of outputs and targets."""

from itertools import pairwise

import torch

from nbopt.techniques.losses.traits import UNKNOWN, read_traits
from nbopt.techniques.metrics.choice import as_metrics
from nbopt.techniques.metrics.measuring import Measuring

GENERATOR = torch.Generator().manual_seed(0)


def measure(names, output, target, loss=None, cut=(), lose=None):
    """Return metrics of batches cut at these samples."""
    metrics = Measuring(as_metrics(names))
    metrics.begin_anew(UNKNOWN if loss is None else read_traits(loss))
    metrics.check(output, target, lose)
    measurement = metrics.start("")
    edges = [0, *sorted(set(cut)), len(target)]
    for a, b in pairwise(edges):
        measurement.add(output[a:b], target[a:b])
    told = []
    return measurement.values(told.append), told
