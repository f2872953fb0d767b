"""Weights frozen and thawed in a pause, beside penalties, limits, compiled steps, exports and the guard."""

import copy

import pytest
import torch
from torch import nn

from tests.training.frozen import SCHEDULE, by_hand, follow, freeze, in_order, net, same
from tests.training.tiered import pull, switches


def test_the_gradient_is_clipped_by_the_length_of_what_trains(make_run, blobs):
    model = net()
    right = by_hand(model, lambda m: torch.optim.SGD(m.parameters(), lr=0.5), blobs, SCHEDULE, 12, clip=0.1)
    run = make_run(model, in_order(blobs), optimizer="sgd", lr=0.5, clip_norm=0.1, epochs=99)
    assert same(follow(run, SCHEDULE, 12).model, right)


def test_weights_that_rest_are_left_alone_by_penalties_and_limits(make_run, blobs):
    model = net()
    run = make_run(model, blobs, optimizer="sgd", l1=0.1, max_norm=0.2, weight_decay=0.1, epochs=99)
    freeze(model, [0])
    before = copy.deepcopy(model[0])
    run.step(5)
    assert same(model[0], before)
    head = net()
    run = make_run(head, blobs, optimizer=torch.optim.SGD(head[4].parameters(), lr=0.1), max_norm=0.2, epochs=99)
    before = copy.deepcopy(head[0])
    run.step(5)
    assert same(head[0], before)


@pytest.mark.parametrize("name", ["lbfgs", "newton"])
def test_what_steps_all_weights_together_forgets_when_others_train(make_run, blobs, name):
    model = net()
    run = make_run(model, blobs, optimizer=name, lr=0.5, weight_decay=0.01, epochs=99)
    run.step(3)
    freeze(model, [0])
    before = copy.deepcopy(model[0])
    run.step(3)
    assert same(model[0], before)
    twin = run.replay()
    twin.wait()
    assert same(twin.model, model)


def test_a_rate_that_learns_from_the_last_update_begins_anew(make_run, blobs):
    run = make_run(net(), blobs, optimizer="sgd", schedule="hypergradient", lr=0.1, epochs=99)
    follow(run, SCHEDULE, 12)
    twin = run.replay()
    twin.wait()
    assert same(twin.model, run.model)


def test_a_compiled_step_trains_what_trains_now(make_tiered, compiled):
    run = make_tiered(net(), optimizer="sgd", lr=0.05, momentum=0.5)
    pull(run, 30)
    freeze(run.model, [0])
    before = copy.deepcopy(run.model[0])
    pull(run, 60)
    assert same(run.model[0], before)
    freeze(run.model, [])
    pull(run, 90)
    assert not same(run.model[0], before)
    assert [steps for _step, _before, steps in switches(run)] == [compiled.steps, 0, compiled.steps, 0, compiled.steps]
    twin = run.replay()
    twin.wait(60)
    assert same(twin.model, run.model)


def test_an_export_says_that_it_cannot_hold_what_was_done_to_the_model_by_hand(make_run, blobs):
    run = make_run(net(), blobs, epochs=99)
    run.step(3)
    freeze(run.model, [0])
    run.step(1)
    for export in (run.to_python, run.to_yaml):
        with pytest.raises(ValueError, match=r"step 3 the model itself .*: 0\.weight"):
            export()


def test_layers_frozen_while_it_trains_rest_soon(make_run, blobs):
    run = make_run(net(), blobs, optimizer="adam", epochs=10**6, store=None)
    run.start()
    freeze(run.model, [0])
    run.worker.wait(lambda: any(entry.name == "tuning" for entry in run.journal), 10)
    run.pause()
    assert [entry.new["resting"] for entry in run.journal if entry.name == "tuning"] == [
        ["model.0.weight", "model.0.bias"]
    ]


def test_a_retreat_does_not_undo_what_was_frozen_by_hand(make_run, blobs):
    model = net()
    run = make_run(model, blobs, optimizer="sgd", lr=0.1, epochs=99)
    run.step(3)
    freeze(model, [0])
    run.set(lr=1e30)
    run.step(6)
    names = [entry.name for entry in run.journal]
    assert "diverged" in names and names.count("tuning") > 1
    assert [weight.requires_grad for weight in model.parameters()] == [False, False, True, True, True, True]


def test_a_script_says_that_it_would_not_train_a_loss(make_run, blobs):
    loss = nn.CrossEntropyLoss()
    loss.scale = nn.Parameter(torch.ones(()))
    with pytest.raises(ValueError, match="the loss has weights that are trained"):
        make_run(net(), blobs, loss=loss, epochs=1).fit().to_python()
