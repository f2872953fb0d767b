"""A lottery ticket: training again with the weights alone that pruning left."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from nbopt.hyperparams import Flag
from nbopt.i18n import N_, _
from nbopt.techniques.base import Technique
from nbopt.techniques.compression.teachers import as_module


class Ticket(Technique):
    """Compute with the weights alone that are not 0 in a pruned network (Frankle and Carbin 2019).

    With weights of an early step of the run that was pruned, that is their experiment: see the example.

    Parameters
    ----------
    pruned : Run or torch.nn.Module
        A run that prunes stands for a copy of its model as it computes now.

    Examples
    --------
    >>> import copy, nbopt
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    >>> run = nbopt.Run(model, (X, y), sparsity=0.8, epochs=2, store=None)
    >>> _ = run.fit()
    >>> early = copy.deepcopy(run.branch(at=1).model)
    >>> again = nbopt.Run(early, (X, y), techniques=[nbopt.Ticket(run)], epochs=2, store=None)
    >>> again.fit().state.name
    'FINISHED'
    """

    ticket = Flag(
        True,
        label=N_("Ticket"),
        group=N_("Pruning"),
        help=N_("Whether the model computes only with the weights that the pruned network has."),
    )

    def __init__(self, pruned: Any) -> None:
        self.pruned = pruned
        self.masks: dict[str, Tensor] = {}

    @classmethod
    def take(cls, arguments: tuple[Any, ...], settings: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Keep the model of a run."""
        if arguments:
            return (as_module(arguments[0]), *arguments[1:]), settings
        return arguments, {name: as_module(value) for name, value in settings.items()}

    @property
    def acts(self) -> bool:
        """While it is on."""
        return self.ticket

    @property
    def obstacle(self) -> str:
        """Masks are none."""
        return ""

    @property
    def renews_every(self) -> int:
        """Masks stay."""
        return 0

    @property
    def weight_operands(self) -> dict[str, Tensor]:
        """The masks."""
        return self.find_masks()

    def check_outputs(self, output: Any, batch: Any) -> None:
        """Look whether the pruned network has the shapes of the model."""
        own = {name: weight.shape for name, weight in self.context.model.named_parameters()}
        others = {name: weight.shape for name, weight in self.pruned.named_parameters()}
        if own != others:
            name = next(name for name in {**own, **others} if own.get(name) != others.get(name))
            raise ValueError(
                _(
                    "the pruned network and the model differ in {name}: a ticket needs the same shapes. Take the "
                    "weights of a step from run.branch(at=...).model.",
                    name=name,
                )
            )
        if all(bool(mask.all()) for mask in self.find_masks().values()):
            raise ValueError(_("the network of the ticket has no weight that is 0: give one that was pruned."))

    def find_masks(self) -> dict[str, Tensor]:
        """Return the masks, by name."""
        if not self.masks:
            own = dict(self.context.model.named_parameters())
            for name, w in self.pruned.named_parameters():
                if w.ndim > 1 and name in own and own[name].shape == w.shape:
                    self.masks[name] = (w.detach() != 0).to(w.dtype)
        return self.masks

    def change_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights times their masks."""
        changed = dict(weights)
        for name, mask in self.find_masks().items():
            if name not in changed:  # it is frozen
                changed[name] = self.context.model.get_parameter(name)
            changed[name] = changed[name] * mask
        return changed
