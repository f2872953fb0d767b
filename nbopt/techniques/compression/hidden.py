"""What layers of two models give on the way, and how it is compared: attention maps and features."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


# Scripts hold these functions as they are written here, so in lines of 88 characters.
def listen(
    model: nn.Module,
    names: Iterable[str] | None,
    heard: dict[str, Tensor],
) -> list[Any]:
    """Have layers note what they give in ``heard``.

    Without ``names`` these are all, and the model itself; but what only flattens.
    """

    def note(name: str) -> Callable[..., None]:
        def hook(_layer: nn.Module, _inputs: Any, output: Any) -> None:
            output = output[0] if isinstance(output, tuple) else output
            if isinstance(output, Tensor):
                heard[name] = output

        return hook

    found = dict(model.named_modules())
    wanted = names
    if wanted is None:
        flat = nn.Flatten, nn.Identity
        wanted = [name for name, layer in found.items() if not isinstance(layer, flat)]
    known = [name for name in wanted if name in found]
    return [found[name].register_forward_hook(note(name)) for name in known]


def pair_layers(
    ours: dict[str, Tensor],
    theirs: dict[str, Tensor],
) -> list[tuple[str, str]]:
    """Return which layers of a student and a teacher are compared.

    Of images, those that give a size last, for each size that both have; where there
    is none, the last ones before the outputs, which are those of the module "".
    """
    ours, theirs = without_output(ours), without_output(theirs)
    sizes = {given.shape[2:]: name for name, given in ours.items() if given.ndim == 4}
    found = {given.shape[2:]: name for name, given in theirs.items() if given.ndim == 4}
    pairs = [(name, found[size]) for size, name in sizes.items() if size in found]
    flat = [name for name, given in ours.items() if given.ndim == 2]
    others = [name for name, given in theirs.items() if given.ndim == 2]
    return pairs or list(zip(flat[-1:], others[-1:], strict=False))


def without_output(heard: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what was heard on the way to the outputs."""
    output = heard.get("")
    return {name: given for name, given in heard.items() if given is not output}


def attention_loss(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return how far attention maps (n, channels, height, width) are from each other.

    That is the mean distance of the maps of a sample, each of length 1 (Zagoruyko and
    Komodakis 2017, eq. 2).
    """
    ours = functional.normalize(ours.pow(2).sum(1).flatten(1), dim=1)
    theirs = functional.normalize(theirs.pow(2).sum(1).flatten(1), dim=1)
    distances: Tensor = torch.linalg.vector_norm(ours - theirs, dim=1)
    return distances.mean()


def feature_loss(ours: Tensor, theirs: Tensor, projection: Tensor) -> Tensor:
    """Return half the mean square of what projected features lack (Romero et al. 2015).

    Parameters
    ----------
    ours, theirs : Tensor
        (n, c) or (n, c, height, width): of images of two sizes, the larger is averaged.
    projection : Tensor
        (channels of theirs, channels of ours).
    """
    if ours.ndim == 4:
        height = min(ours.shape[2], theirs.shape[2])
        width = min(ours.shape[3], theirs.shape[3])
        ours = functional.adaptive_avg_pool2d(ours, (height, width)).movedim(1, -1)
        theirs = functional.adaptive_avg_pool2d(theirs, (height, width)).movedim(1, -1)
    return (functional.linear(ours, projection) - theirs).pow(2).mean() / 2


def draw_projections(pairs: list[tuple[Tensor, Tensor]], seed: int) -> list[Tensor]:
    """Draw a projection for each pair of features (n, channels, ...)."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for ours, theirs in pairs:
        count = ours.shape[1]
        drawn = torch.randn(theirs.shape[1], count, generator=generator)
        found.append((drawn / count**0.5).to(ours.device))
    return found
