"""Weights for a model: drawn anew by a rule, or loaded from a file.

Public in ``nbopt.models``. A script holds the functions that draw as they are written here, so these keep to plain
Python and torch and to lines of 80 characters.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from nbopt.errors import unknown
from nbopt.hyperparams import Float
from nbopt.i18n import _

AnyModel = TypeVar("AnyModel", bound=nn.Module)


def draw_uniform(weight: Tensor, generator: torch.Generator) -> None:
    """Fill a weight evenly, within 1 / sqrt(inputs)."""
    reach = weight[0].numel() ** -0.5
    nn.init.uniform_(weight, -reach, reach, generator=generator)


def draw_normal(weight: Tensor, generator: torch.Generator) -> None:
    """Fill a weight normally, with deviation 1 / sqrt(inputs)."""
    nn.init.normal_(weight, 0.0, weight[0].numel() ** -0.5, generator=generator)


def draw_xavier(weight: Tensor, generator: torch.Generator) -> None:
    """Fill a weight by the rule of Glorot and Bengio (2010)."""
    nn.init.xavier_uniform_(weight, generator=generator)


def draw_kaiming(weight: Tensor, generator: torch.Generator) -> None:
    """Fill a weight by the rule of He et al. (2015)."""
    nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)


def draw_orthogonal(weight: Tensor, generator: torch.Generator) -> None:
    """Fill a weight with orthogonal rows or columns."""
    nn.init.orthogonal_(weight, generator=generator)


RULES: dict[str, Callable[[Tensor, torch.Generator], None]] = {
    "uniform": draw_uniform,
    "normal": draw_normal,
    "xavier": draw_xavier,
    "kaiming": draw_kaiming,
    "orthogonal": draw_orthogonal,
}


def draw_weights(model: nn.Module, draw: Any, gain: float, seed: int) -> None:
    """Draw a model's weights anew with ``draw``; biases become 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            if name.rpartition(".")[2].startswith("bias"):
                parameter.zero_()
            elif parameter.ndim > 1:
                # On the CPU: the same on every device.
                drawn = torch.empty(parameter.shape, dtype=parameter.dtype)
                draw(drawn, generator)
                parameter.copy_(gain * drawn)


def initialize(model: AnyModel, rule: str, *, gain: float = 1.0, seed: int = 0) -> AnyModel:
    """Draw a model's weights anew, in place; return it.

    Parameters whose name ends in ``bias`` become 0. Those with fewer than two dimensions, as normalization scales, and
    those that require no gradient stay. torch's own generator is left alone.

    Parameters
    ----------
    model : torch.nn.Module
    rule : str
        ``uniform`` and ``normal`` spread by 1 / sqrt(inputs): within it, or with it as deviation (LeCun et al. 1998,
        section 4.6); ``xavier`` (Glorot and Bengio 2010, eq. 16); ``kaiming`` (He et al. 2015, eq. 10); ``orthogonal``
        (Saxe et al. 2014).
    gain : float
        Factor on what is drawn.
    seed : int

    Raises
    ------
    InvalidHyperparam
        For an unknown rule, or a gain that is no number above 0.

    Examples
    --------
    >>> model = nbopt.models.MLP(inputs=4, outputs=3)
    >>> nbopt.models.initialize(model, "kaiming", seed=1) is model
    True
    """
    if rule not in RULES:
        raise unknown(_("rule"), rule, RULES)
    factor = Float(1.0, low=0.1, high=10.0, gt=0.0)
    factor.name = "gain"
    gain = factor.check(gain)
    draw_weights(model, RULES[rule], gain, seed)
    return model


def load_weights(model: AnyModel, path: str | Path) -> AnyModel:
    """Load a model's weights from a file, in place; return it. Nothing in the file is executed.

    Parameters
    ----------
    model : torch.nn.Module
    path : str or Path
        ``.safetensors``, or what ``torch.save(model.state_dict(), path)`` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds something else, or weights of another model; names what differs.

    Examples
    --------
    >>> path = "weights.safetensors"
    >>> import safetensors.torch
    >>> safetensors.torch.save_file(run.model.state_dict(), path)
    >>> nbopt.models.load_weights(run.model, path) is run.model
    True
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(_("there is no file {path}.", path=path))
    state: Any
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(_("{path} holds no weights: {error}", path=path, error=error)) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(_("{path} holds no state_dict: names and tensors are expected.", path=path))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(_("{path} holds weights of another model: {error}", path=path, error=error)) from error
    return model
