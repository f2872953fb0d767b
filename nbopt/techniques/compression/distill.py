"""Distillation: a model learns from another one, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from nbopt.data.noise import COMPRESSION, derive_seed
from nbopt.hyperparams import Float
from nbopt.i18n import N_, _
from nbopt.techniques.base import Technique
from nbopt.techniques.compression.hidden import (
    attention_loss,
    draw_projections,
    feature_loss,
    listen,
    pair_layers,
)
from nbopt.techniques.compression.table import Table
from nbopt.techniques.compression.teachers import find_teachers, refuse_teacher

_GROUP = N_("Distillation")


class Distill(Technique):
    """Learn from a teacher what it says of each sample (Hinton et al. 2015).

    The loss of a step is ``(1 - distill_weight)`` times its own, plus ``distill_weight`` times ``temperature ** 2``
    times the divergence of the outputs' softmax from the teacher's, both at that temperature; plus half of
    ``attention_weight`` times the distance of attention maps (Zagoruyko and Komodakis 2017); plus ``feature_weight``
    times what features, projected to the teacher's by matrices that learn beside the model, lack (Romero et al. 2015).
    The teacher computes in evaluation mode and in full precision, and does not change.

    The higher the temperature, the more counts what the teacher says of unlikely classes. A small model that trains
    briefly has enough to do with the likely ones: 1 to 2 suits it, and 4 can be worse than no teacher. A teacher that
    has seen more than the model will, or several, help the most; with the teacher's own samples, expect little unless
    it reads them much better than the model does alone.

    Parameters
    ----------
    teacher : torch.nn.Module, Run, member, list of them or Population
        What it says of samples is the mean of the softmax of several. A run stands for its model as it is now, a copy,
        with the weights that it computes with; ``run.frozen_model("best")`` is that of its best validation.
    layers : mapping of str to str, optional
        Whose outputs are compared: names of the model's modules, each with one of the teacher's. By default, those that
        give a size of images last, for each size that both have; without images, the last ones before the outputs.
    cache : bool
        Whether what the teacher says is kept, where data are in memory on the CPU: then it is asked once of all
        samples. Samples that augmentation or preprocessing changed by a bit are not among them, and it is asked anew.

    Examples
    --------
    >>> import nbopt, torch
    >>> x, y = torch.randn(32, 4), torch.arange(32) % 3
    >>> teacher = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3))
    >>> student = torch.nn.Linear(4, 3)
    >>> run = nbopt.Run(student, (x, y), techniques=[nbopt.Distill(teacher)], temperature=2.0, epochs=1, store=None)
    >>> run.fit().state.name
    'FINISHED'
    """

    distill_weight = Float(
        0.5,
        low=0.0,
        high=1.0,
        ge=0.0,
        label=N_("Distillation"),
        group=_GROUP,
        help=N_("Share of the loss that is the difference from the teacher's soft labels."),
        synonyms="distillation_weight kd_weight kd_alpha",
    )
    temperature = Float(
        2.0,  # with 4, students of a tenth of the weights learn less than alone, where they train for a few epochs
        low=1.0,
        high=20.0,
        log=True,
        gt=0.0,
        label=N_("Temperature"),
        group=_GROUP,
        help=N_("What the scores are divided by before the softmax: the higher, the softer the labels."),
        synonyms="distill_temperature kd_temperature",
    )
    attention_weight = Float(
        0.0,
        low=0.1,
        high=1000.0,
        log=True,
        zero=True,
        ge=0.0,
        label=N_("Attention maps"),
        group=_GROUP,
        help=N_("Weight of the distance between attention maps of the model's layers and the teacher's."),
    )
    feature_weight = Float(
        0.0,
        low=0.01,
        high=100.0,
        log=True,
        zero=True,
        ge=0.0,
        label=N_("Features"),
        group=_GROUP,
        help=N_("Weight of the difference between the model's features, projected, and the teacher's."),
        synonyms="hint_weight",
    )

    memory: ClassVar[tuple[str, ...]] = ("projections", "means", "squares", "updates")
    projections: Sequence[Tensor] = ()
    means: Sequence[Tensor] = ()
    squares: Sequence[Tensor] = ()
    updates = 0

    def __init__(self, teacher: Any, layers: Any = None, cache: bool = True) -> None:
        several = isinstance(teacher, (list, tuple, nn.ModuleList))
        self.teachers = list(teacher) if several else [teacher]
        self.layers = layers
        self.cache = cache
        self.samples: Tensor | None = None
        self.table: Table | None = None
        self.heard: dict[str, Tensor] = {}
        self.slopes: list[Tensor | None] = []

    @classmethod
    def take(cls, arguments: tuple[Any, ...], settings: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Keep modules of runs and populations."""
        return find_teachers(arguments, settings)

    @classmethod
    def conflict(cls, values: Mapping[str, Any], chosen: Mapping[str, Any]) -> str:
        """Refuse soft labels of what are no classes."""
        weight = values["distill_weight"]
        if weight > 1:
            return _(
                "distill_weight={weight} leaves less than nothing to the model's own loss: it must be from 0 to 1",
                weight=weight,
            )
        if weight and chosen["loss"].task in ("regression", "binary"):
            told = _("distill_weight={weight}: soft labels need classes, and this loss has none", weight=weight)
            return _("{told}. Set it to 0, and learn by attention_weight or feature_weight", told=told)
        return ""

    def check_outputs(self, output: Any, batch: Any) -> None:
        """Look whether teacher and model go together."""
        if reason := refuse_teacher(self, output, batch):
            raise ValueError(reason)

    # -- while it acts

    @property
    def acts(self) -> bool:
        """With any weight."""
        return self.distill_weight > 0 or self.looks_inside

    @property
    def looks_inside(self) -> bool:
        """Whether layers are compared."""
        return self.attention_weight > 0 or self.feature_weight > 0

    def fit(self, x: Tensor) -> None:
        """Know the samples."""
        self.samples = x

    def change_pass(self, do: Any, batch: Any) -> tuple[Any, Any, Tensor]:
        """Add what the teacher says to the loss."""
        if not self.looks_inside:
            output, target, loss = do(batch)
            return output, target, self.soften(output, self.ask(batch[0]), loss)
        self.heard = {}
        wanted = None if self.layers is None else list(self.layers)
        hooks = listen(self.context.model, wanted, self.heard)
        try:
            output, target, loss = do(batch)
        finally:
            for hook in hooks:
                hook.remove()
        said, theirs = self.overhear(batch[0])
        if self.distill_weight > 0:
            loss = self.soften(output, said, loss)
        pairs = self.pair(theirs)
        loss = loss + self.compare([(self.heard[a], theirs[b]) for a, b in pairs])
        self.heard = {}
        return output, target, loss

    def soften(self, output: Tensor, said: Tensor, loss: Tensor) -> Tensor:
        """Return a loss of which a share is that of soft labels, a mean of teachers."""
        wanted = functional.softmax(said.movedim(1, 0) / self.temperature, 2).mean(0)
        own = functional.log_softmax(output / self.temperature, 1)
        soft = functional.kl_div(own, wanted, reduction="none").sum(1).mean()
        return torch.lerp(loss, soft * self.temperature**2, self.distill_weight)

    # -- what the teacher says

    @torch.no_grad()
    def teach(self, x: Tensor) -> Tensor:
        """Return what teachers say of samples, (n, teachers, ...)."""
        with torch.autocast(x.device.type, enabled=False):
            return torch.stack([one.eval()(x) for one in self.teachers], 1)

    def ask(self, x: Tensor) -> Tensor:
        """Return the same, of known samples by the table."""
        said = None
        if self.cache and self.samples is not None and x.device.type == "cpu":
            if self.table is None:
                self.table = Table(self.samples, self.teach)
            said = self.table.find(x)
        return self.teach(x) if said is None else said

    def overhear(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what the teacher says, and what its layers give on the way."""
        heard: dict[str, Tensor] = {}
        wanted = None if self.layers is None else list(self.layers.values())
        hooks = listen(self.teachers[0], wanted, heard)
        try:
            return self.teach(x), heard
        finally:
            for hook in hooks:
                hook.remove()

    # -- layers

    def pair(self, theirs: dict[str, Tensor]) -> list[tuple[str, str]]:
        """Return which layers are compared."""
        if self.layers is not None:
            return list(self.layers.items())
        return pair_layers(self.heard, theirs)

    def compare(self, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Return how far layers are from the teacher's, weighted."""
        total = torch.zeros((), device=pairs[0][0].device)
        if self.attention_weight > 0:
            for ours, theirs in pairs:
                if ours.ndim == 4:
                    far = attention_loss(ours.float(), theirs)
                    total = total + far * (self.attention_weight / 2)
        if self.feature_weight > 0:
            if not self.projections:
                seed = derive_seed(self.context.seed, COMPRESSION, 1)
                self.projections = draw_projections(pairs, seed)
                self.means = [torch.zeros_like(p) for p in self.projections]
                self.squares = [torch.zeros_like(p) for p in self.projections]
            for (ours, theirs), p in zip(pairs, self.projections, strict=True):
                far = feature_loss(ours.float(), theirs, p.requires_grad_())
                total = total + far * self.feature_weight
        return total

    def after_gradients(self) -> None:
        """Take the gradients of projections."""
        self.slopes = [p.grad for p in self.projections]
        for p in self.projections:
            p.grad = None

    @torch.no_grad()
    def after_step(self, loss: Tensor) -> None:
        """Move projections, by Adam at its usual rate."""
        self.updates += any(slope is not None for slope in self.slopes)
        rest = 1 - 0.9**self.updates, 1 - 0.999**self.updates
        for index, slope in enumerate(self.slopes):
            if slope is not None:
                p = self.projections[index]
                mean, square = self.means[index], self.squares[index]
                slope.nan_to_num_(0.0, 0.0, 0.0)
                mean.lerp_(slope, 0.1)
                square.lerp_(slope * slope, 0.001)
                size = (square / rest[1]).sqrt() + 1e-8
                p.sub_(mean / rest[0] / size * 0.001)
        self.slopes = []
