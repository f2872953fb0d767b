"""Where the outputs of a layer go, found by watching a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from nbopt.data.tree import tensors
from nbopt.i18n import _

# Functions of each number alone, under the names that torch has for them.
_UNITWISE = frozenset(
    "relu relu_ relu6 gelu tanh tanh_ sigmoid sigmoid_ silu elu elu_ selu celu leaky_relu leaky_relu_ hardtanh "
    "hardswish hardsigmoid hardshrink softshrink softplus softsign mish log_sigmoid tanhshrink threshold prelu dropout "
    "alpha_dropout mul add sub div true_divide neg pow square sqrt abs exp sin cos clamp clamp_min clamp_max "
    "contiguous clone detach to float double half bfloat16 type_as".split()
)
# These only lay the numbers out otherwise; the units have to stay in the last dimension.
_LAYOUTS = frozenset("view reshape flatten unflatten squeeze unsqueeze".split())
_READS = frozenset("__get__ size dim stride numel is_floating_point is_complex element_size storage_offset".split())


class Tracking(TorchFunctionMode):
    """Follows the outputs of one linear layer through all of torch's functions, in this thread alone.

    Parameters
    ----------
    layer : torch.nn.Linear
    linear, norms : mapping of str to Module
        The layers that may take its outputs: linear ones, and batch normalizations.

    Attributes
    ----------
    into, through : dict of str to None
        The linear layers that take its outputs in the end, and the batch normalizations on the way.
    calls : int
        How often the layer was called.
    obstacle : str
        Why the layer cannot have more outputs, in words; "" if it can.
    """

    def __init__(self, layer: nn.Linear, linear: Mapping[str, nn.Module], norms: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.into: dict[str, None] = {}
        self.through: dict[str, None] = {}
        self.calls = 0
        self.obstacle = ""
        self._weight = layer.weight  # a technique may put others in its place in the pass
        self._own = {id(weight) for weight in layer.parameters()}
        self._linear = {id(module.weight): name for name, module in linear.items()}
        self._norms = {id(held): name for name, module in norms.items() for held in _held(module)}
        self._followed: dict[int, Tensor] = {}  # which also keeps them alive, so that no id is given twice

    def follows(self, value: Any) -> bool:
        """Whether one of the tensors in ``value`` holds outputs of the layer, one for each unit."""
        return any(id(tensor) in self._followed for tensor in tensors(value))

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Do what is asked for, and look what becomes of the outputs."""
        named = kwargs or {}
        result = func(*args, **named)
        given = [*_flat((args, named))]
        if func is functional.linear:
            source = args[0] if args else named["input"]
            weight = args[1] if len(args) > 1 else named["weight"]
            if weight is self._weight:
                self.calls += 1
                self._follow(result)
                given = [source]
            elif id(source) in self._followed and id(weight) in self._linear:
                self.into[self._linear[id(weight)]] = None
                return result
        self._look(func, given, result)
        return result

    def _look(self, func: Callable[..., Any], given: list[Tensor], result: Any) -> None:
        name = getattr(func, "__name__", "")
        if self.obstacle or (name in _READS and not isinstance(result, Tensor)):
            return
        if name == "__get__":  # of an attribute that is another tensor, as x.T
            name = getattr(func.__self__, "__name__", name)  # type: ignore[attr-defined]
        if any(id(value) in self._own for value in given):
            self.obstacle = _("its weights are used by {function} too", function=name)
        followed = [value for value in given if id(value) in self._followed]
        if not followed:
            return
        others = [value for value in given if value.numel() > 1 and id(value) not in self._followed]
        norm = next((self._norms[id(value)] for value in others if id(value) in self._norms), None)
        if func is functional.batch_norm and norm is not None and followed[0].ndim == 2:
            self.through[norm] = None
        elif name in _LAYOUTS and isinstance(result, Tensor) and result.shape[-1:] == followed[0].shape[-1:]:
            pass
        elif name not in _UNITWISE or others or len(followed) > 1:
            self.obstacle = _("its outputs go through {function}, which may join units", function=name)
            return
        self._follow(result)

    def _follow(self, result: Any) -> None:
        for tensor in tensors(result):
            self._followed[id(tensor)] = tensor


def _held(module: nn.Module) -> Iterable[Tensor]:
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]


def _flat(value: Any) -> Iterable[Tensor]:
    """Yield the tensors among a function's arguments."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _flat(item)
    elif isinstance(value, dict):
        yield from _flat(list(value.values()))
