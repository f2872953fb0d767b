"""A model that computes for a moment with other weights than its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

_Place = tuple[dict[str, Any], str, nn.Parameter]


class Swapped:
    """Puts tensors in the places of a model's parameters, as `torch.func.functional_call` does.

    That one looks for the places in every call, which takes as long as two layers of a small network. Here they are
    kept, and looked for again once any holds something else. A parameter that several modules share has several places.

    Parameters
    ----------
    model : torch.nn.Module
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._places: dict[str, list[_Place]] = {}

    def _look(self) -> None:
        by_weight: dict[int, list[_Place]] = {}
        for module in self._model.modules():
            own = module._parameters
            for attribute, weight in own.items():
                if weight is not None:
                    by_weight.setdefault(id(weight), []).append((own, attribute, weight))
        self._places = {name: by_weight[id(weight)] for name, weight in self._model.named_parameters()}

    def _find(self, names: Mapping[str, Tensor]) -> list[tuple[str, _Place]]:
        return [(name, place) for name in names for place in self._places[name]]

    @contextmanager
    def by(self, weights: Mapping[str, Tensor]) -> Iterator[None]:
        """Have the model compute with ``weights``, by name, in a ``with`` block."""
        try:
            found = self._find(weights)
        except KeyError:
            found = []
        if not found or not all(own.get(attribute) is weight for _name, (own, attribute, weight) in found):
            self._look()
            found = self._find(weights)
        try:
            for name, (own, attribute, _weight) in found:
                own[attribute] = weights[name]
            yield
        finally:
            for _name, (own, attribute, weight) in found:
                own[attribute] = weight
