"""Augmentation: each training batch changed at random, on the device; what is drawn follows from (seed, step)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nbopt.hyperparams import Float
from nbopt.i18n import N_, _
from nbopt.techniques.base import Technique

_GROUP = N_("Augmentation")


class InputNoise(Technique):
    """Adds normal noise to the inputs (Bishop 1995: a Tikhonov regularization)."""

    input_noise = Float(
        0.0,
        low=1e-3,
        high=1.0,
        log=True,
        zero=True,
        ge=0.0,
        label=N_("Input noise"),
        group=N_("Regularization"),
        help=N_("Standard deviation of Gaussian noise added to the model's inputs, in their units."),
    )

    @property
    def acts(self) -> bool:
        """With any strength."""
        return self.input_noise > 0

    @classmethod
    def unfit(cls, x: Tensor | None) -> str:
        """Whole numbers are no place for noise."""
        return needs_floats(x)

    def change_batch(self, x: Tensor, y: Any) -> tuple[Tensor, Any]:
        """Return noisy inputs."""
        return torch.add(x, torch.randn_like(x), alpha=self.input_noise), y


class Mixup(Technique):
    """Mixes pairs of samples, and their losses in the same proportion (Zhang et al. 2018, eq. 1 and their code)."""

    mixup = Float(
        0.0,
        low=0.05,
        high=2.0,
        log=True,
        zero=True,
        ge=0.0,
        label=N_("Mixup"),
        group=_GROUP,
        help=N_("α of the Beta distribution that mixing proportions are drawn from; 0: off, 1: uniform."),  # noqa: RUF001
    )

    @property
    def acts(self) -> bool:
        """With any strength."""
        return self.mixup > 0

    @classmethod
    def unfit(cls, x: Tensor | None) -> str:
        """Whole numbers cannot be mixed."""
        return needs_floats(x)

    def change_batch(self, x: Tensor, y: Any) -> tuple[Tensor, Any]:
        """Return each input mixed with another one's."""
        alpha = torch.tensor([max(self.mixup, 0.01)] * 2)
        self.share = float(torch.distributions.Dirichlet(alpha).sample()[0])
        self.order = torch.randperm(len(x)).to(x.device)
        return torch.lerp(x[self.order], x, self.share), y

    def change_loss(self, lose: Any, output: Any, target: Any) -> Tensor:
        """Return the loss for both samples' targets, mixed."""
        own = lose(output, target)
        other = lose(output, reordered(target, self.order))
        return torch.lerp(other, own, self.share)


def reordered(target: Any, order: Tensor) -> Any:
    """Return targets in another order, each of several."""
    if isinstance(target, dict):
        return {name: reordered(own, order) for name, own in target.items()}
    if isinstance(target, (tuple, list)):
        return [reordered(own, order) for own in target]
    return target[order]


class Flip(Technique):
    """Mirrors images left to right (Krizhevsky et al. 2012, section 4.1)."""

    flip = Float(
        0.0,
        low=0.0,
        high=1.0,
        ge=0.0,
        label=N_("Flip"),
        group=_GROUP,
        help=N_("Probability that an image is mirrored."),
    )

    @property
    def acts(self) -> bool:
        """With any probability."""
        return self.flip > 0

    @classmethod
    def unfit(cls, x: Tensor | None) -> str:
        """Only images have a left and a right."""
        return needs_images(x)

    def change_batch(self, x: Tensor, y: Any) -> tuple[Tensor, Any]:
        """Return images, some of them mirrored."""
        chosen = torch.rand(len(x), 1, 1, 1, device=x.device) < self.flip
        return torch.where(chosen, x.flip(3), x), y


class Warp(Technique):
    """Rotates, scales and crops images (Simard et al. 2003, section 2), each by an amount of its own.

    What comes in from outside the image is zero, the mean of standardized inputs.
    """

    rotate = Float(
        0.0,
        low=0.0,
        high=45.0,
        ge=0.0,
        label=N_("Rotate"),
        group=_GROUP,
        unit=N_("degrees"),
        help=N_("Largest rotation of an image, in degrees, to either side."),
    )
    zoom = Float(
        0.0,
        low=0.0,
        high=0.5,
        ge=0.0,
        lt=1.0,
        label=N_("Scale"),
        group=_GROUP,
        help=N_("Largest change of an image's size, up or down, as a fraction."),
    )
    crop = Float(
        0.0,
        low=0.0,
        high=0.5,
        ge=0.0,
        lt=1.0,
        label=N_("Crop"),
        group=_GROUP,
        help=N_("Largest shift of an image, as a fraction of its size, as in a random crop with padding."),
    )

    @property
    def acts(self) -> bool:
        """With any of the three."""
        return max(self.rotate, self.zoom, self.crop) > 0

    @classmethod
    def unfit(cls, x: Tensor | None) -> str:
        """Only images can be turned, and between pixels there are no whole numbers."""
        return needs_images(x) or needs_floats(x)

    def change_batch(self, x: Tensor, y: Any) -> tuple[Tensor, Any]:
        """Return warped images."""
        draw = 2 * torch.rand(4, len(x), device=x.device) - 1
        angle = math.radians(self.rotate) * draw[0]
        size = 1 + self.zoom * draw[1]
        return transformed(x, angle, size, 2 * self.crop * draw[2:]), y


def transformed(x: Tensor, angle: Tensor, size: Tensor, shift: Tensor) -> Tensor:
    """Turn, scale and move images, with bilinear interpolation.

    Parameters
    ----------
    x : Tensor
        (n, channels, height, width).
    angle : Tensor
        (n,), radians, anticlockwise.
    size : Tensor
        (n,), factors.
    shift : Tensor
        (2, n), right and down, in halves of the image's size.
    """
    # Where each pixel comes from, in units in which an image is not square.
    aspect = x.shape[2] / x.shape[3]
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    right = torch.stack([cos, -sin * aspect, -shift[0]], 1)
    down = torch.stack([sin / aspect, cos, -shift[1]], 1)
    theta = torch.stack([right, down], 1).to(x.dtype)
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False)


def needs_floats(x: Tensor | None) -> str:
    """Return why inputs that are whole numbers will not do; "" if all is well."""
    if x is None or x.is_floating_point():
        return ""
    return _("the inputs are whole numbers")


def needs_images(x: Tensor | None) -> str:
    """Return why inputs that are no images will not do; "" if all is well."""
    if x is None or x.ndim == 4:
        return ""
    return _("the inputs are not images (samples, channels, height, width)")
