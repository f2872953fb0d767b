"""What torch's layers keep of the sizes of their weights, in attributes that their code or their `repr` reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from nbopt.torch_private import BatchNorm, NormBase

Read = Callable[[Any], int]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def _is_depthwise(layer: Any) -> bool:
    return bool(layer.weight.shape[1] == 1 and layer.groups > 1)


_LINEAR: Mapping[str, Read] = {"out_features": lambda m: m.weight.shape[0], "in_features": lambda m: m.weight.shape[1]}
_CONVOLUTION: Mapping[str, Read] = {
    "out_channels": lambda m: m.weight.shape[0],
    "in_channels": lambda m: m.weight.shape[0] if _is_depthwise(m) else m.weight.shape[1] * m.groups,
    "groups": lambda m: m.weight.shape[0] if _is_depthwise(m) else m.groups,
}
_TABLE: list[tuple[Any, Mapping[str, Read]]] = [
    (nn.Linear, _LINEAR),
    (_CONVOLUTIONS, _CONVOLUTION),
    (_TRANSPOSED, {"in_channels": lambda m: m.weight.shape[0], "out_channels": lambda m: m.weight.shape[1] * m.groups}),
    (nn.Embedding, {"num_embeddings": lambda m: m.weight.shape[0], "embedding_dim": lambda m: m.weight.shape[1]}),
    ((BatchNorm, NormBase), {"num_features": lambda m: _length(m)}),
    (nn.PReLU, {"num_parameters": lambda m: m.weight.shape[0]}),
    (
        (nn.RNN, nn.GRU, nn.LSTM),
        {"input_size": lambda m: m.weight_ih_l0.shape[1], "hidden_size": lambda m: m.weight_hh_l0.shape[1]},
    ),
    (
        (nn.RNNCell, nn.GRUCell, nn.LSTMCell),
        {"input_size": lambda m: m.weight_ih.shape[1], "hidden_size": lambda m: m.weight_hh.shape[1]},
    ),
]


def _length(norm: Any) -> int:
    held = (norm.running_mean, norm.weight)
    return next((len(tensor) for tensor in held if isinstance(tensor, Tensor)), norm.num_features)


def find_sizes(module: nn.Module) -> Iterator[tuple[str, int]]:
    """Yield the attributes of a layer that tell sizes, as its weights have them now; none where these are computed."""
    if is_parametrized(module):  # to read a weight of spectral_norm is a step of its power iteration
        return
    for kinds, reads in _TABLE:
        if isinstance(module, kinds):
            yield from ((name, read(module)) for name, read in reads.items())
            return
