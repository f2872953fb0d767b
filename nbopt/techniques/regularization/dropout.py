"""Dropout as a live hyperparameter of a model that has such layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import nn

from nbopt.hyperparams import Float
from nbopt.i18n import N_, _
from nbopt.objects.layers import probability_of
from nbopt.objects.plain import is_number
from nbopt.techniques.base import Technique
from nbopt.techniques.context import Setting
from nbopt.techniques.own_lines import OwnLines, Told


class Dropout(Technique):
    """Sets the dropout probability of every layer that has one (Srivastava et al. 2014).

    Until a value is given, each layer keeps its own; the control then shows the largest.
    """

    dropout = Float(
        0.0,
        low=0.0,
        high=0.9,
        ge=0.0,
        lt=1.0,
        label=N_("Dropout"),
        group=N_("Regularization"),
        help=N_("Probability that a unit is dropped in a training step."),
        synonyms="drop drop_rate dropout_rate p_dropout",
    )

    memory: ClassVar[tuple[str, ...]] = ("rates",)
    of_model: ClassVar[tuple[str, ...]] = ("dropout",)
    compiles = True
    _found: list[tuple[Any, str]] | None = None

    @classmethod
    def bring(cls, setting: Setting) -> dict[str, Any]:
        """Show the largest probability among the model's layers."""
        rates = [getattr(layer, attribute) for layer, attribute in _layers(setting.model)]
        return {"dropout": max(rates)} if rates else {}

    @classmethod
    def find_several(cls, model: nn.Module) -> set[str]:
        """Look whether layers differ in their probability: the value shown stands for none of them."""
        rates = {float(getattr(layer, attribute)) for layer, attribute in _layers(model)}
        return {"dropout"} if len(rates) > 1 else set()

    @classmethod
    def unfit_for(cls, setting: Setting) -> str:
        """There has to be such a layer."""
        return "" if _layers(setting.model) else _("the model has no dropout layer")

    @classmethod
    def own_lines(cls, told: Told) -> OwnLines:
        """Give the layers their probability."""
        if "dropout" in told.inert:
            return OwnLines()
        first = {} if "dropout" in told.untouched else {"begin": "set_dropout(model, DROPOUT)"}
        changed = 'if "dropout" in changes:\n    set_dropout(model, changes["dropout"])'
        return OwnLines({**first, "changed": changed})

    def train(self, weights: Sequence[nn.Parameter]) -> None:
        """Look for the layers anew: the model may be another."""
        super().train(weights)
        self._found = None

    @property
    def layers(self) -> list[tuple[Any, str]]:
        """The layers, each with the attribute that holds its probability."""
        if self._found is None:
            self._found = _layers(self.context.model)
        return self._found

    @property
    def acts(self) -> bool:
        """Where there is such a layer."""
        return bool(self.layers)

    def draws_now(self) -> bool:
        """Return whether any layer leaves units out now: they may be changed by hand, too."""
        for layer, attribute in self.layers:  # asked in every step: a generator costs as much as ten layers
            if getattr(layer, attribute):
                return True
        return False

    def on_change(self, name: str) -> None:
        """Give every layer the new probability."""
        for layer, attribute in self.layers:
            setattr(layer, attribute, self.dropout)

    @property
    def by_hand(self) -> dict[str, Any]:
        """Each layer's own probability."""
        return {_("dropout"): self.rates}

    # -- snapshots

    @property
    def rates(self) -> list[float]:
        """Each layer's own probability."""
        return [float(getattr(layer, attribute)) for layer, attribute in self.layers]

    @rates.setter
    def rates(self, rates: list[float]) -> None:
        for (layer, attribute), rate in zip(self.layers, rates, strict=True):
            setattr(layer, attribute, rate)

    @classmethod
    def recall(cls, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Return its memory from a snapshot of an earlier version."""
        return {"rates": facts["dropout_rates"]} if "dropout_rates" in facts else {}

    @classmethod
    def is_memory(cls, memory: Mapping[str, Any]) -> bool:
        """Whether these are probabilities."""
        return all(is_number(rate) and 0 <= rate <= 1 for rate in memory["rates"])


def _layers(model: nn.Module) -> list[tuple[Any, str]]:
    found = ((module, probability_of(module)) for module in model.modules())
    return [(module, attribute) for module, attribute in found if attribute]
