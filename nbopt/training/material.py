"""The modules that a run trains, and what the user may change of them in a pause: which weights train, and modes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from nbopt.i18n import _

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
    evaluated : tuple of str
        The modules that are known to be in evaluation mode in training, as batch normalization kept frozen is.
    exchanged : bool
        Whether an edit put other modules into the model that are not taken for the run's yet.
    mode : bool
        Whether the model itself is in training mode in training; some of its modules may not be.
    """

    def __init__(self, model: nn.Module, others: Mapping[str, nn.Module]) -> None:
        self.model = model
        self.others = dict(others)
        self.parameters = self.find_parameters()
        self.names = {id(parameter): name for name, parameter in self.parameters.items()}
        self._modules = self._find_modules()
        self._shapes, self.exchanged = self.find_shapes(), False
        if not any(module.training for module in model.modules()):
            model.train()  # models come from a hub like this, and loops begin with it
        for module in model.modules():
            if module.training and type(module).train is not nn.Module.train:
                module.train()  # what the user's does there, as freezing norms, loops have from the first step on
        self._learn()

    def settle(self) -> None:
        """Take everything for given that was changed since this was made, before the first step."""
        if self.model.training is not self.mode:  # after a look, as model.eval() in another cell
            self.put_back()
        self._learn()

    def _learn(self) -> None:
        self.resting, self.evaluated = self._find_resting(), self.find_modes()
        self.mode = self.model.training

    # -- what there is

    def find_parameters(self) -> dict[str, nn.Parameter]:
        """Return the weights that there are now, each once, by the first of its names."""
        found: dict[int, tuple[str, nn.Parameter]] = {}
        for prefix, module in {"model": self.model, **self.others}.items():
            for name, parameter in module.named_parameters():
                found.setdefault(id(parameter), (f"{prefix}.{name}", parameter))
        return dict(found.values())

    @property
    def is_reshaped(self) -> bool:
        """Whether weights have other shapes than those that are known, or an edit put others in their place."""
        return self.exchanged or self.find_shapes() != self._shapes

    def renew(self) -> None:
        """Take weights and modules as they are now for the run's; what was known of those that stay is still."""
        resting = {id(weight): name in self.resting for name, weight in self.parameters.items()}
        still = {id(module): name in self.evaluated for name, module in self._modules.items()}
        self.parameters = self.find_parameters()
        self.names = {id(parameter): name for name, parameter in self.parameters.items()}
        self._modules = self._find_modules()
        weights, modules = self.parameters.items(), self._modules.items()
        self.resting = tuple(n for n, weight in weights if resting.get(id(weight), not weight.requires_grad))
        self.evaluated = tuple(n for n, module in modules if still.get(id(module), not module.training))

    def learn_shapes(self) -> None:
        """Know the shapes that weights have now."""
        self._shapes, self.exchanged = self.find_shapes(), False

    def find_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes that weights have now."""
        return {name: tuple(parameter.shape) for name, parameter in self.parameters.items()}

    def _find_modules(self) -> dict[str, nn.Module]:
        found: dict[str, nn.Module] = {}
        for prefix, module in {"model": self.model, **self.others}.items():
            found.update({f"{prefix}.{name}".rstrip("."): part for name, part in module.named_modules()})
        return found

    def check(
        self, before: Mapping[str, nn.Parameter] | None = None, shapes: Mapping[str, tuple[int, ...]] | None = None
    ) -> None:
        """See that the weights are still there; modules without any may be exchanged.

        Parameters
        ----------
        before : mapping of str to Parameter, optional
            Those that there were: now there have to be no others. By default those that the run began with, to which
            steps may have added some, as a layer that the first one makes.
        shapes : mapping of str to tuple of int, optional
            Those that they had, which only an edit may change.

        Raises
        ------
        ValueError
            If weights were exchanged, added or taken away.
        """
        now, known = self.find_parameters(), self.parameters if before is None else before
        new = [n for n, weight in now.items() if weight is not known.get(n) and (n in known or before is not None)]
        gone = [name for name in known if name not in now]
        reshaped = [name for name, shape in (shapes or {}).items() if name in now and now[name].shape != shape]
        if new or gone or reshaped:
            what = [_("new: {names}", names=list_names(new))] if new else []
            what += [_("of another shape: {names}", names=list_names(reshaped))] if reshaped else []
            what += [_("gone: {names}", names=list_names(gone))] if gone else []
            raise ValueError(
                _(
                    "the model's weights are not those that this run began with ({what}). Put those back and load new "
                    "values into them (layer.load_state_dict, layer.reset_parameters), or begin a new run with the "
                    "model as it is: nbopt.Run(model, ...).",
                    what="; ".join(what),
                )
            )
        self._modules = self._find_modules()

    # -- what trains

    def find_change(self) -> dict[str, Any] | None:
        """Return what the user changed since this last looked, as the journal holds it; None if nothing.

        Raises
        ------
        ValueError
            See `check`.
        """
        self.check()
        resting, evaluated = (tuple(names) for names in self.place().values())
        if (resting, evaluated) == (self.resting, self.evaluated):
            return None
        words = []
        if woken := [name for name in self.resting if name not in resting]:
            words.append(_("trains from here on: {names}", names=list_names(woken)))
        if put_down := [name for name in resting if name not in self.resting]:
            words.append(_("frozen from here on: {names}", names=list_names(put_down)))
        if stopped := [name for name in evaluated if name not in self.evaluated]:
            words.append(_("in evaluation mode from here on: {names}", names=list_names(_topmost(stopped))))
        if begun := [name for name in self.evaluated if name not in evaluated]:
            words.append(_("in training mode from here on: {names}", names=list_names(_topmost(begun))))
        return {"resting": list(resting), "evaluated": list(evaluated), "reason": "; ".join(words)}

    def place(self) -> dict[str, Any]:
        """Return what the user may change, as it is now; ``model.eval()``, for a look, changes nothing."""
        evaluated = self.evaluated if self.model.training is not self.mode else self.find_modes()
        return {"resting": list(self._find_resting()), "evaluated": list(evaluated)}

    def apply(self, change: Mapping[str, Any]) -> None:
        """Make a change that `find_change` found, or a snapshot holds, and know of it."""
        self.put(change)
        self._learn()

    def put(self, change: Mapping[str, Any]) -> None:
        """Do to the modules what the user would do by hand."""
        resting = set(change["resting"])
        for name, parameter in self.parameters.items():
            if parameter.requires_grad is (name in resting):
                parameter.requires_grad_(name not in resting)
                parameter.grad = None
        if "evaluated" in change:
            self.set_modes(change["evaluated"])

    def _find_resting(self) -> tuple[str, ...]:
        return tuple(name for name, parameter in self.parameters.items() if not parameter.requires_grad)

    # -- modes

    def put_back(self) -> None:
        """Put all modules into the modes that they have in training."""
        self.set_modes(self.evaluated)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Have all modules in evaluation mode meanwhile."""
        still = self.find_modes()
        for module in (self.model, *self.others.values()):
            module.eval()
        try:
            yield
        finally:
            self.set_modes(still)

    def find_modes(self) -> tuple[str, ...]:
        """Return the modules in evaluation mode."""
        return tuple(name for name, module in self._modules.items() if not module.training)

    def set_modes(self, evaluated: Iterable[str]) -> None:
        """Put these modules into evaluation mode, all others into training mode."""
        still = set(evaluated)
        for name, module in self._modules.items():  # parents come first, and take their children along
            if module.training is (name in still):
                module.train(name not in still)  # what a module of the user's does there is done

    # -- what the loss keeps

    def tensors(self) -> dict[str, Tensor]:
        """Return weights and buffers of the loss that are not the model's too, by name."""
        return find_tensors(self.model, self.others)

    def load(self, tensors: Mapping[str, Tensor], extra: Mapping[str, Any]) -> None:
        """Put back what `tensors` returned; ``extra`` is what ``get_extra_state`` gave, by module."""
        for prefix, module in self.others.items():
            own = {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}
            module.load_state_dict(own | extra.get(prefix, {}), strict=False)


