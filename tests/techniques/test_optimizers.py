import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nbopt.techniques.optimizers.standard import OPTIMIZERS
from tests.techniques.tuned import Tuned, differentiate, weights

pytestmark = pytest.mark.usefixtures("one_torch_thread")
BY_BATCH = [name for name, kind in OPTIMIZERS.items() if not kind.full_batch]
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
