"""Every hyperparameter that may differ between members does so as in the single runs; every other is one for all."""

import pytest
import torch
from torch import nn

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.hyperparams import Choice, Flag
from nbopt.run.population.values import find_shared
from tests.run.population.shared import assert_same, model_of

pytestmark = pytest.mark.usefixtures("one_torch_thread")

# What has to be given beside a hyperparameter for it to act.
BESIDE = {
    "momentum": {"optimizer": "sgd"},
    "nesterov": {"optimizer": "sgd", "momentum": 0.5},
    "alpha": {"optimizer": "rmsprop"},
    "lr_decay": {"optimizer": "adagrad"},
    **{key: {"optimizer": "lbfgs"} for key in ("max_iter", "history_size", "line_search")},
    **{key: {"optimizer": "newton"} for key in ("damping", "cg_iterations")},
    "gamma": {"loss": "focal"},
    "margin": {"loss": "hinge"},
    **{key: {"early_stopping": True} for key in ("patience", "min_delta")},
    **{key: {"scaling": "range"} for key in ("range_low", "range_high")},
    **{key: {"schedule": "step"} for key in ("step_size", "step_gamma")},
    "exponential_gamma": {"schedule": "exponential"},
    "final_share": {"schedule": "cosine"},
    **{key: {"schedule": "one_cycle"} for key in ("pct_start", "start_share")},
    **{key: {"schedule": "plateau"} for key in ("plateau_patience", "plateau_factor")},
    **{key: {"schedule": "bold_driver"} for key in ("bold_up", "bold_down")},
    **{f"hyperdescent_{key}": {"hyperdescent": "lr"} for key in ("every", "steps", "rate")},
    "hypergradient_lr": {"schedule": "hypergradient"},
    "initial_gain": {"initialization": "xavier"},
    "fold_batch_norm": {"weight_bits": 4, "bits_by_channel": False},
}
VALUES = {
    "bits_layers": ["*", "0"],
    "steps": [4, 6],
    "epochs": [1, 2],
    "margin": [1.0, 0.5],
    "warmup": [0.5, 1.0],
    "initialization": ["xavier", "kaiming"],
}


def dense():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def normed():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


MODELS = {"fold_batch_norm": normed}
IMAGES = ("crop", "flip", "rotate", "zoom")


def data(*shape):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(40, *shape or (6,), generator=generator), torch.arange(40) % 3


def settings_of(name):
    return {"batch_size": 16, "epochs": 2, "optimizer": "adam", "lr": 0.01, **BESIDE.get(name, {})}


DECLARED = nbopt.Run(dense(), data(), 0.2, store=None).hyperparams
SHARED = find_shared()


def two_values(name):
    """Return two values of a hyperparameter, neither of which switches it off."""
    spec = DECLARED.spec(name)
    if name in VALUES:
        return VALUES[name]
    if isinstance(spec, Flag):
        return [False, True]
    if isinstance(spec, Choice):
        return [option for option in spec.options if option != spec.default][:2] or [spec.default] * 2
    low, high = (max(spec.low, 1e-3), min(spec.high, 0.9)) if isinstance(spec.low, float) else (spec.low, spec.low + 2)
    return [spec.check(low), spec.check(high)]


@pytest.mark.parametrize("name", sorted(DECLARED.keys() - SHARED))
def test_it_differs_as_between_single_runs(name):
    settings = {key: value for key, value in settings_of(name).items() if key != name}
    values = two_values(name)
    make, samples = (flat, data(1, 4, 4)) if name in IMAGES else (MODELS.get(name, dense), data())
    population = nbopt.Population(model_of(make), samples, 0.2, **settings, **{name: values}).fit()
    for member, value in zip(population, values, strict=True):
        run = nbopt.Run(model_of(make), samples, 0.2, store=None, **settings, **{name: value}).fit()
        assert member.hyperparams[name] == value
        assert_same(member, run)


@pytest.mark.parametrize("name", sorted(SHARED))
def test_it_is_one_for_all(name):
    values = two_values(name)
    if name == "batch_size":
        values = [8, 16]
    made = nbopt.Population(model_of(dense), data(), 0.2, lr=[0.01, 0.02], epochs=1)
    with pytest.raises(InvalidHyperparam, match=f"{name}: it is one for all"):
        made.set(members=[0], **{name: values[1] if values[1] != made[0].hyperparams[name] else values[0]})
    made.set(**{name: values[0]})
    assert made.fit().state is nbopt.RunState.FINISHED
    assert {member.hyperparams[name] for member in made} == {values[0]}
