"""A model that computes for a moment with other weights than its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

    def named_weights(self) -> dict[str, Tensor]:
        """Return the weights that require a gradient by name, as the model does, but without a walk through it."""
        if not all(own.get(name) is weight for places in self._places.values() for own, name, weight in places):
            self._places = {}
        if not self._places:
            self._look()
        return {name: places[0][2] for name, places in self._places.items() if places[0][2].requires_grad}

    def _find(self, weights: Mapping[str, Tensor]) -> list[tuple[_Place, Tensor]] | None:
        """Return where other tensors are to be put; None where places hold something else than they did."""
        found = []
        for name, tensor in weights.items():
            if name not in self._places:
                return None
            for place in self._places[name]:
                own, attribute, weight = place
                if own.get(attribute) is not weight:
                    return None
                if tensor is not weight:
                    found.append((place, tensor))
        return found

    def call(self, weights: Mapping[str, Tensor], function: Callable[..., Any], *given: Any) -> Any:
        """Return ``function(*given)``, the model computing with ``weights``, by name, meanwhile."""
        found = self._find(weights)
        if found is None:
            self._look()
            found = self._find(weights)
            assert found is not None
        try:
            for (own, attribute, _weight), tensor in found:
                own[attribute] = tensor
            return function(*given)
        finally:
            for (own, attribute, weight), _tensor in found:
                own[attribute] = weight
