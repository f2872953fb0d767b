"""What scripts hold as it is written here, or in the modules it is imported from: each only where a script uses it.

So this is plain Python, numpy and torch, in lines of 88 characters, without annotations. `nbopt.export.script.writer`
finds out what is used.
"""

# ruff: noqa: F401 (scripts use what is imported)

import copy
import itertools
from collections import defaultdict, deque
from functools import partial

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Subset

from nbopt.data.dataset_source import Gathered
from nbopt.data.noise import COMPRESSION, EVALUATION, INITIALIZATION, NOISE, ORDER, SPLIT, derive_seed
from nbopt.data.places import item_at
from nbopt.data.samples import count_samples, parts_of_tree
from nbopt.data.sources import sample_count
from nbopt.data.stream_source import hear_epochs
from nbopt.data.tensor_source import permutation
from nbopt.data.tree import tree_map
from nbopt.techniques.compression.activations import call_changed
from nbopt.techniques.drawn_weights import draw_weights
from nbopt.techniques.losses.terms import balance_terms, move_scales
from nbopt.techniques.losses.traits import count_labels, weigh_labels
from nbopt.techniques.optimizers.second_order import forget_oldest
from nbopt.techniques.optimizers.shares import share_out
from nbopt.techniques.optimizers.standard import begin_momentum
from nbopt.techniques.precision.channels_last import lay_channels_last, lay_out
from nbopt.techniques.precision.mixed import cast_to

METRICS = {}
"""Stands for that of a script."""

# -- what a batch of validation counts


def size_of(target, batch):
    """Return how many targets a batch has; samples, where targets are no tensor."""
    if isinstance(target, torch.Tensor) and target.ndim:
        return len(target)
    return sample_count(batch)


@torch.no_grad()
def measure(results):
    """Return the metrics of a list of (output, target)."""
    output = torch.cat([output for output, _ in results])
    target = torch.cat([target for _, target in results])
    return {name: float(metric(output, target)) for name, metric in METRICS.items()}


# -- several outputs


def take_note(terms, losses, share=1.0):
    """Add the losses of a pass to those of the step."""
    for name, loss in losses.items():
        terms[name] = terms.get(name, 0.0) + loss * share


def keep_outputs(output):
    """Return the outputs that have metrics, by their places."""
    places = {place for place, _ in METRICS.values()}
    return {place: item_at(output, place).detach() for place in places}


def count_outputs(output):
    """Return how many numbers those hold."""
    return sum(kept.numel() for kept in keep_outputs(output).values())


def measure_outputs(results):
    """Return the metrics of a list of (outputs that were kept, targets)."""
    found = {}
    with torch.no_grad():
        for name, (place, metric) in METRICS.items():
            output = torch.cat([kept[place] for kept, _ in results])
            target = torch.cat([item_at(target, place) for _, target in results])
            found[name] = float(metric(output, target))
    return found


# -- model, optimizer and techniques


def set_dropout(model, probability):
    """Give every layer with dropout this probability."""
    layers = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
    layers += (nn.AlphaDropout, nn.FeatureAlphaDropout)
    for module in model.modules():
        recurrent = isinstance(module, nn.RNNBase) and module.num_layers > 1
        if isinstance(module, layers):
            module.p = probability
        elif recurrent or isinstance(module, nn.MultiheadAttention):
            module.dropout = probability


def update(technique, changes):
    """Give a technique the new values that concern it."""
    for name, value in changes.items():
        if hasattr(technique, name):
            setattr(technique, name, value)
            if hasattr(technique, "on_change"):
                technique.on_change(name)


def take_over(technique, earlier):
    """Hand over what both remember; return the new technique."""
    for name in set(technique.memory) & set(earlier.memory):
        setattr(technique, name, getattr(earlier, name))
    return technique


class Context:
    """What techniques know of the training."""

    def __init__(self, model, device, seed, history):
        self.model, self.device, self.seed = model, device, seed
        self.step, self.progress = 0, 0.0
        self._history = history

    @property
    def named_weights(self):
        """The weights that require a gradient, by name."""
        named = self.model.named_parameters()
        return {name: weight for name, weight in named if weight.requires_grad}

    def measure(self, name, value):
        """Record a value of a technique's own curve."""
        self._history[name].append(float(value))


def call(model, batch):
    """Return what the model makes of inputs, and the targets."""
    return model(batch[0]), batch[1]


class Reweighted(nn.Module):
    """A model that computes with weights made of its own; ``call`` calls it."""

    def __init__(self, model, call, change_weights):
        super().__init__()
        self.model, self.call, self.change_weights = model, call, change_weights

    def forward(self, batch, changed=False):
        """Return outputs and targets."""
        if changed:
            return self.call(self.model, batch)
        named = self.model.named_parameters()
        weights = {name: weight for name, weight in named if weight.requires_grad}
        weights = self.change_weights(weights).items()
        weights = {f"model.{name}": weight for name, weight in weights}
        return torch.func.functional_call(self, weights, (batch, True))
