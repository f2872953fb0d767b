import inspect

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nbopt.errors import InvalidHyperparam
from nbopt.hyperparams import Hyperparams
from nbopt.techniques.optimizers.groups import Groups
from nbopt.techniques.optimizers.standard import OPTIMIZERS, optimizer_choice

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def weights(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in [(4, 3), (3,)]]


def differentiate(params, step):
    """Set gradients that depend on weights and step."""
    for number, param in enumerate(params):
        param.grad = torch.sin(param.detach() * (number + 2) + step)


BY_BATCH = [name for name, kind in OPTIMIZERS.items() if not kind.full_batch]


class Tuned:
    """One of nbopt's optimizers over weights, with its live values."""

    def __init__(self, given, params, adopt=None, **values):
        spec, own = optimizer_choice(given)
        self.hyperparams = Hyperparams()
        self.hyperparams.declare(spec)
        for name, value in self.hyperparams.check({**own, **values}).items():
            self.hyperparams.assign(name, value)
        self.part = spec.classes[spec.default]()
        self.hyperparams.bind(self.part)
        self.torch = self.part.build(Groups(params, adopt))

    def set(self, **changes):
        for name, value in self.hyperparams.check(changes).items():
            self.hyperparams.assign(name, value)


# name, the torch class, a schedule {step: changes}, and the keys of the parameter group they come to
SCHEDULES = {
    "sgd": (
        torch.optim.SGD,
        {0: {"lr": 0.1}, 2: {"momentum": 0.9}, 4: {"lr": 0.01}, 5: {"weight_decay": 0.1}, 7: {"nesterov": True}},
        {},
    ),
    "adam": (
        torch.optim.Adam,
        {0: {"lr": 0.1}, 2: {"beta1": 0.5}, 3: {"beta2": 0.9}, 4: {"lr": 0.01}, 6: {"weight_decay": 0.1}},
        {2: {"betas": (0.5, 0.999)}, 3: {"betas": (0.5, 0.9)}},
    ),
    "adamw": (
        torch.optim.AdamW,
        {0: {"lr": 0.1, "weight_decay": 0.0}, 3: {"weight_decay": 0.5}, 5: {"lr": 0.01}, 6: {"beta1": 0.0}},
        {6: {"betas": (0.0, 0.999)}},
    ),
    "adagrad": (
        torch.optim.Adagrad,
        {0: {"lr": 0.1}, 3: {"lr_decay": 0.5}, 5: {"lr": 0.3}, 7: {"weight_decay": 0.1}},
        {},
    ),
    "rmsprop": (
        torch.optim.RMSprop,
        {0: {"lr": 0.01}, 2: {"alpha": 0.5}, 4: {"lr": 0.1}, 6: {"weight_decay": 0.1}},
        {},
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_it_agrees_with_a_hand_written_loop_also_through_changes(name):
    torch_class, schedule, translated = SCHEDULES[name]
    ours, theirs = weights(), weights()
    tuned = Tuned(name, ours)
    plain = torch_class(theirs, lr=1e-3, fused=False) if OPTIMIZERS[name].fused else torch_class(theirs, lr=1e-3)
    for step in range(10):
        tuned.set(**schedule.get(step, {}))
        for group in plain.param_groups:
            group.update(translated.get(step, schedule.get(step, {})))
        for params, optimizer in ((ours, tuned.torch), (theirs, plain)):
            differentiate(params, step)
            optimizer.step()
        for our, their in zip(ours, theirs, strict=True):
            torch.testing.assert_close(our, their, rtol=1e-5, atol=1e-6)
            if not tuned.part.fused:
                assert torch.equal(our, their)


def test_adam_is_torch_s_fused_one_bit_for_bit():
    ours, theirs = weights(), weights()
    optimizers = [Tuned("adam", ours, lr=0.1).torch, torch.optim.Adam(theirs, lr=0.1, fused=True)]
    for step in range(5):
        for params, optimizer in zip((ours, theirs), optimizers, strict=True):
            differentiate(params, step)
            optimizer.step()
    assert all(torch.equal(our, their) for our, their in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_without_changes_its_settings_are_the_declared_defaults(name):
    tuned = Tuned(name, weights())
    group = tuned.torch.param_groups[0]
    assert type(tuned.torch) is OPTIMIZERS[name].torch_class
    assert (group["lr"], group.get("weight_decay", 0.0)) == (1e-3, 0.0)


def legal(spec):
    """Values of a declaration, inside the offered range and outside."""
    if hasattr(spec, "options"):
        return st.sampled_from(spec.options)
    if isinstance(spec.default, bool):
        return st.booleans()
    top = {"max_value": spec.lt, "exclude_max": True} if spec.lt is not None else {"max_value": 1e30}
    return st.one_of(st.floats(spec.low, spec.high), st.floats(min_value=spec.ge, **top))


@pytest.mark.parametrize("name", BY_BATCH)
@given(data=st.data())
def test_every_legal_value_reaches_torch_at_once_and_torch_takes_it(name, data):
    params = weights()
    tuned = Tuned(name, params)
    declared = OPTIMIZERS[name].declared()
    for step in range(4):
        key = data.draw(st.sampled_from(sorted(declared)))
        tuned.set(**{key: data.draw(legal(declared[key]), label=key)})
        assert all(tuned.torch.param_groups[0][k] == v for k, v in tuned.part.settings().items())
        differentiate(params, step)
        tuned.torch.step()


def test_momentum_can_be_switched_on_in_the_middle_of_rmsprop():
    params = weights()
    tuned = Tuned("rmsprop", params)
    for step, momentum in enumerate([0.0, 0.9, 0.9, 0.0, 0.5]):
        tuned.set(momentum=momentum)
        differentiate(params, step)
        tuned.torch.step()
    fresh, expected = weights(), weights()
    tuned = Tuned("rmsprop", fresh, momentum=0.9)
    plain = torch.optim.RMSprop(expected, lr=1e-3, momentum=0.9)
    for step in range(4):
        differentiate(fresh, step)
        differentiate(expected, step)
        tuned.torch.step()
        plain.step()
    assert torch.equal(fresh[0], expected[0])


@pytest.mark.parametrize("name", BY_BATCH)
def test_a_weight_that_gets_its_first_gradient_late_is_no_problem(name):
    params = weights()
    tuned = Tuned(name, params, **({"momentum": 0.9} if "momentum" in OPTIMIZERS[name].declared() else {}))
    for step in range(4):
        differentiate(params, step)
        if step < 2:
            params[1].grad = None
        tuned.torch.step()
    assert not torch.equal(params[1], weights()[1])


def test_sparse_gradients_work_where_torch_has_them():
    table = nn.Embedding(5, 3, sparse=True)
    tuned = Tuned("sgd", list(table.parameters()), lr=0.1)
    before = table.weight.detach().clone()
    table(torch.tensor([1, 3])).sum().backward()
    tuned.torch.step()
    assert (table.weight.detach() != before).any(1).tolist() == [False, True, False, True, False]


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
