"""Parameter groups: which weights an optimizer steps together, and what each group has otherwise than the others."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy, deepcopy
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from nbopt.i18n import _
from nbopt.techniques.optimizers.shares import SHARED_OUT, share_out
from nbopt.techniques.optimizers.wrapped import still_shared

# How an optimizer computes, not what: each sets these for itself.
MEANS = ("fused", "foreach", "capturable", "differentiable")
_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


class Groups:
    """The parameter groups of a run. They stay the same whatever optimizer is swapped in, and so do step hooks.

    Parameters
    ----------
    params : sequence of Parameter
        All weights that a run may train, in one group.
    instance : torch.optim.Optimizer, optional
        The user's own optimizer, whose groups these are otherwise.

    Attributes
    ----------
    instance : torch.optim.Optimizer or None
    resting : set of int
        The ids of the weights that do not train now.
    """

    def __init__(self, params: Sequence[nn.Parameter] = (), instance: torch.optim.Optimizer | None = None) -> None:
        self.instance = instance
        self.resting: set[int] = set()
        self._begun = False
        self._shown: dict[str, Any] = {}
        self._state: dict[Any, Any] = {}
        if instance is None:
            self._params = [list(params)]
            self._given: list[dict[str, Any]] = [{}]
            self._hooks: dict[str, Any] = {name: OrderedDict() for name in _HOOKS}
        else:
            self._params = [list(group["params"]) for group in instance.param_groups]
            self._given = [_settings(group) for group in instance.param_groups]
            self._shown = settings_of(instance)
            self._state = _copy_state(instance.state)  # some optimizers are made with one
            self._hooks = {name: getattr(instance, name, None) for name in _HOOKS}

    @property
    def weights(self) -> list[nn.Parameter]:
        """All weights in them."""
        return [weight for group in self._params for weight in group]

    @property
    def given(self) -> list[tuple[list[nn.Parameter], dict[str, Any]]]:
        """The weights of each group, and its settings as they were given."""
        return list(zip(self._params, self._given, strict=True))

    @property
    def trained(self) -> list[list[nn.Parameter]]:
        """The weights that train now, group by group."""
        return [[weight for weight in group if id(weight) not in self.resting] for group in self._params]

    def value(self, index: int, key: str, value: Any) -> Any:
        """Return what a live ``value`` of ``key`` is in group number ``index``.

        Where the value is as the optimizer was given, each group has what it was given. Otherwise learning rate and
        weight decay keep their proportion to the largest, and everything else is the same in all groups.
        """
        given = self._given[index]
        return share_out(value, key, given, self._shown) if key in given else value

    def explain(self, key: str) -> str:
        """Say in words what a value of ``key`` does that the groups do not tell; "" where that is plain."""
        if key != "weight_decay" or len(self._given) < 2 or self._shown.get(key) != 0:
            return ""
        return _("no group had any: it acts on all {count} parameter groups", count=len(self._given))

    def put(self, groups: Sequence[Sequence[nn.Parameter]]) -> None:
        """Hold these weights, group by group; the user's own optimizer does so too."""
        self._params = [list(group) for group in groups]
        if self.instance is not None:
            put_weights(self.instance, self._params)

    def exchange(self, pairs: Sequence[tuple[Sequence[nn.Parameter], Sequence[nn.Parameter]]], gone: set[int]) -> None:
        """Hold other weights.

        Parameters
        ----------
        pairs : sequence of tuple
            Weights, and those that come in their place or beside them: into the same group, and into the first one
            where they come in the place of nothing.
        gone : set of int
            The ids of the weights that there are no more.
        """
        groups, added = [list(group) for group in self._params], list[nn.Parameter]()
        for old, new in pairs:
            ids, known = {id(weight) for weight in old}, {id(weight) for weight in self.weights}
            homes = [group for group in groups if any(id(weight) in ids for weight in group)]
            for group in homes[:1] if old else groups[:1]:
                fresh = [weight for weight in new if id(weight) not in known]
                group.extend(fresh)
                added.extend(fresh)
        self.put([[weight for weight in group if id(weight) not in gone] for group in groups])
        if self.instance is not None and added:
            with suppress(TypeError):  # a class of the user's that is not made of its defaults
                self.instance.state.update(type(self.instance)(added, **self.instance.defaults).state)

    def begin(self) -> torch.optim.Optimizer:
        """Return the user's own optimizer: as it is, or as it was given if another one was at work meanwhile."""
        assert self.instance is not None
        if self._begun:
            held = {id(weight) for weight in self.weights}
            fitting = {w: own for w, own in self._state.items() if _fits(w, own) and _is_held(w, held)}
            with still_shared(self.instance):
                self.instance.state = defaultdict(dict, _copy_state(fitting))
            self._reset(self.instance)
        self._begun = True
        return self.instance

    def copy(self, memo: dict[int, Any]) -> torch.optim.Optimizer | None:
        """Return a copy of the user's own optimizer as it was given, over copies of its weights; ``memo`` has those."""
        if self.instance is None:
            return None
        made = copy_optimizer(self.instance, memo)
        made.state = deepcopy(defaultdict(dict, self._state), memo)
        self._reset(made)
        return made

    def _reset(self, optimizer: torch.optim.Optimizer) -> None:
        for group, given in zip(optimizer.param_groups, self._given, strict=True):
            group.update(deepcopy(given))

    def check(self, at_work: torch.optim.Optimizer) -> None:
        """See that the user's own optimizer, and the one at work, hold the weights that they held.

        Raises
        ------
        ValueError
            If weights or groups were added or taken away.
        """
        before = [list(map(id, group)) for group in self._params]
        pairs = [] if self.instance is None else [(before, _held(self.instance))]
        if at_work is not self.instance:
            pairs.append(([[*chain(*(map(id, group) for group in self.trained))]], [[*chain(*_held(at_work))]]))
        for known, now in pairs:
            if known != now:
                counts = [" + ".join(str(len(group)) for group in groups) for groups in (known, now)]
                raise ValueError(
                    _(
                        "the optimizer's parameter groups hold other weights ({before}, now {now}): a run keeps the "
                        "groups that it began with. Hand over all weights at the start, those of later ones frozen by "
                        "requires_grad_(False), and thaw them in a pause; or begin a new run.",
                        before=counts[0],
                        now=counts[1],
                    )
                )

    @property
    def held(self) -> list[list[nn.Parameter]]:
        """The weights of each group."""
        return [list(group) for group in self._params]

    @property
    def differ(self) -> bool:
        """Whether learning rate or weight decay differ from group to group."""
        return any(given.get(key) != self._given[0].get(key) for given in self._given for key in SHARED_OUT)

    def make(self, kind: type[torch.optim.Optimizer], whole: bool, **settings: Any) -> torch.optim.Optimizer:
        """Make an optimizer of class ``kind`` over the weights that train now, with the groups and step hooks given.

        With ``whole``, it knows no groups, and gets all weights in one.
        """
        params: Any = self.trained
        joined = whole or len(params) == 1
        made = kind([*chain(*params)] if joined else [{"params": group} for group in params], **settings)
        for group, given in zip(made.param_groups, self._given, strict=not whole):
            for key, value in given.items():
                assert self.instance is not None
                is_mark = key not in self.instance.defaults and key not in group
                if is_mark or (key in group and key not in MEANS and any(value != o.get(key) for o in self._given)):
                    group[key] = deepcopy(value)
        for name, hooks in self._hooks.items():
            if hooks is not None and hasattr(made, name):
                setattr(made, name, hooks)
        return made


