"""Outputs on any data, and a rest, in the middle of a training that must not notice."""

import copy
import random
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from nbopt.training.state import RunState, Validated


def plain(model, x):
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        return model(x)


class Drawing(nn.Sequential):
    """A model whose output is noisy even in evaluation."""

    def forward(self, x):
        return super().forward(x) + torch.randn(len(x), 3)


KINDS = {
    "tensor": lambda x, y: x,
    "array of doubles": lambda x, y: x.double().numpy(),
    "pair": lambda x, y: (x, y),
    "dataset": lambda x, y: TensorDataset(x, y),
    "loader": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=7),
    "loader with workers": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=7, num_workers=1),
    "loader of one column": lambda x, y: DataLoader(TensorDataset(x), batch_size=7),
    "loader that shuffles": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=7, shuffle=True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_on_any_data(make_run, mlp, blobs, kind):
    run = make_run(mlp(dropout=0.5), epochs=99)
    run.step(3)
    torch.testing.assert_close(run.predict(KINDS[kind](*blobs)), plain(run.model, blobs[0]))
    assert run.model.training


def test_outputs_before_the_first_step_and_after_the_last(make_run, mlp, blobs):
    run = make_run(mlp(dropout=0.5), epochs=1)
    before = copy.deepcopy(run.model)
    torch.testing.assert_close(run.predict(blobs[0]), plain(before, blobs[0]))
    run.fit()
    torch.testing.assert_close(run.predict(blobs[0]), plain(run.model, blobs[0]))
    assert run.state is RunState.FINISHED


def test_a_model_of_doubles_gets_doubles(make_run, mlp, blobs):
    run = make_run(mlp().double(), (blobs[0].double(), blobs[1]), epochs=99)
    assert run.predict(blobs[0].numpy()).dtype is torch.float64


def test_inputs_are_scaled_as_in_training(make_run, mlp, blobs):
    run = make_run(mlp(), scaling="standardize", epochs=99)
    run.step(3)
    x = blobs[0]
    scaled = (x - x.mean(0)) / x.std(0, correction=0)
    torch.testing.assert_close(run.predict(x), plain(run.model, scaled), rtol=1e-4, atol=1e-4)


def test_a_forward_of_ones_own_gets_batches_and_the_model_inputs(make_run, mlp, blobs):
    run = make_run(mlp(), forward=lambda model, batch: (2 * model(batch[0]), batch[1]), epochs=99)
    torch.testing.assert_close(run.predict(blobs), 2 * plain(run.model, blobs[0]))
    torch.testing.assert_close(run.predict(blobs[0]), plain(run.model, blobs[0]))


def test_outputs_that_are_containers_are_joined_item_by_item(make_run, blobs):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            return {"scores": self.head(x), "parts": (x, [x.sum(1)])}

    run = make_run(Two(), forward=lambda model, batch: (model(batch[0])["scores"], batch[1]), epochs=99)
    found = run.predict(DataLoader(blobs[0], batch_size=7))
    assert found["scores"].shape == (60, 3)
    assert torch.equal(found["parts"][0], blobs[0])
    assert torch.equal(found["parts"][1][0], blobs[0].sum(1))


@pytest.mark.parametrize("make", [nn.Sequential, Drawing])
def test_looking_again_and_again_changes_no_bit_of_the_training(make_run, blobs, make):
    models = []
    for look in (False, True):
        torch.manual_seed(0)
        models.append(make(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)))
        run = make_run(models[-1], blobs, val=blobs, batch_size=20, epochs=30)
        run.start()
        while look and run.state is RunState.RUNNING:
            assert run.predict(blobs[0]).shape == (60, 3)
        run.wait()
    pairs = zip(*(model.state_dict().values() for model in models), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_what_the_model_raises_is_for_who_asked(make_run, mlp, blobs):
    run = make_run(mlp(), epochs=10**6, store=None)
    run.start()
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        run.predict(torch.ones(5, 9))
    assert run.state is RunState.RUNNING
    run.stop()


def test_a_metric_may_ask(make_run, mlp, blobs):
    def metric(output, target):
        return run.predict(blobs[0]).mean()

    run = make_run(mlp(), metrics=metric, epochs=2)
    run.fit()
    assert len(run.history["metric"][1]) == 2
    run.rewind(0)
    assert sum(isinstance(event, Validated) for event in run.events()) == 2  # asked by whoever pulls


def test_modes_set_in_a_pause_outlive_a_look(make_run, blobs):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    run = make_run(model, blobs, epochs=99)
    run.step(2)
    model[1].eval()
    run.predict(blobs[0])
    with run.at_rest():
        pass
    assert not model[1].training
    run.step(1)
    assert not model[1].training
    model.eval()
    run.predict(blobs[0]), run.find_lr(steps=10)
    with run.at_rest():
        pass
    assert not any(module.training for module in model.modules())
    run.step(1)
    assert [module.training for module in model] == [True, False, True]


def test_a_rest_leaves_no_trace(make_run, blobs):
    models = []
    for rest in (False, True):
        torch.manual_seed(0)
        models.append(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)))
        run = make_run(models[-1], blobs, batch_size=20, epochs=40)
        states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
        run.start()
        while rest and run.state is RunState.RUNNING:
            with run.at_rest():
                assert run.state is not RunState.RUNNING
                run.model.eval()
                run.model(blobs[0])
                random.random(), np.random.rand(), torch.rand(3)
        run.wait()
        assert torch.equal(states[0], torch.get_rng_state())
        assert states[1:] == (random.getstate(), np.random.get_state()[1].tolist())
    pairs = zip(*(model.state_dict().values() for model in models), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_rest_goes_on_with_the_steps_that_were_left_and_leaves_a_run_at_rest_alone(make_run, mlp, blobs):
    begun, go_on = threading.Event(), threading.Event()

    def forward(model, batch):
        begun.set()
        go_on.wait(10)
        return model(batch[0]), batch[1]

    run = make_run(mlp(), forward=forward, epochs=99)
    run.step(7, wait=False)
    begun.wait(10)
    go_on.set()
    with run.at_rest():
        done = run.step_count
        assert 0 < done <= 7
    run.worker.wait(lambda: not run.worker.is_pulling)
    assert run.step_count == 7
    with run.at_rest():
        run.model.eval()
    assert (run.state, run.step_count, run.model.training) == (RunState.PAUSED, 7, True)


class Force(nn.Module):
    """The slope of a network by its inputs."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x):
        x = x.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(self.layers(x).sum(), x, create_graph=True)
        return slope


@pytest.mark.parametrize("trained", [0, 3])
def test_models_that_differentiate_their_inputs_predict_what_they_give(make_run, blobs, trained):
    x, _y = blobs
    run = make_run(Force(), train=(x, x), loss="mse", epochs=trained or 1)
    if trained:
        run.fit()
    predicted = run.predict(x)
    assert torch.equal(predicted, run.model.eval()(x).detach())
    assert not predicted.requires_grad
