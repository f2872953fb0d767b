"""The layers that compression acts on: those with weights of two dimensions or more, norms apart.

Scripts hold these functions as they are written here, so in lines of 88 characters.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

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


def read_patterns(text: str) -> list[tuple[str, str]]:
    """Return patterns of layers, each with its bits as written; "" for none."""
    items = [item.partition("=") for item in text.split(",") if item.strip()]
    return [(pattern.strip(), bits.strip()) for pattern, _sign, bits in items]


def choose_layers(
    layers: dict[str, list[str]],
    patterns: str,
    bits: int,
    ends: bool,
) -> dict[str, int]:
    """Return the bits of each layer that has any.

    Parameters
    ----------
    layers : dict of str to list of str
        See `find_layers`.
    patterns : str
        See `LayerPatterns`.
    bits : int
        Of layers whose pattern says nothing else.
    ends : bool
        Whether the first and the last layer have them, too.
    """
    found = {}
    inner = list(layers) if ends else list(layers)[1:-1]
    for layer in inner:
        own = 0
        for pattern, told in read_patterns(patterns):
            if fnmatchcase(layer, pattern):
                own = int(told) if told else bits
        if own:
            found[layer] = own
    return found
