"""Which weights masks leave: by units, heads and blocks, of what is frozen, and in lottery tickets."""

import copy

import pytest
import torch

import nbopt
from nbopt.testing import check_technique
from tests.techniques.pruned import Attention, cnn, data, left, make, masks_of, two

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_of_each_block_of_inputs_as_many_stay():
    run = make(sparsity=0.5, sparsity_pattern="n:4")
    run.step(1)
    masks = masks_of(run)
    assert masks["0.weight"].all()  # one channel: no block
    for name in ("3.weight", "6.weight", "8.weight"):
        blocks = masks[name].movedim(1, -1).reshape(-1, 4)
        weights = run.model.get_parameter(name).movedim(1, -1).reshape(-1, 4).detach().abs()
        assert (blocks.sum(1) == 2).all(), name
        assert ((weights * blocks).sum(1) >= (weights * (1 - blocks)).sum(1)).float().mean() > 0.9
    with pytest.raises(nbopt.errors.InvalidHyperparam, match=r"write sparsity_pattern='n:4' and sparsity=0\.5"):
        run.set(sparsity_pattern="2:4")


def test_a_pruned_channel_is_gone_with_bias_and_batch_norm_and_the_outputs_stay():
    run = make(sparsity=0.6, sparsity_pattern="neurons", sparsity_scope="layer")
    run.step(3)
    masks = masks_of(run)
    assert set(masks) == {f"{layer}.{kind}" for layer in (0, 1, 3, 6) for kind in ("weight", "bias")}
    gone = masks["0.bias"] == 0
    assert 0 < gone.sum() < 8 and torch.equal(masks["0.bias"], masks["1.weight"])
    seen = []
    run.model[2].register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
    run.predict(data()[0])
    assert not seen[0][:, gone].any() and seen[0][:, ~gone].any()


def test_a_pruned_head_says_nothing():
    run = make(Attention(), sparsity=0.5, sparsity_pattern="heads")
    run.step(3)
    masks = masks_of(run)
    heads = masks["attention.out_proj.weight"].reshape(8, 4, 2)[0, :, 0]
    assert heads.sum() == 2
    assert torch.equal(masks["attention.in_proj_bias"].reshape(3, 4, 2)[1, :, 1], heads)
    assert torch.equal(masks["attention.in_proj_weight"].reshape(3, 4, 2, 8)[2, :, 0, 5], heads)


def test_what_is_frozen_stays_pruned_and_others_pay_for_it():
    run = make(sparsity=0.5)
    run.step(2)
    frozen = masks_of(run)["3.weight"].clone()
    run.model[3].requires_grad_(False)
    run.step(3)
    assert torch.equal(masks_of(run)["3.weight"], frozen)
    run.model[3].requires_grad_(True)
    run.step(1)
    assert left(run) == pytest.approx(0.5, abs=1e-3)


def pruned_run():
    run = make(sparsity=0.7, sparsity_end=0.5, sparsity_every=2, lr=0.1)
    run.step(12)
    return run


def test_a_lottery_ticket_is_the_weights_of_an_early_step_with_the_masks_of_the_end():
    run = pruned_run()
    masks = masks_of(run)
    early = run.branch(at=2).model
    before = copy.deepcopy(early)
    again = make(early, techniques=[nbopt.Ticket(run)])
    again.step(6)
    frozen = again.frozen_model()
    for name, mask in masks.items():
        pruned = mask == 0
        assert torch.equal(frozen.get_parameter(name) == 0, pruned)
        assert torch.equal(early.get_parameter(name)[pruned], before.get_parameter(name)[pruned])
        assert not torch.equal(early.get_parameter(name)[~pruned], before.get_parameter(name)[~pruned])
    with pytest.raises(ValueError, match=r"differ in 1\.weight: a ticket needs the same shapes"):
        make(two(36, 12, 3), techniques=[nbopt.Ticket(run)]).step(1)
    with pytest.raises(ValueError, match="the network of the ticket has no weight that is 0"):
        make(techniques=[nbopt.Ticket(make())]).step(1)


def test_a_ticket_keeps_the_promises_of_every_technique():
    given = nbopt.Ticket(pruned_run())
    check_technique(given, {"ticket": True}, {"ticket": False}, model=cnn, data=data(), ticket=False)