def tell_of_look(step: int, tell: Callable[[str], None]) -> None:
    """Say that the model's mode was changed while ``step`` was done."""
    tell(
        _(
            "the model's mode was changed in the middle of step {step}: that step may have been done in evaluation "
            "mode, which a replay does not repeat. It is put back; run.predict looks without changing anything.",
            step=step,
        )
    )


def tell_of_thaw(step: int, tell: Callable[[str], None]) -> None:
    """Say that weights began to train while ``step`` was done, which the optimizer did not hold."""
    rule = _(
        "the model had frozen weights train in the middle of step {step}, which moves them from the next one on",
        step=step,
    )
    tell(_("{rule}. An optimizer that you make of all weights moves them at once.", rule=rule))


def find_tensors(model: nn.Module, others: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Return weights and buffers of other modules that are not the model's too, by name."""
    seen = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()} if others else set()
    return {
        f"{prefix}.{name}": tensor
        for prefix, module in others.items()
        for name, tensor in module.state_dict(keep_vars=True).items()
        if isinstance(tensor, Tensor) and id(tensor) not in seen
    }


def _topmost(names: list[str]) -> list[str]:
    """Leave out modules whose parent is there too."""
    return [name for name in names if name.rpartition(".")[0] not in names]


def list_names(names: Iterable[str]) -> str:
    """Return names of weights or modules for a text: a few, and how many more there are."""
    shown = [name.removeprefix("model.") for name in names]
    more = len(shown) - _NAMED
    rest = [_("and {count} more", count=more)] if more > 0 else []
    return ", ".join([*shown[:_NAMED], *rest])
