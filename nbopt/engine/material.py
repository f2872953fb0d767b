"""The modules that a run trains, and what the user may change of them in a pause: which weights train, and modes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from nbopt.words import _

_NAMED = 4  # weights or modules that words name


class Material:
    """The model, and modules with weights or buffers that the loss is made of.

    Parameters
    ----------
    model : torch.nn.Module
    others : mapping of str to torch.nn.Module
        By a name that nothing of the model's begins with.

    Attributes
    ----------
    parameters : dict of str to Parameter
        All weights, each once: one that is shared goes by the first of its names.
    names : dict of int to str
        Their names by the id of each.
    resting : tuple of str
        The weights that are known to require no gradient.
    """

    def __init__(self, model: nn.Module, others: Mapping[str, nn.Module]) -> None:
        self.model = model
        self.others = dict(others)
        self.parameters: dict[str, nn.Parameter] = {}
        self.names: dict[int, str] = {}
        for prefix, module in {"model": model, **others}.items():
            for name, parameter in module.named_parameters():
                if id(parameter) not in self.names:
                    self.names[id(parameter)] = f"{prefix}.{name}"
                    self.parameters[f"{prefix}.{name}"] = parameter
        self.resting = self._find_resting()

    # -- what trains

    def find_change(self) -> dict[str, Any] | None:
        """Return what the user changed since this last looked, as the journal holds it; None if nothing."""
        resting = self._find_resting()
        if resting == self.resting:
            return None
        words = []
        if woken := [name for name in self.resting if name not in resting]:
            words.append(_("trains from here on: {names}", names=_list(woken)))
        if put_down := [name for name in resting if name not in self.resting]:
            words.append(_("rests from here on: {names}", names=_list(put_down)))
        return {"resting": list(resting), "reason": "; ".join(words)}

    def place(self) -> dict[str, Any]:
        """Return what the user may change, as it is now."""
        return {"resting": list(self._find_resting())}

    def apply(self, change: Mapping[str, Any]) -> None:
        """Make a change that `find_change` found, or a snapshot holds, and know of it."""
        self.put(change)
        self.resting = self._find_resting()

    def put(self, change: Mapping[str, Any]) -> None:
        """Do to the modules what the user would do by hand."""
        resting = set(change["resting"])
        for name, parameter in self.parameters.items():
            if parameter.requires_grad is (name in resting):
                parameter.requires_grad_(name not in resting)
                parameter.grad = None

    def _find_resting(self) -> tuple[str, ...]:
        return tuple(name for name, parameter in self.parameters.items() if not parameter.requires_grad)

    # -- what the loss keeps

    def tensors(self) -> dict[str, Tensor]:
        """Return weights and buffers of the loss that are not the model's too, by name."""
        seen = {id(tensor) for tensor in self.model.state_dict(keep_vars=True).values()}
        return {
            f"{prefix}.{name}": tensor
            for prefix, module in self.others.items()
            for name, tensor in module.state_dict(keep_vars=True).items()
            if isinstance(tensor, Tensor) and id(tensor) not in seen
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` returned."""
        for prefix, module in self.others.items():
            own = {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}
            module.load_state_dict(own, strict=False)


def _list(names: Iterable[str]) -> str:
    shown = [name.removeprefix("model.") for name in names]
    more = len(shown) - _NAMED
    rest = [_("and {count} more", count=more)] if more > 0 else []
    return ", ".join([*shown[:_NAMED], *rest])
