"""A network on the plane: what the sketch says is what the network says, and training does not notice."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import nbopt
from nbopt.notebook.playground.data import make_points
from nbopt.notebook.playground.network import ACTIVATIONS, changed_weights, make_network
from nbopt.viz.boundary import SIDE, UNIT_SIDE, Boundary

REACH = 1.5


def places():
    """The places of the field, from the top left corner row by row."""
    across = torch.linspace(-REACH, REACH, SIDE)
    y, x = torch.meshgrid(across.flip(0), across, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_field_is_the_networks_own_prediction(activation, depth):
    model = make_network(depth, 5, activation, seed=3)
    sketch = Boundary(model, REACH).sketch()
    with torch.no_grad():
        wanted = torch.softmax(model.eval()(places()), 1)[:, 1].reshape(SIDE, SIDE).numpy()
    assert np.abs(sketch.field / 65535 - wanted).max() < 1e-4
    assert [len(units) for units in sketch.units] == [2, *[5] * depth, 1]
    sizes = [2, *[5] * depth, 1]
    assert [weight.shape for weight in sketch.weights] == [(b, a) for a, b in pairwise(sizes)]
    assert all(units.shape[1:] == (UNIT_SIDE, UNIT_SIDE) for units in sketch.units)


@pytest.mark.parametrize("change", [{"sparsity": 0.6}, {"weight_bits": 2}, {"codebook": 2}])
def test_the_field_is_what_the_run_computes_at_rest_and_while_it_trains(change):
    model, points = make_network(2, 6, "relu", seed=1), make_points("moons", 40, 0.2, 0)
    run = nbopt.Run(model, (points.x, points.y), device="cpu", store=None, tier="eager")
    boundary = Boundary(model, REACH, partial(changed_weights, run))
    run.step(5)
    plain = boundary.sketch().field
    for value in (change, dict.fromkeys(change, 0)):
        run.set(**value)
        for steps in (0, 3):
            if steps:
                run.step(steps)
            wanted = torch.softmax(run.predict(places()), 1)[:, 1].reshape(SIDE, SIDE).numpy()
            assert np.abs(boundary.sketch().field / 65535 - wanted).max() < 1e-4
        assert not np.array_equal(boundary.sketch().field, plain)


def test_inputs_are_drawn_as_they_lie_in_the_plane():
    across, up = Boundary(make_network(1, 2, "tanh", 0), REACH).sketch().units[0].astype(int)
    assert (np.diff(across, axis=1) > 0).all() and (np.diff(up, axis=0) < 0).all()


def test_the_last_weights_lead_to_the_difference_of_both_scores():
    model = make_network(1, 4, "relu", 0)
    last = model[-1].weight.detach()
    assert np.array_equal(Boundary(model, REACH).sketch().weights[-1], (last[1:] - last[:1]).numpy())


def test_dropout_is_off_and_the_model_stays_in_training_mode():
    model = make_network(2, 4, "tanh", 0)
    boundary, before = Boundary(model, REACH), None
    for layer in model:
        if isinstance(layer, nn.Dropout):
            layer.p = 0.9
    model.train()
    for _time in range(3):
        field = boundary.sketch().field
        assert before is None or np.array_equal(field, before)
        before = field
    assert model.training


def test_a_network_that_diverged_is_drawn_without_a_warning():
    model = make_network(1, 4, "relu", 0)
    with torch.no_grad():
        model[0].weight.fill_(float("nan"))
    sketch = Boundary(model, REACH).sketch()
    assert (sketch.field == 32768).all() and (sketch.units[1] == 128).all()


def test_a_layer_it_does_not_know_is_refused_in_words():
    with pytest.raises(TypeError, match="a layer of GELU cannot be drawn"):
        Boundary(nn.Sequential(nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 2)), REACH)


def test_a_run_watched_at_every_step_ends_with_the_weights_of_one_that_is_not(one_torch_thread):
    points, ends = make_points("moons", 40, 0.2, seed=1), []
    for watched in (True, False):
        model = make_network(2, 4, "tanh", seed=1)
        boundary = Boundary(model, REACH)
        run = nbopt.Run(model, (points.x, points.y), (points.x_val, points.y_val), epochs=5, dropout=0.3, store=None)
        for _event in run.events():
            if watched:
                boundary.sketch()
        ends.append([part.tolist() for part in model.parameters()])
    assert ends[0] == ends[1]