def settings_of(instance: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the first parameter group's settings, with the largest of all groups where they share it out.

    What is None in one of them is left out: the optimizer finds its own.
    """
    settings = _settings(instance.param_groups[0])
    for key in SHARED_OUT:
        settings.pop(key, None)
        values = [float(group[key]) for group in instance.param_groups if group.get(key) is not None]
        if len(values) == len(instance.param_groups):
            settings[key] = max(values)
    return settings


def put(group: dict[str, Any], key: str, value: Any) -> None:
    """Give a parameter group a setting; one that is a tensor stays one, as torch's schedulers do it."""
    held = group.get(key)
    if isinstance(held, Tensor):
        held.fill_(value)
    else:
        group[key] = value


def copy_optimizer(instance: torch.optim.Optimizer, memo: dict[int, Any]) -> torch.optim.Optimizer:
    """Return a copy over copies of its weights, with its step hooks, which torch's own way of copying forgets.

    ``memo`` holds the copies made so far, as for `copy.deepcopy`.
    """
    made: torch.optim.Optimizer = object.__new__(type(instance))
    memo[id(instance)] = made
    for name, value in vars(instance).items():
        if name.endswith("_hooks"):
            vars(made)[name] = copy(value)
        elif not hasattr(value, "_wrapped_by_lr_sched"):  # a scheduler's way of counting steps, of this one
            vars(made)[name] = deepcopy(value, memo)
    forget_sizes(made)
    return made


def forget_sizes(optimizer: torch.optim.Optimizer) -> None:
    """Have an optimizer count the numbers in its weights anew: torch's L-BFGS does so once."""
    if "_numel_cache" in vars(optimizer):
        vars(optimizer)["_numel_cache"] = None


def _held(optimizer: torch.optim.Optimizer) -> list[list[int]]:
    return [list(map(id, group["params"])) for group in optimizer.param_groups]


def has_hooks(optimizer: torch.optim.Optimizer | None) -> bool:
    """Whether functions of the user's are called before or after each of its steps."""
    return any(getattr(optimizer, name, None) for name in _HOOKS)


def hooks_of(optimizer: torch.optim.Optimizer | None) -> list[Callable[..., Any]]:
    """Return the functions of the user's that are called before or after each of its steps."""
    return [hook for name in _HOOKS for hook in (getattr(optimizer, name, None) or {}).values()]


def own_zero_grad(optimizer: torch.optim.Optimizer) -> Callable[[], Any] | None:
    """Return an optimizer's ``zero_grad`` where it is another than torch's; None otherwise."""
    usual = getattr(type(optimizer), "zero_grad", None) is torch.optim.Optimizer.zero_grad
    return None if usual and "zero_grad" not in vars(optimizer) else optimizer.zero_grad


def is_altered(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a step does something else besides, or instead of, what the optimizer's class would."""
    return has_hooks(optimizer) or "step" in vars(optimizer) or own_zero_grad(optimizer) is not None


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {key: deepcopy(value) for key, value in group.items() if key != "params"}


def _fits(weight: Any, own: Any) -> bool:
    """Whether what is remembered of a weight is of its shape, which an edit may have changed."""
    values = own.values() if isinstance(own, dict) else ()
    return all(value.shape == weight.shape for value in values if isinstance(value, Tensor) and value.numel() > 1)


def _is_held(weight: Any, held: set[int]) -> bool:
    return not isinstance(weight, Tensor) or id(weight) in held


def put_weights(optimizer: torch.optim.Optimizer, groups: Sequence[Sequence[nn.Parameter]]) -> None:
    """Have an optimizer's parameter groups hold these weights."""
    for group, weights in zip(optimizer.param_groups, groups, strict=True):
        before, group["params"] = group["params"], list(weights)
        if vars(optimizer).get("_params") is before:  # torch's L-BFGS steps what this list has
            vars(optimizer)["_params"] = group["params"]


def _copy_state(state: Any) -> dict[Any, Any]:
    return {weight: deepcopy(own) for weight, own in state.items()}
