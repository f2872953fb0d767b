"""The layers that compression acts on: those with weights of two dimensions or more, norms apart.

Scripts hold these functions as they are written here, so in lines of 88 characters.
"""

from __future__ import annotations

from torch import nn


def find_layers(model: nn.Module) -> dict[str, list[str]]:
    """Return the names of the weights of each layer, in the model's own order."""
    found: dict[str, list[str]] = {}
    seen = set()
    for layer, module in model.named_modules():
        if "Norm" in type(module).__name__:
            continue
        for name, weight in module.named_parameters(recurse=False):
            if weight.ndim > 1 and weight.is_floating_point() and weight not in seen:
                seen.add(weight)
                path = f"{layer}.{name}" if layer else name
                found.setdefault(layer, []).append(path)
    return found


def choose(layers: dict[str, list[str]], which: str) -> list[str]:
    """Return the weights of all layers, or of all but the first and the last."""
    chosen = list(layers)[1:-1] if which == "inner" else list(layers)
    return [weight for layer in chosen for weight in layers[layer]]
