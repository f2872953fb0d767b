"""What every technique promises, whoever wrote it: each stands in `ROWS`, or a test here fails.

Known answers stand beside: test_schedules, test_optimizers, test_second_order, test_clipping, test_augmentation,
test_preprocessing, test_losses, test_penalties.
"""

import re
from typing import NamedTuple

import pytest
import torch
from torch import nn

from nbopt import Run, RunState
from nbopt.hyperparams import Choice, Flag, Strategy, Text
from nbopt.techniques.catalogue import PARTS
from nbopt.techniques.initialization import Initialization
from nbopt.techniques.losses.choice import LOSSES
from nbopt.techniques.optimizers.standard import OPTIMIZERS
from tests.export import scripts
from tests.export.scripts import is_tidy

pytestmark = pytest.mark.usefixtures("one_torch_thread")


class Row(NamedTuple):
    """A technique: its class, values that make it act, and a change that the very next step feels."""

    kind: type
    values: dict
    change: dict
    task: str = "classification"


def rows():
    """Return all rows by name."""
    found = {}
    for item in PARTS:
        if isinstance(item, Strategy):
            for name, kind in item.classes.items():
                values = {"step_size": 1.0} if name == "step" else {}
                found[f"{item.name}={name}"] = Row(kind, {item.name: name, **values}, CHANGES.get(name, {}))
        elif item is not Initialization:  # which nothing can change later: test_initialization
            found[item.__name__] = Row(item, *ACTING.get(item.__name__, ({}, {})))
    for name, kind in OPTIMIZERS.items():
        found[f"optimizer={name}"] = Row(kind, {"optimizer": name}, {"weight_decay": 0.5, **CHANGES.get(name, {})})
    for name, kind in LOSSES.items():
        other = next(other for other, each in LOSSES.items() if each.task == kind.task and other != name)
        own = dict.fromkeys(kind.declared(), 0.4)
        found[f"loss={name}"] = Row(kind, {"loss": name}, own or {"loss": other}, kind.task)
    return found


# What makes each part act, and the change.
ACTING = {
    "Accumulation": ({"micro_batch": 3}, {"micro_batch": 2}),
    "Dropout": ({"dropout": 0.3}, {"dropout": 0.0}),
    "EarlyStopping": ({"early_stopping": True, "patience": 9}, {"patience": 8}),
    "HyperDescent": (
        {"hyperdescent": "lr", "hyperdescent_every": 1, "hyperdescent_steps": 2},
        {"hyperdescent_rate": 1.0},
    ),
    "Guard": ({"recover": True}, {"recover": False}),
    "Cleaning": ({"impute": "mean", "outliers": 2.0}, {"outliers": 1.0}),
    "Scaling": ({"scaling": "standardize"}, {"scaling": "range"}),
    "Warp": ({"rotate": 20.0, "zoom": 0.2, "crop": 0.1}, {"rotate": 0.0}),
    "Flip": ({"flip": 0.5}, {"flip": 1.0}),
    "Mixup": ({"mixup": 0.5}, {"mixup": 0.0}),
    "InputNoise": ({"input_noise": 0.2}, {"input_noise": 0.1}),
    "L1": ({"l1": 0.1}, {"l1": 0.05}),
    "ClipValue": ({"clip_value": 0.01}, {"clip_value": 0.02}),
    "ClipNorm": ({"clip_norm": 0.05}, {"clip_norm": 0.1}),
    "Warmup": ({"warmup": 2.0}, {"warmup": 4.0}),
    "Precision": ({"precision": "bfloat16"}, {"precision": "float16"}),
    "ChannelsLast": ({"channels_last": True}, {"channels_last": False}),
    "GroupLasso": ({"group_lasso": 0.1}, {"group_lasso": 0.3}),
    "Sparsity": ({"sparsity": 0.5}, {"sparsity": 0.8}),
    "WeightBits": ({"weight_bits": 4}, {"weight_bits": 2, "step_size_rate": 0.1}),
    "ActivationBits": ({"activation_bits": 4}, {"activation_bits": 2}),
    "Codebook": ({"codebook": 16}, {"codebook": 4}),
    "MaxNorm": ({"max_norm": 0.3}, {"max_norm": 0.2}),
}
# For strategies: values that differ from the defaults. An epoch has three steps.
CHANGES = {
    "constant": {"schedule": "cosine"},
    "step": {"step_size": 0.5},
    "exponential": {"exponential_gamma": 0.5},
    "linear": {"final_share": 0.5},
    "cosine": {"final_share": 0.5},
    "one_cycle": {"pct_start": 0.8},
    "plateau": {"schedule": "cosine"},
    "bold_driver": {"schedule": "cosine"},
    "hypergradient": {"hypergradient_lr": 0.1},
    "sgd": {"momentum": 0.9},
    "lbfgs": {"max_iter": 1, "line_search": False},
    "newton": {"damping": 5.0},
}
COURSE = {"Accumulation", "EarlyStopping", "Guard"}  # the weights are the same, up to rounding, where all goes well
ROWS = rows()
WHOLE = {"optimizer=lbfgs", "optimizer=newton"}  # a step sees all samples: an epoch has one, not three
STEPS, AT = 12, 7


