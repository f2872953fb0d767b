"""Model families: shapes, settings, and that each learns and trains in a run."""

import pytest
import torch

import nbopt
from nbopt import Run
from nbopt.errors import InvalidHyperparam
from nbopt.techniques.models import FAMILIES
from nbopt.techniques.models.base import ACTIVATIONS

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SHAPES = {"linear": (12,), "mlp": (3, 4), "cnn": (3, 8, 8), "resnet": (3, 8, 8), "cells": (3, 8, 8)}
SERIES = (7, 3)


def sample(name):
    torch.manual_seed(0)
    return torch.randn(12, *SHAPES.get(name, SERIES)), torch.arange(12) % 2


def inputs(name):
    return 12 if name in ("linear", "mlp") else 3


@pytest.mark.parametrize("name", FAMILIES)
def test_it_turns_samples_into_scores_and_learns_them(name):
    x, y = sample(name)
    small = {"width": 8} if "width" in FAMILIES[name].declared() else {}
    model = FAMILIES[name](inputs(name), 2, **small)
    assert model(x).shape == (12, 2)
    run = Run(model, (x, y), lr=0.02, epochs=40, batch_size=12, store=None).fit()
    assert run.history.last("loss") < 0.5 * run.history["loss"][1][0]


@pytest.mark.parametrize("name", FAMILIES)
def test_depth_and_width_change_its_size(name):
    kind = FAMILIES[name]
    size = {}
    for setting in ("depth", "width"):
        if setting not in kind.declared():
            continue
        for value in (1, 2) if setting == "depth" else (8, 16):
            model = kind(inputs(name), 2, **{setting: value})
            size[value] = sum(weight.numel() for weight in model.parameters())
            assert model(sample(name)[0]).shape == (12, 2)
        assert len(set(size.values())) == len(size)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation):
    model = nbopt.models.MLP(12, 2, activation=activation)
    assert any(isinstance(module, ACTIVATIONS[activation]) for module in model.modules())


def test_numbers_of_weights_are_those_by_hand():
    count = sum(weight.numel() for weight in nbopt.models.MLP(12, 2, depth=2, width=8).parameters())
    assert count == (12 * 8 + 8) + (8 * 8 + 8) + (8 * 2 + 2)


def test_dropout_is_live_in_a_run():
    x, y = sample("mlp")
    run = Run(nbopt.models.MLP(12, 2, dropout=0.3), (x, y), store=None)
    assert run.hyperparams["dropout"] == 0.3


def test_series_of_single_numbers_and_of_another_dimension():
    assert nbopt.models.LSTM(1, 2, depth=2, dropout=0.2)(torch.randn(4, 9)).shape == (4, 2)
    assert nbopt.models.CNN(1, 2, dimensions=1)(torch.randn(4, 1, 40)).shape == (4, 2)


def test_unknown_settings_and_illegal_values_are_told_in_words():
    with pytest.raises(InvalidHyperparam, match=r"unknown setting of MLP 'dept'\. Did you mean 'depth'"):
        nbopt.models.MLP(3, 2, dept=3)
    with pytest.raises(InvalidHyperparam, match="depth must be a whole number at least 1"):
        nbopt.models.MLP(3, 2, depth=0)
    with pytest.raises(ValueError, match="width must be a multiple of heads; got 6 and 4"):
        nbopt.models.Transformer(3, 2, width=6)


CELLS = {"depth": 4, "cell_1": "conv5x5", "cell_2": "separable", "cell_3": "max_pool", "cell_4": "skip", "width": 8}


def test_a_network_of_cells_has_the_weights_of_its_operations():
    model = nbopt.models.Cells(3, 10, **CELLS, reductions=1)
    stem, conv, reduction = 3 * 8 * 9 + 16, 8 * 8 * 25 + 16, 8 * 16 + 16
    separable = 8 * 9 + 8 * 8 + 16  # before the reduction, which comes after two of four cells
    assert sum(weight.numel() for weight in model.parameters()) == stem + conv + separable + reduction + 16 * 10 + 10
    assert model.layers(torch.randn(2, 3, 8, 8)).shape == (2, 16, 4, 4)


@pytest.mark.parametrize("reductions", [0, 1, 2, 5])
@pytest.mark.parametrize("size", [1, 7, 8])
def test_cells_take_images_of_any_size(reductions, size):
    model = nbopt.models.Cells(1, 3, **CELLS, reductions=reductions)
    assert model(torch.randn(2, 1, size, size + 2)).shape == (2, 3)


def test_cells_that_are_not_there_are_refused():
    with pytest.raises(InvalidHyperparam, match="cell_3 matters only where depth is one of 3, 4, 5, 6; depth is 2"):
        nbopt.models.Cells(1, 3, depth=2, cell_3="skip")
    with pytest.raises(InvalidHyperparam, match="depth must be at most 6; got 7"):
        nbopt.models.Cells(1, 3, depth=7)
