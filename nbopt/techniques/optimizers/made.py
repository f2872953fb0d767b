"""Optimizers that a run is given the making of, and what to say of settings that are none of a run's."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from nbopt.errors import InvalidHyperparam, shorten
from nbopt.i18n import _
from nbopt.techniques.optimizers.base import Optimizer


def make_optimizer(given: object, weights: Iterable[nn.Parameter]) -> Any:
    """Return what a run trains with: ``given`` or, where that is a function of the weights, what it makes.

    Parameters
    ----------
    given : object
        As given to a run. ``functools.partial(torch.optim.Adam, eps=1e-5)`` is such a function, and so is
        ``lambda weights: torch.optim.SGD(weights, lr=0.1)``.
    weights : iterable of Parameter
        All that the run may train.

    Raises
    ------
    InvalidHyperparam
        If the function raises, or returns something else.
    """
    if isinstance(given, type) or not callable(given):
        return given
    how = "optimizer=functools.partial(torch.optim.Adam, eps=1e-5)"
    try:
        made = given(list(dict.fromkeys(weights)))
    except Exception as error:
        what = _("called with the model's parameters, it raised {error!r}", error=error)
        raise InvalidHyperparam(_("optimizer: {what}. As an example: {how}.", what=what, how=how)) from error
    if not isinstance(made, torch.optim.Optimizer):
        what = _("called with the model's parameters, it returned {value}", value=shorten(made))
        raise InvalidHyperparam(_("optimizer: {what}, no torch optimizer. As an example: {how}.", what=what, how=how))
    return made


def check_settings(
    kind: type[Optimizer],
    given: object,
    settings: Mapping[str, Any],
    known: Iterable[str],
    still: Mapping[str, Any],
) -> None:
    """Refuse what torch's optimizer takes and a run does not, and a rate for an optimizer that has none.

    Parameters
    ----------
    kind : type of Optimizer
        The one that the run begins with.
    given : object
        What the run was given as its optimizer.
    settings : mapping
        What the run was given by name.
    known : iterable of str
        The names of hyperparameters.
    still : mapping of str to Any
        Values by which hyperparameters leave a rate alone.

    Raises
    ------
    InvalidHyperparam
        Says where such a setting goes.
    """
    torch_class = kind.torch_class
    name = torch_class.__name__
    own = inspect.signature(torch_class).parameters.keys() - {"self", "params", "lr"} - set(known)
    for key in sorted(own & settings.keys()):
        rule = _("{key} is a setting of {name} that is not changed while it trains", key=key, name=name)
        if isinstance(given, torch.optim.Optimizer):
            raise InvalidHyperparam(_("{rule}: give it where you make the optimizer.", rule=rule))
        path = f"torch.optim.{name}" if getattr(torch.optim, name, None) is torch_class else name
        way = f"optimizer=functools.partial({path}, {key}={shorten(settings[key])})"
        raise InvalidHyperparam(_("{rule}: write {way}.", rule=rule, way=way))
    still = {"lr": None, **still}
    rates = sorted(key for key, value in still.items() if settings.get(key, value) != value)
    if rates and not kind.rated:
        rule = _("{name} was made without a learning rate and finds its own", name=name)
        raise InvalidHyperparam(_("{rule}: leave {names} out.", rule=rule, names=", ".join(rates)))
