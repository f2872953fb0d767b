"""Weights from a table of few values, which k-means finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from nbopt.i18n import N_
from nbopt.techniques.compression.chosen import GROUP, MOST, FewBits, conflict_of_weights
from nbopt.techniques.compression.or_off import IntOrOff
from nbopt.techniques.compression.tables import go_on, make_tables, take


class Codebook(FewBits):
    """Compute with weights that share few values, those of a table for each layer (Han et al. 2016, section 3).

    K-means finds the values, and follows the weights by one round a step. The weights themselves stay as they are, and
    gradients reach them as if each were its own. A weight that is exactly 0, as pruned ones are, stays 0 and is none of
    the values' business.

    Attributes
    ----------
    tables : list of Tensor
        The values of each weight's table, sorted.
    sizes : list of int
        How many there are to be in each.
    fitted_at : int
        The step that they were last found for: what did not act meanwhile is found anew.
    """

    codebook = IntOrOff(
        0,
        low=2,
        high=2**MOST,
        powers=True,
        zero=True,
        ge=0,
        label=N_("Codebook"),
        group=GROUP,
        help=N_("Number of values that a layer's weights share, found by k-means: 4 take 2 bits per weight; 0: off."),
        synonyms="n_clusters clusters palette palettize kmeans lut",
    )

    of_weights = "codebook"
    memory: ClassVar[tuple[str, ...]] = ("tables", "sizes", "fitted_at")

    tables: Sequence[Tensor] = ()
    sizes: Sequence[int] = ()
    fitted_at = -2
    looked: tuple[Sequence[Tensor], Sequence[int], Sequence[Tensor]] = ((), (), ())

    @classmethod
    def conflict(cls, values: Mapping[str, Any], chosen: Mapping[str, Any]) -> str:
        """Weights are on a grid or from a table."""
        return conflict_of_weights(values)

    @property
    def acts(self) -> bool:
        """With any size."""
        return self.codebook > 0

    def change_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Put the nearest value of its table in the place of each weight."""
        chosen = self.choose(-1)[1]
        now = {name: self.now(weights, name) for name in chosen}
        sizes = [self.codebook if own < 0 else 2**own for own in chosen.values()]
        values = [weight.detach() for weight in now.values()]
        if torch.is_grad_enabled():
            self.follow(values, sizes)
            tables = self.tables
        else:
            tables = self.look(values, sizes)
        pairs = zip(now.items(), tables, strict=True)
        return {**weights, **{name: take(table, w) for (name, w), table in pairs}}

    def is_behind(self, sizes: list[int]) -> bool:
        """Whether the tables were found for other weights, or have other sizes."""
        return self.context.step > self.fitted_at + 1 or list(self.sizes) != sizes

    def follow(self, weights: list[Tensor], sizes: list[int]) -> None:
        """Find the tables of the present step, once."""
        step = self.context.step
        if self.is_behind(sizes):
            self.tables = make_tables(weights, sizes)
        elif step > self.fitted_at:
            pairs = zip(self.tables, weights, strict=True)
            self.tables = [go_on(table, w) for table, w in pairs]
        self.sizes, self.fitted_at = sizes, step

    def look(self, weights: list[Tensor], sizes: list[int]) -> Sequence[Tensor]:
        """Return the tables for a pass that is none of a step, and leaves no trace."""
        if not self.is_behind(sizes):
            return self.tables
        seen, of, tables = self.looked
        if of != sizes or not all(map(torch.equal, seen, weights)):
            tables = make_tables(weights, sizes)
            self.looked = [weight.clone() for weight in weights], sizes, tables
        return tables
