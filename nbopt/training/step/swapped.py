"""A model that computes for a moment with other weights than its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

_Place = tuple[dict[str, Any], str, nn.Parameter]
Change = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]


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

    def _are_there(self) -> bool:
        """Whether each place holds the weight that it held."""
        for places in self._places.values():
            for own, attribute, weight in places:
                if own.get(attribute) is not weight:
                    return False
        return bool(self._places)

    def call(self, change: Change, function: Callable[..., Any], *given: Any) -> Any:
        """Return ``function(*given)``, the model computing meanwhile with what ``change`` makes of its weights.

        ``change`` gets the weights that require a gradient by name, as the model tells them, but without a walk
        through it, and returns what is to be in their places.
        """
        if not self._are_there():
            self._look()
        places = self._places
        weights: dict[str, Tensor] = {}
        for name, held in places.items():
            weight = held[0][2]
            if weight.requires_grad:
                weights[name] = weight
        put: list[_Place] = []
        try:
            for name, tensor in change(weights).items():
                for place in places[name]:
                    own, attribute, weight = place
                    if tensor is not weight:
                        put.append(place)
                        own[attribute] = tensor
            return function(*given)
        finally:
            for own, attribute, weight in put:
                own[attribute] = weight
