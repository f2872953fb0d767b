"""Optimizers as people bring them: made by a function, without a learning rate, or with one that is a tensor."""

from functools import partial

import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbopt
from nbopt import Run
from nbopt.errors import InvalidHyperparam


class SelfPaced(torch.optim.Optimizer):
    """Finds its own rate, a tenth over the root of its steps, unless it is given one."""

    def __init__(self, params, lr=None):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                state["step"] = state.get("step", 0) + 1
                rate = 0.1 / state["step"] ** 0.5 if group["lr"] is None else group["lr"]
                weight -= rate * weight.grad


class Rateless(torch.optim.Optimizer):
    """Knows no ``lr`` at all."""

    def __init__(self, params, gain=0.05):
        super().__init__(params, {"gain": gain})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                weight -= group["gain"] * weight.grad


def loader(blobs):
    return DataLoader(TensorDataset(*blobs), batch_size=16)


def plain(model, optimizer, blobs, epochs=2, change=None):
    """Train as a loop of one's own does; ``change(optimizer)`` before step 3."""
    step = 0
    for _epoch in range(epochs):
        for x, y in loader(blobs):
            if step == 3 and change is not None:
                change(optimizer)
            optimizer.zero_grad()
            functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            step += 1
    return model


def same(one, other):
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


MAKERS = {
    "partial": partial(torch.optim.Adam, lr=0.01, eps=1e-4, betas=(0.8, 0.9)),
    "amsgrad": partial(torch.optim.AdamW, lr=0.01, amsgrad=True),
    "lambda": lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9, dampening=0.3),
    "own class": partial(SelfPaced, lr=0.03),
    "no rate": SelfPaced,
    "no lr": Rateless,
}


@pytest.mark.parametrize("name", MAKERS)
def test_an_optimizer_made_by_a_function_steps_as_in_a_plain_loop(mlp, blobs, name):
    make, model = MAKERS[name], mlp()
    right = plain(mlp(), None, blobs, epochs=0)
    plain(right, make(right.parameters()), blobs)
    run = Run(model, loader(blobs), optimizer=make, epochs=2, store=None).fit()
    assert same(model, right)
    again = run.replay()
    again.wait()
    assert same(again.model, right)


def test_settings_beside_the_hyperparameters_survive_a_swap_a_branch_and_a_script(mlp, blobs, make_run):
    make = MAKERS["partial"]
    run = make_run(mlp(), blobs, optimizer=make, epochs=2, batch_size=16)
    run.step(3)
    twin = run.branch(at=2)
    assert twin.optimizer.param_groups[0]["eps"] == 1e-4
    run.set(optimizer="sgd")
    run.step(1)
    run.set(optimizer="adam")
    run.step(1)
    assert run.optimizer.param_groups[0]["eps"] == 1e-4
    assert "EPS = 0.0001" in twin.to_python()


def test_a_run_with_such_an_optimizer_is_opened_again(mlp, blobs, tmp_path):
    whole = Run(mlp(), blobs, optimizer=MAKERS["partial"], epochs=3, batch_size=16, store=None).fit()
    run = Run(mlp(), blobs, optimizer=MAKERS["partial"], epochs=3, batch_size=16, store=tmp_path)
    run.step(5)
    run.recorder.close()
    with pytest.raises(ValueError, match="give it again as optimizer="):
        nbopt.open(run.id, mlp(), blobs, store=tmp_path)
    opened = nbopt.open(run.id, mlp(), blobs, optimizer=MAKERS["partial"], store=tmp_path).fit()
    assert same(opened.model, whole.model)


@pytest.mark.parametrize("kind", [SelfPaced, Rateless])
@pytest.mark.parametrize("given", ["instance", "class"])
def test_without_a_learning_rate_there_is_none_to_set(mlp, blobs, kind, given):
    model, right = mlp(), mlp()
    plain(right, kind(right.parameters()), blobs)
    optimizer = kind(model.parameters()) if given == "instance" else kind
    run = Run(model, loader(blobs), optimizer=optimizer, epochs=2, store=None)
    assert "lr" not in run.hyperparams.active
    with pytest.raises(ValueError, match="finds its own learning rate: there is none to try"):
        run.find_lr()
    run.step(3)
    run.set(lr=0.5)
    assert "finds its own learning rate" in run.journal[-1].new
    run.fit()
    assert same(model, right)
    run.set(optimizer="sgd", lr=0.2)
    assert "lr" in run.hyperparams.active
    assert run.optimizer.param_groups[0]["lr"] == 0.2


RATES = [{"lr": 0.1}, {"warmup": 1.0}, {"warmup_steps": 9}, {"schedule": "cosine"}]


@pytest.mark.parametrize("settings", RATES, ids=str)
def test_a_rate_for_an_optimizer_without_one_is_refused(mlp, blobs, settings):
    with pytest.raises(InvalidHyperparam, match="SelfPaced was made without a learning rate and finds its own: leave"):
        Run(mlp(), blobs, optimizer=SelfPaced, **settings)


def test_a_learning_rate_that_is_a_tensor_stays_one(mlp, blobs):
    model, right, rate = mlp(), mlp(), torch.tensor(0.01)
    optimizer = torch.optim.Adam(right.parameters(), lr=rate.clone())
    plain(right, optimizer, blobs, change=lambda optimizer: optimizer.param_groups[0]["lr"].fill_(0.02))
    own = torch.optim.Adam(model.parameters(), lr=rate)
    run = Run(model, loader(blobs), optimizer=own, epochs=2, store=None)
    run.step(3)
    run.set(lr=0.02)
    run.fit()
    assert same(model, right)
    assert isinstance(own.param_groups[0]["lr"], torch.Tensor)
    run.rewind(2)
    assert own.param_groups[0]["lr"].item() == pytest.approx(0.01)
    twin = run.branch(at=2)
    assert twin.fit() is twin
    run.fit()
    assert same(twin.model, model)


def test_groups_of_which_one_has_no_rate_keep_theirs(mlp, blobs):
    model, right = mlp(), mlp()

    def groups(model):
        return [{"params": model[0].parameters(), "lr": 0.05}, {"params": model[3].parameters()}]

    plain(right, SelfPaced(groups(right)), blobs)
    Run(model, loader(blobs), optimizer=SelfPaced(groups(model)), epochs=2, store=None).fit()
    assert same(model, right)


def test_a_setting_beside_an_instance_is_given_where_that_is_made(mlp, blobs):
    model = mlp()
    with pytest.raises(InvalidHyperparam, match=r"eps is a setting of Adam .* give it where you make the optimizer"):
        Run(model, blobs, optimizer=torch.optim.Adam(model.parameters()), eps=1e-4)


class Lasting(torch.optim.SGD):
    """Keeps half of each gradient for the next step, in the place of momentum."""

    def zero_grad(self, set_to_none=True):
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.grad.mul_(0.5)


def keep_half(optimizer):
    """Give an optimizer such a ``zero_grad`` of its own."""
    optimizer.zero_grad = partial(Lasting.zero_grad, optimizer)
    return optimizer


@pytest.mark.parametrize(
    "make",
    [partial(Lasting, lr=0.1), lambda weights: keep_half(torch.optim.SGD(weights, lr=0.1))],
    ids=["class", "object"],
)
def test_an_optimizers_own_zero_grad_is_called(mlp, blobs, make):
    model, theirs = mlp(), mlp()
    plain(theirs, make(theirs.parameters()), blobs)
    Run(model, loader(blobs), optimizer=make(model.parameters()), epochs=2, store=None).fit()
    assert same(model, theirs)
