"""What every technique, and every run, promises: to be checked of one's own."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nbopt.export.script.techniques import variable_of
from nbopt.export.summary import operations
from nbopt.run.run import Run
from nbopt.run.stored.reopen import open as open_again
from nbopt.techniques.base import Technique, defines
from nbopt.techniques.catalogue import PARTS, known_of

_AT, _EPOCH = 7, 3  # the step before which something changes; steps of an epoch
_NEAR = 1e-6  # how far a script's weights may be from the run's: some sums are done in another order


def check_technique(
    technique: Technique | type[Technique],
    values: Mapping[str, Any],
    change: Mapping[str, Any],
    *,
    model: Callable[[], nn.Module] | None = None,
    data: Any = None,
    **settings: Any,
) -> None:
    """Check that a technique acts, is repeated exactly, is stored and is exported.

    It makes some short runs on the CPU: with ``values``, a technique trains other weights than without, and a change is
    felt at the very next step; rewound, replayed, branched, stored and opened again, it does the same bit for bit; the
    exported script does the same without nbopt.

    Parameters
    ----------
    technique : Technique
        A class or an instance, as given to `nbopt.Run`; or a class of nbopt's own.
    values : mapping
        Hyperparameters that make it act.
    change : mapping
        Others, which the next step feels.
    model : callable, optional
        Makes the model, the same each time: by default a small convolutional network for 24 images of 1 x 6 x 6 pixels
        in three classes.
    data : tuple of Tensor, optional
        What it trains on, and is validated on: (x, y).
    **settings
        Others of `nbopt.Run`.

    Raises
    ------
    AssertionError
        If it breaks a promise; says which.

    Examples
    --------
    >>> import nbopt, torch
    >>> from nbopt.testing import check_technique
    >>> class Shrink(nbopt.Technique):
    ...     shrink = nbopt.Float(0.0, low=0.0, high=0.1, ge=0.0, lt=1.0, label="Shrink", group="Regularization")
    ...
    ...     @property
    ...     def acts(self):
    ...         return self.shrink > 0
    ...
    ...     @torch.no_grad()
    ...     def after_step(self, loss):
    ...         for weight in self.weights:
    ...             weight.mul_(1 - self.shrink)
    >>> check_technique(Shrink, {"shrink": 0.01}, {"shrink": 0.05})
    """
    techniques = [] if technique in PARTS else [technique]  # of nbopt's own, every run has one
    made = _Made(techniques, model or _make_model, data or _make_data(), settings)
    _check_acting(made, values)
    _check_all(made, values, change)


def check_run(
    model: Callable[[], nn.Module],
    data: Any,
    change: Mapping[str, Any],
    **settings: Any,
) -> None:
    """Check that a run is repeated exactly, stored and exported, whatever it is made of.

    It makes some short runs on the CPU, in which a change is felt at the very next step; rewound, replayed, branched,
    stored and opened again, they do the same bit for bit; the exported script does the same without nbopt.

    Parameters
    ----------
    model : callable
        Makes the model, the same each time.
    data : tuple of Tensor
        What it trains on, at least 24 samples, and is validated on: (x, y).
    change : mapping
        Hyperparameters, which the next step feels.
    **settings
        Of `nbopt.Run`.

    Raises
    ------
    AssertionError
        If it breaks a promise; says which.

    Examples
    --------
    >>> import torch
    >>> from nbopt.testing import check_run
    >>> class Two(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         torch.manual_seed(0)
    ...         self.digit, self.angle = torch.nn.Linear(5, 3), torch.nn.Linear(5, 1)
    ...
    ...     def forward(self, x):
    ...         return {"digit": self.digit(x), "angle": self.angle(x)}
    >>> x = torch.randn(24, 5)
    >>> data = x, {"digit": torch.arange(24) % 3, "angle": x[:, 0]}
    >>> check_run(Two, data, {"angle_weight": 1.0}, loss={"digit": "cross_entropy", "angle": (0.3, "mse")})
    """
    _check_all(_Made([], model, data, settings), {}, change)


def _check_all(made: _Made, values: Mapping[str, Any], change: Mapping[str, Any]) -> None:
    _check_change(made, values, change)
    run = _followed(made.run(**values), change)
    _check_repeated(run, change)  # at whose end it is where it was
    _check_stored(made, values, change, run)
    _check_script(made, run)


class _Made:
    """Makes runs with the techniques."""

    def __init__(
        self, techniques: list[Any], model: Callable[[], nn.Module], data: Any, settings: dict[str, Any]
    ) -> None:
        self.techniques = techniques
        self.model = model
        self.data = data
        off = {name: value for item in known_of(()) for name, value in item.off.items()}
        self.settings = {"lr": 0.05, "optimizer": "sgd", "batch_size": 8, "epochs": 4, **off, **settings}

    def run(self, store: str | None = None, **values: Any) -> Run:
        settings = {"techniques": self.techniques, **self.settings, **values}
        return Run(self.model(), self.data, self.data, device="cpu", store=store, **settings)

    @property
    def own(self) -> dict[str, Any]:
        """What only the user may have, to open a stored run again."""
        names = ("loss", "metrics", "forward", "optimizer", "schedule")
        return {"techniques": self.techniques, **{name: self.settings[name] for name in names if name in self.settings}}


def _check_acting(made: _Made, values: Mapping[str, Any]) -> None:
    acting, without = made.run(**values), made.run()
    for run in (acting, without):
        run.step(_AT)
    _check(not _same(without, acting), f"after {_AT} steps the weights are those of a run without it")


def _check_change(made: _Made, values: Mapping[str, Any], change: Mapping[str, Any]) -> None:
    changed, unchanged = made.run(**values), made.run(**values)
    for run in (changed, unchanged):
        run.step(_AT)
    _check(_same(changed, unchanged), "two runs of the same seed are not the same: what it draws is not seeded")
    changed.set(**change)
    by_epoch = any(isinstance(item, Technique) and defines(type(item), "after_epoch") for item in changed.techniques)
    for run in (changed, unchanged):
        run.step(_EPOCH if by_epoch else 1)
    _check(not _same(changed, unchanged), f"the change {dict(change)} is not felt at the next step")


def _check_repeated(run: Run, change: Mapping[str, Any]) -> None:
    weights, history, end = _weights(run), _history(run), run.step_count
    replay = run.replay()
    replay.wait(60)
    _check(torch.equal(_weights(replay), weights), "a replay ends with other weights")
    _check(_history(replay) == history, "a replay measures something else")
    branch = run.branch(_AT - 2)
    _check(torch.equal(_weights(run), weights), "a branch changes its parent")
    branch.step(2)
    run.rewind(_AT)
    _check(_same(run, branch), "a branch and a rewind do not lead to the same weights")
    _check(run.exact is not False, f"the run is not exact: {run.exactness}")
    run.set(**change)
    run.step(end - _AT)
    _check(torch.equal(_weights(run), weights), "going on after a rewind ends with other weights")
    _check(_history(run) == history, "going on after a rewind measures something else")


def _check_stored(made: _Made, values: Mapping[str, Any], change: Mapping[str, Any], whole: Run) -> None:
    weights, end = _weights(whole), whole.step_count
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # the store may still write
        run = made.run(folder, **values)
        run.step(_AT)
        run.set(**change)
        run.step(2)
        run.stop()
        again = open_again(run.id, made.model(), made.data, made.data, store=folder, **made.own)
        assert isinstance(again, Run)
        again.step(end - _AT - 2)
        _check(torch.equal(_weights(again), weights), "stored and opened again, it ends with other weights")
        for each in (run, again):
            if each.recorder is not None:
                each.recorder.close()


def _check_script(made: _Made, run: Run) -> None:
    text, model = run.to_python(), made.model()
    with torch.random.fork_rng():
        measured = _execute(text, model, made.data, run.techniques)
    pairs = zip(run.model.parameters(), model.parameters(), strict=True)
    difference = max(float((ours - its).detach().abs().max()) for ours, its in pairs)
    _check(difference <= _NEAR, f"the script's weights are off by {difference:.3g}")
    for name in run.history.names:
        if name in run.history.in_steps - {"loss", "lr"}:
            ours, its = run.history[name][1], measured.get(name, [])
            _check(
                len(its) == len(ours) and bool(np.allclose(its, ours, atol=_NEAR)),
                f"the script measures {name} otherwise",
            )


def _execute(text: str, model: nn.Module, data: Any, techniques: Sequence[Technique]) -> dict[str, list[float]]:
    """Run a script's ``train`` with nbopt out of reach."""
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "nbopt"}
    sys.modules["nbopt"] = None  # type: ignore[assignment]
    names: dict[str, Any] = {}
    try:
        exec(compile(text, "script.py", "exec"), names)
        train = names["train"]
        known = {key: value for own in techniques for key, value in _made_with(own).items()}
        wanted = [key for key, each in signature(train).parameters.items() if each.kind is each.KEYWORD_ONLY]
        found: dict[str, list[float]] = train(model, data, data, **{key: known[key] for key in wanted})
        return found
    finally:
        sys.modules.update(hidden)


def _made_with(technique: Technique) -> dict[str, Any]:
    """Return what a technique was made with, by the names that a script may give to it."""
    arguments, settings = technique.made_with
    bound = signature(type(technique)).bind(*arguments, **settings).arguments
    return {name: value for key, value in bound.items() for name in (key, f"{key}_of_{variable_of(technique)}")}


def _followed(run: Run, change: Mapping[str, Any]) -> Run:
    """Train to the end, with the change on the way."""
    run.changes.plan(operations({_AT: dict(change)}, "test"))
    run.start()
    run.wait(60)
    return run


def _weights(run: Run) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in run.model.parameters()])


def _history(run: Run) -> dict[str, list[float]]:
    return {name: run.history[name][1].tolist() for name in run.history.names}


def _same(run: Run, other: Run) -> bool:
    return torch.equal(_weights(run), _weights(other))


def _check(holds: bool, rule: str) -> None:
    if not holds:
        raise AssertionError(rule)


def _make_model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3))


def _make_data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(24) % 3
    return torch.randn(24, 1, 6, 6, generator=generator) + y.view(-1, 1, 1, 1), y
