"""Channels last against loops written by hand: the same, bit for bit, whenever it is switched."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbopt
from nbopt.techniques.precision.channels_last import lay_out
from tests.techniques.images import KINDS, batches, net, weights

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def images_in(run):
    """Return the memory formats of all images that a run holds: weights, buffers and the optimizer's state."""
    tensors = [*run.model.parameters(), *run.model.buffers()]
    tensors += [value for state in run.optimizer.state.values() for value in state.values()]
    images = [tensor for tensor in tensors if isinstance(tensor, torch.Tensor) and tensor.ndim == 4]
    return {tensor.is_contiguous(memory_format=torch.channels_last) for tensor in images}


# -- known answers


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_by_hand_does_the_same_and_switches_at_the_same_step(make, images, kind, precision):
    settings, optimizer = KINDS[kind]
    schedule, model, last = {2: True, 5: False, 7: True}, net(), False
    optimizer = optimizer(model.parameters())
    for step, (x, y) in enumerate(batches(images, 9)):
        if step in schedule:
            last = schedule[step]
            order = torch.channels_last if last else torch.contiguous_format
            model.to(memory_format=order)
            for state in optimizer.state.values():
                state.update({k: v.to(memory_format=order) for k, v in state.items() if v.ndim == 4})
        optimizer.zero_grad()
        x = x.to(memory_format=torch.channels_last) if last else x
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    run = make(precision=precision, **settings)
    for step, value in schedule.items():
        run.step(step - run.step_count)
        before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
        run.set(channels_last=value)
        for name, tensor in run.model.state_dict().items():
            assert torch.equal(tensor, before[name])
        assert images_in(run) == {value}
    run.step(9 - run.step_count)
    assert torch.equal(weights(run.model), weights(model))
    assert [w.stride() for w in run.model.parameters()] == [w.stride() for w in model.parameters()]


def fused_step(kind, order_of_state):
    """Do one fused step on a weight in channels last, from a state that holds the same numbers in either order."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last))
    weight.grad = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
    state = torch.rand(4, 3, 3, 3).to(memory_format=order_of_state)
    optimizer = kind([weight], lr=0.1, fused=True)
    optimizer.param_groups[0]["momentum"] = 0.9
    keys = (
        {"exp_avg": state, "exp_avg_sq": state.clone()} if kind is not torch.optim.SGD else {"momentum_buffer": state}
    )
    optimizer.state[weight] = {**keys, "step": torch.tensor(3.0)}
    return weight, optimizer


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_fused_kernels_pair_the_wrong_numbers_unless_the_state_follows(kind):
    """Why a switch converts the optimizer's state. Where this fails torch has learnt to look at strides."""
    right, optimizer = fused_step(kind, torch.channels_last)
    optimizer.step()
    wrong, optimizer = fused_step(kind, torch.contiguous_format)
    optimizer.step()
    assert not torch.allclose(right, wrong, atol=1e-3)
    put_right, optimizer = fused_step(kind, torch.contiguous_format)
    lay_out(nn.ParameterList([put_right]), optimizer, channels_last=True)
    optimizer.step()
    assert torch.equal(right, put_right)


@pytest.mark.parametrize("augmentation", [{}, {"rotate": 10.0, "flip": 0.5, "mixup": 0.5, "input_noise": 0.1}])
def test_the_model_gets_its_images_so_in_validation_too(make, images, augmentation):
    model, seen = net(), []
    model.register_forward_pre_hook(
        lambda module, inputs: seen.append(
            (module.training, inputs[0].is_contiguous(memory_format=torch.channels_last))
        )
    )
    run = make(model, val=images, **augmentation)
    run.step(1)
    run.set(channels_last=True)
    run.step(3)
    assert set(seen) == {(True, False), (True, True), (False, True)}


# -- the past


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_rewound_branched_and_repeated_across_a_switch_it_does_the_same(make, images, kind):
    run = make(val=images, epochs=5, early_stopping=True, patience=50, **KINDS[kind][0])
    run.step(4)
    run.set(channels_last=True)
    run.step(4)
    run.set(channels_last=False)
    run.step(4)
    after = weights(run.model)
    branch = run.branch(at=6)
    assert images_in(branch) == {True}
    branch.step(2)
    branch.set(channels_last=False)
    branch.step(4)
    assert torch.equal(weights(branch.model), after)
    again = run.replay()
    again.wait(60)
    assert torch.equal(weights(again.model), after)
    run.rewind(5)
    assert images_in(run) == {True}
    run.rewind(2)
    assert images_in(run) == {False}
    run.set(channels_last=True)
    run.fit()  # and takes the best weights
    assert images_in(run) == {True}


def test_it_comes_back_from_the_store(make, images, tmp_path):
    run, alone = (make(store=place) for place in (tmp_path, None))
    for each in (run, alone):
        each.step(3)
        each.set(channels_last=True)
        each.step(3)
    run.pause()
    opened = nbopt.open(run.id, net(), images, store=tmp_path)
    assert images_in(opened) == {True}
    for each in (opened, alone):
        each.step(3)
    assert torch.equal(weights(opened.model), weights(alone.model))


# -- what it is offered for


def test_a_model_that_comes_so_stays_so(make):
    model = net().to(memory_format=torch.channels_last)
    run = make(model)
    assert run.hyperparams["channels_last"] is True
    run.step(2)
    assert images_in(run) == {True}
    assert not make(net()).hyperparams["channels_last"]


def test_a_model_without_images_has_nothing_to_switch(make):
    x, y = torch.randn(20, 4), torch.arange(20) % 3
    runs = [make(nn.Linear(4, 3), (x, y)) for _ in range(2)]
    with torch.no_grad():
        for other, own in zip(runs[1].model.parameters(), runs[0].model.parameters(), strict=True):
            other.copy_(own)
    assert runs[0].inert["channels_last"].startswith("the model has no weights of four dimensions")
    runs[0].set(channels_last=True)
    for run in runs:
        run.step(3)
    assert torch.equal(weights(runs[0].model), weights(runs[1].model))
    assert "channels_last" not in make().inert


@pytest.mark.parametrize("optimizer", ["lbfgs", "newton"])
def test_steps_on_all_samples_do_as_ever(make, optimizer):
    runs = [make(optimizer=optimizer, lr=0.1, channels_last=flag, weight_decay=0.01) for flag in (False, True)]
    for run in runs:
        run.step(2)
        run.set(channels_last=True)
        run.step(1)
    torch.testing.assert_close(weights(runs[0].model), weights(runs[1].model), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_with_all_precisions_in_turn_it_repeats_bit_for_bit(make, images, kind):
    run = make(val=images, metrics=["accuracy"], **KINDS[kind][0])
    moves = [("bfloat16", True), ("float16", True), ("float16", False), ("float32", True), ("bfloat16", False)]
    for precision, flag in moves:
        run.step(2)
        run.set(precision=precision, channels_last=flag)
    run.step(2)
    again = run.replay()
    again.wait(60)
    assert torch.equal(weights(again.model), weights(run.model))
    assert {name: again.history[name][1].tolist() for name in again.history} == {
        name: run.history[name][1].tolist() for name in run.history
    }
