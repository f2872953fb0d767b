"""Optimizers of the user's: instances, classes and parameter groups, torch's and others."""

import inspect

import pytest
import torch
from torch import nn

from nbopt.errors import InvalidHyperparam
from nbopt.techniques.optimizers.standard import OPTIMIZERS, optimizer_choice
from tests.techniques.tuned import Tuned, differentiate, weights

pytestmark = pytest.mark.usefixtures("one_torch_thread")


# -- the user's own optimizer


def test_an_instance_is_taken_over_as_it_is():
    params = weights()
    own = torch.optim.AdamW(params, lr=0.3, betas=(0.8, 0.99), weight_decay=0.2, amsgrad=True)
    tuned = Tuned(own, params, adopt=own)
    assert tuned.torch is own
    values = tuned.hyperparams
    assert [values[k] for k in ("optimizer", "lr", "beta1", "beta2", "weight_decay")] == ["adamw", 0.3, 0.8, 0.99, 0.2]
    tuned.set(lr=0.1, beta1=0.7)
    group = own.param_groups[0]
    assert (group["lr"], group["betas"], group["amsgrad"]) == (0.1, (0.7, 0.99), True)


def test_parameter_groups_keep_what_they_were_given_until_it_is_changed():
    first, second = weights()
    groups = [{"params": [first], "weight_decay": 0.1}, {"params": [second], "weight_decay": 0.0, "lr": 1e-4}]
    own = torch.optim.SGD(groups, lr=1e-3, momentum=0.5)
    own.param_groups[1]["momentum"] = 0.7
    tuned = Tuned(own, [first, second], adopt=own)

    def each(key):
        return [group[key] for group in own.param_groups]

    assert (each("lr"), each("weight_decay"), each("momentum")) == ([1e-3, 1e-4], [0.1, 0.0], [0.5, 0.7])
    assert (tuned.hyperparams["lr"], tuned.hyperparams["weight_decay"]) == (1e-3, 0.1)
    tuned.set(lr=1e-2)
    assert each("lr") == pytest.approx([1e-2, 1e-3])
    assert (each("weight_decay"), each("momentum")) == ([0.1, 0.0], [0.5, 0.7])
    tuned.set(weight_decay=0.4, momentum=0.9)
    assert (each("weight_decay"), each("momentum")) == ([0.4, 0.0], [0.9, 0.9])
    tuned.set(lr=0.0)
    tuned.set(lr=1e-3)
    assert each("lr") == pytest.approx([1e-3, 1e-4])


def test_the_largest_value_among_the_groups_is_the_one_shown_wherever_it_stands():
    first, second = weights()
    own = torch.optim.SGD([{"params": [first], "lr": 1e-4}, {"params": [second], "lr": 1e-2}], lr=1.0)
    tuned = Tuned(own, [first, second], adopt=own)
    assert tuned.hyperparams["lr"] == 1e-2
    tuned.set(lr=1e-1)
    assert [group["lr"] for group in own.param_groups] == pytest.approx([1e-3, 1e-1])


def test_a_value_given_beside_an_instance_wins():
    params = weights()
    own = torch.optim.SGD(params, lr=0.3)
    assert Tuned(own, params, adopt=own, lr=0.2).torch.param_groups[0]["lr"] == 0.2


@pytest.mark.parametrize("torch_class", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
def test_a_class_brings_its_own_defaults(torch_class):
    params = weights()
    tuned = Tuned(torch_class, params)
    assert type(tuned.torch) is torch_class
    expected = torch_class(weights()).param_groups[0]
    assert (tuned.hyperparams["lr"], tuned.hyperparams["weight_decay"]) == (expected["lr"], expected["weight_decay"])


FIT_FOR_STEPS = [
    torch_class
    for name, torch_class in inspect.getmembers(torch.optim, inspect.isclass)
    if issubclass(torch_class, torch.optim.Optimizer)
    and torch_class not in (torch.optim.Optimizer, torch.optim.LBFGS, torch.optim.SparseAdam)
]


@pytest.mark.parametrize("torch_class", FIT_FOR_STEPS)
def test_any_torch_optimizer_agrees_with_torch_and_its_shared_hyperparameters_are_live(torch_class):
    ours, theirs = weights()[:1], weights()[:1]
    tuned, plain = Tuned(torch_class, ours), torch_class(theirs)
    for step in range(6):
        if step == 3:
            tuned.set(lr=0.05)
            plain.param_groups[0]["lr"] = 0.05
        if step == 4 and "weight_decay" in plain.defaults:
            tuned.set(weight_decay=0.1)
            plain.param_groups[0]["weight_decay"] = 0.1
        for params, optimizer in ((ours, tuned.torch), (theirs, plain)):
            differentiate(params, step)
            optimizer.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


class Lion(torch.optim.Optimizer):
    """An optimizer nbopt does not know: lr without a default, momentum a whole number."""

    def __init__(self, params, lr, momentum=0):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for param in group["params"]:
                param -= group["lr"] * param.grad.sign() * (1 + group["momentum"])


def test_an_optimizer_of_the_user_s_joins_the_drop_down_with_what_it_shares():
    params = weights()
    tuned = Tuned(Lion, params)
    assert tuned.hyperparams.spec("optimizer").options == (*OPTIMIZERS, "Lion")
    assert set(optimizer_choice(Lion)[0].classes["Lion"].declared()) == {"lr", "weight_decay", "momentum"}
    tuned.set(momentum=0.5, lr=0.1, weight_decay=0.3)
    assert (tuned.torch.param_groups[0]["momentum"], tuned.torch.param_groups[0]["lr"]) == (0.5, 0.1)
    assert "weight_decay" not in tuned.torch.param_groups[0]


class Impatient(torch.optim.SGD):
    """It cannot do without a closure."""

    def step(self, closure):
        return super().step(closure)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("adm", "unknown optimizer 'adm'. Did you mean 'adam'"),
        (nn.Linear, "unknown optimizer.*a torch.optim class or instance"),
        (3, "unknown optimizer 3"),
        (Impatient, "optimizer Impatient evaluates the model several times a step"),
        (torch.optim.Optimizer, "unknown optimizer 'Optimizer'"),
    ],
)
def test_what_is_no_optimizer_is_told_in_words(given, message):
    with pytest.raises(InvalidHyperparam, match=message):
        optimizer_choice(given)


def test_names_are_taken_in_any_case():
    assert optimizer_choice("AdamW")[0].default == "adamw"