@pytest.fixture(scope="module")
def images():
    """Return 24 images in three classes, one pixel missing, and as many to validate on."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(24) % 3
    x = torch.randn(24, 1, 6, 6, generator=generator) + y.view(-1, 1, 1, 1)
    return x, y


@pytest.fixture
def data(name, images):
    """Return the images, with targets that suit the technique."""
    x, y = images
    return x, {"classification": y, "binary": (y > 0).long(), "regression": y.float()}[ROWS[name].task]


@pytest.fixture
def net(name):
    """Return a maker of a model with as many outputs as the technique needs."""

    def make():
        torch.manual_seed(0)
        last = nn.Linear(64, 3 if ROWS[name].task == "classification" else 1)
        drops = [nn.Dropout(0.0)] if name == "Dropout" else []
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), *drops, last)

    return make


@pytest.fixture
def make(name, net, data):
    """Return a maker of runs."""
    loss = first_loss(ROWS[name].task)
    return lambda **settings: new_run(net(), data, **{"loss": loss, **settings})


def first_loss(task):
    return next(key for key, kind in LOSSES.items() if kind.task == task)


def new_run(model, data, **settings):
    settings = {"lr": 0.05, "optimizer": "sgd", "batch_size": 8, "epochs": 12, "recover": False, **settings}
    return Run(model, data, data, device="cpu", store=None, **settings)


def weights(run):
    return torch.cat([weight.detach().flatten() for weight in run.model.parameters()])


def same(run, other):
    """Return whether two runs' weights are the same, and lie in memory in the same order."""
    order = [[weight.stride() for weight in each.model.parameters()] for each in (run, other)]
    return torch.equal(weights(run), weights(other)) and order[0] == order[1]


def ends(spec):
    """Return the values at both ends of what a control offers, and of what is legal where that is a number."""
    if isinstance(spec, Flag):
        return [False] if spec.refused else [True, False]
    if isinstance(spec, Choice):
        return list(spec.options)
    if isinstance(spec, Text):
        return [spec.default]
    return sorted({spec.low, spec.high, *([] if spec.ge is None else [spec.ge])})


@pytest.mark.parametrize("name", ROWS)
def test_it_stands_in_the_table_with_a_source_and_words_for_its_controls(name):
    row = ROWS[name]
    assert row.values and row.change, "add it to ACTING or CHANGES"
    assert re.search(r"\b(1[789]|20)\d\d\b", row.kind.__doc__), "name where it comes from: author and year"
    for spec in row.kind.declared().values():
        assert spec.label and spec.group, spec.name
        assert spec.help.endswith("."), spec.name


@pytest.mark.parametrize("name", ROWS)
def test_both_ends_of_its_ranges_are_safe(name, make):
    row = ROWS[name]
    known = make().hyperparams  # as the run has them: a model may leave less
    for spec in map(known.spec, row.kind.declared()):
        for value in ends(spec):
            run = make(**{**row.values, "epochs": 2, spec.name: value})
            assert run.fit().state is RunState.FINISHED


@pytest.mark.parametrize("name", [name for name in ROWS if name not in COURSE])
def test_it_acts_and_a_change_is_felt_at_the_very_next_step(name, make):
    row = ROWS[name]
    changed, unchanged, without = make(**row.values), make(**row.values), make()
    changed.step(AT)
    unchanged.step(AT)
    without.step(AT)
    if name not in (
        "schedule=constant",
        "schedule=plateau",
        "optimizer=sgd",
        f"loss={first_loss(row.task)}",
    ):  # there is no plateau yet
        assert not same(without, changed)
    assert same(changed, unchanged)
    changed.set(**row.change)
    changed.step(1)
    unchanged.step(1)
    assert not same(changed, unchanged)


@pytest.mark.parametrize("name", ROWS)
def test_script_recipe_rewind_and_replay_do_the_same(name, make, net, data):
    """A script up to rounding, all others bit for bit."""
    row = ROWS[name]
    run = make(**row.values, epochs=STEPS if name in WHOLE else STEPS // 3)
    run.step(AT)
    run.set(**row.change)
    run.step(2)
    run.set(**row.values)
    run.step(STEPS - AT - 2)
    assert run.state is RunState.FINISHED
    after, history = weights(run), {key: run.history[key][1].tolist() for key in run.history}
    text, largest = scripts.check(run, net(), data, data)
    assert largest <= 1e-6
    assert is_tidy(text)
    recipe = Run.from_yaml(run.to_yaml(), net(), data, data, store=None)
    recipe.fit()
    assert torch.equal(weights(recipe), after)
    for step in (AT, AT + 1):
        changes = [entry for entry in run.journal.schedule() if entry.step >= step and entry.source == "code"]
        run.rewind(step)
        for change in changes:
            run.step(change.step - run.step_count) if change.step > run.step_count else None
            run.set(**{change.name: change.value})
        run.step(STEPS - run.step_count)
        assert torch.equal(weights(run), after), step
    twin = run.replay()
    twin.wait(60)
    assert torch.equal(weights(twin), after)
    assert {key: twin.history[key][1].tolist() for key in twin.history} == history
