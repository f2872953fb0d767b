"""What the tensors are that optimizers remember; a script holds it as it is written."""

from __future__ import annotations


def power_of(key: str) -> int | None:
    """Return of which power of gradients an optimizer keeps a mean under a name.

    None is of no gradients but of the weights themselves; 0 of neither.
    """
    if key in ("momentum_buffer", "exp_avg", "grad_avg", "exp_inf", "prev"):
        return 1
    if key in ("exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum"):
        return 2
    return None if key == "ax" else 0
