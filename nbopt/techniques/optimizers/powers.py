"""What the tensors are that optimizers remember, and weights and these in other sizes.

Scripts hold these functions as they are written: therefore lines of 88 characters.
"""

from __future__ import annotations

import torch
from torch import Tensor


def power_of(key: str) -> int | None:
    """Return of which power of gradients an optimizer keeps a mean under a name.

    None is of no gradients but of the weights themselves; 0 of neither.
    """
    if key in ("momentum_buffer", "exp_avg", "grad_avg", "exp_inf", "prev"):
        return 1
    if key in ("exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum"):
        return 2
    return None if key == "ax" else 0


def resized(
    tensor: Tensor,
    dim: int,
    units: Tensor | list[int],
    factors: Tensor | list[float] | None,
    into: Tensor | list[int] | None,
    power: int = 1,
) -> Tensor:
    """Return a tensor with these units along a dimension, each times its factor.

    Those that have one place in ``into`` are added up: numbers of a power, as if what
    they are a power of had been.
    """
    units = torch.as_tensor(units, device=tensor.device)
    made = tensor.detach().index_select(dim, units)
    if factors is not None:
        shape = [1] * made.ndim
        shape[dim] = -1
        factors = torch.as_tensor(factors, dtype=torch.float64) ** power
        made = made * factors.to(made.device, made.dtype).reshape(shape)
    if into is None:
        return made
    into = torch.as_tensor(into)
    shape = list(made.shape)
    shape[dim] = int(into.max()) + 1
    made = made if power < 2 else made ** (1 / power)
    total = torch.zeros(shape, dtype=made.dtype)  # on the CPU: sums have one order
    total = total.index_add_(dim, into, made.cpu()).to(tensor.device)
    return total if power < 2 else total**power
