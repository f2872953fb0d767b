"""Layers that edits put in the place of others; plain modules, and each has the ``weight`` that it stands for.

Scripts hold them as they are written, in lines of 88 characters.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class LowRank(nn.Sequential):
    """A linear layer or convolution as two, with few units between.

    Its weight is their product.

    Parameters
    ----------
    first, second : Module
        ``second`` is linear, or a convolution of single places.
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__(first, second)

    @property
    def weight(self) -> Tensor:
        """The product, shaped as the weight of the layer was."""
        layers: Any = self
        first, second = layers[0].weight, layers[1].weight
        made: Tensor = second.flatten(1) @ first.flatten(1)
        return made.reshape(len(second), *first.shape[1:])

    @property
    def bias(self) -> Any:
        """That of the layer."""
        return self[1].bias


class Residual(nn.Module):
    """A layer, and what two more make of its outputs, added to them.

    At first that is 0 (Wei et al. 2016).

    Parameters
    ----------
    layer, first, last : Module
    """

    def __init__(self, layer: nn.Module, first: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.layer, self.first, self.last = layer, first, last

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """Return the layer's outputs and what is added to them."""
        made: Tensor = self.layer(*inputs, **named)
        added: Tensor = self.last(torch.relu(self.first(made)))
        return made + added


class Clustered(nn.Module):
    """A linear layer or convolution whose weight has few values.

    Many places share each of them (Han et al. 2016).

    Parameters
    ----------
    layer : Linear, Conv1d, Conv2d or Conv3d
        Without its weight, it keeps bias and settings.
    values : Tensor
        (clusters,)
    places : Tensor
        Shaped as the weight, int64: which of the values stands where.
    """

    def __init__(self, layer: nn.Module, values: Tensor, places: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)
        self.bias: Any = layer.bias
        self.register_buffer("places", places)
        self.stride: Any = getattr(layer, "stride", None)
        self.padding: Any = getattr(layer, "padding", None)
        self.dilation: Any = getattr(layer, "dilation", None)
        self.groups: Any = getattr(layer, "groups", None)

    @property
    def weight(self) -> Tensor:
        """The values at their places."""
        places: Any = self.places
        return self.values[places]

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layer would."""
        weight, bias = self.weight, self.bias
        if self.stride is None:
            return functional.linear(x, weight, bias)
        kinds = functional.conv1d, functional.conv2d, functional.conv3d
        settings = self.stride, self.padding, self.dilation, self.groups
        return kinds[weight.ndim - 3](x, weight, bias, *settings)


class Beside(nn.Module):
    """One head for the features of two models.

    It stands in one of them, and asks the other one.

    Parameters
    ----------
    head : Linear
        Takes the features of both, one behind the other.
    other : Module
        Without its head; it is given what the model around is given.
    """

    def __init__(self, head: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.head, self.other = head, other
        self.asked: Any = None

    def listen(self, _model: nn.Module, inputs: Any, named: Any) -> None:
        """Take note of what the model around is given."""
        self.asked = inputs, named

    def forward(self, features: Tensor) -> Tensor:
        """Return the head's outputs."""
        (inputs, named), self.asked = self.asked, None
        theirs = self.other(*inputs, **named)
        made: Tensor = self.head(torch.cat([features, theirs], -1))
        return made
