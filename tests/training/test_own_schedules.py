"""Torch's schedulers and functions of the step as schedules: the weights are those of a plain loop."""

from functools import partial

import pytest
import torch
from torch.optim import lr_scheduler

import nbopt
from nbopt import Run
from tests.training.schedulers import EPOCHS, MAKERS, loader, plain, pulled, same, sgd


@pytest.mark.parametrize("name", MAKERS)
def test_a_scheduler_over_the_given_optimizer_is_stepped_as_in_a_plain_loop(mlp, blobs, name):
    make, interval = MAKERS[name]
    right = mlp()
    reference = sgd(right)
    rates = plain(right, reference, make(reference), blobs, interval)

    model = mlp()
    optimizer = sgd(model)
    settings = {} if interval == "plateau" else {"schedule_interval": interval}
    scheduler = make(optimizer)
    run = Run(model, loader(blobs), optimizer=optimizer, schedule=scheduler, epochs=EPOCHS, store=None, **settings)
    used = []
    for event in run.events():
        if type(event).__name__ == "Stepped":
            used.append(optimizer.param_groups[0]["lr"])
    assert used == rates
    assert same(model, right)
    assert len(set(rates)) > 1

    branch = run.branch(at=7)
    replay = run.replay()
    replay.wait()
    run.rewind(11)
    for other in (pulled(branch), replay, pulled(run)):
        assert same(other.model, right)


FACTORIES = ("one cycle", "cyclic", "step", "restarts", "own class")


@pytest.mark.parametrize("name", FACTORIES)
def test_what_makes_a_scheduler_is_given_the_run_s_optimizer(mlp, blobs, name):
    make, interval = MAKERS[name]
    right = mlp()
    reference = torch.optim.SGD(right.parameters(), lr=0.05, momentum=0.9)
    plain(right, reference, make(reference), blobs, interval)
    settings = {"lr": 0.05, "momentum": 0.9, "schedule_interval": interval}
    run = pulled(Run(mlp(), loader(blobs), optimizer="sgd", schedule=make, epochs=EPOCHS, store=None, **settings))
    assert same(run.model, right)
    twin = pulled(run.branch(at=9))
    assert same(twin.model, right)


def test_one_cycle_moves_the_betas_of_adam_and_a_swap_gives_them_back(mlp, blobs):
    make = partial(lr_scheduler.OneCycleLR, max_lr=0.01, total_steps=40)
    right = mlp()
    reference = torch.optim.Adam(right.parameters(), fused=True)
    plain(right, reference, make(reference), blobs, "step")
    run = Run(mlp(), loader(blobs), optimizer="adam", schedule=make, epochs=EPOCHS, store=None)
    run.step(10)
    assert run.optimizer.param_groups[0]["betas"][0] != 0.9
    twin = run.branch(at=5)
    pulled(run)
    assert same(run.model, right)
    assert same(pulled(twin).model, right)
    twin.rewind(8)
    twin.set(schedule="constant")
    twin.step(1)
    group = twin.optimizer.param_groups[0]
    assert group["betas"] == (0.9, 0.999)
    assert group["lr"] == twin.hyperparams["lr"]


def test_the_base_rate_scales_what_the_scheduler_says(mlp, blobs):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.StepLR(optimizer, 1, 0.5)
    run = Run(model, loader(blobs), optimizer=optimizer, schedule=scheduler, epochs=4, store=None)
    assert run.hyperparams["lr"] == 0.1
    run.step(5)
    run.set(lr=0.2)
    pulled(run)
    assert run.history["lr"][1].tolist() == pytest.approx([0.1] * 4 + [0.05] + [0.1] * 3 + [0.05] * 4 + [0.025] * 4)
    assert scheduler.last_epoch == 0  # the user's own object stays as it was


def test_a_scheduler_that_was_stepped_before_goes_on_from_there(mlp, blobs):
    right, model = mlp(), mlp()
    for each in (right, model):
        optimizer = torch.optim.SGD(each.parameters(), lr=0.1)
        scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)
        optimizer.step()
        scheduler.step()
        if each is right:
            plain(right, optimizer, scheduler, blobs, "epoch", epochs=2)
        else:
            run = Run(model, loader(blobs), optimizer=optimizer, schedule=scheduler, epochs=2, store=None)
            assert pulled(run).history["lr"][1].tolist() == [0.05] * 4 + [0.025] * 4
    assert same(model, right)


def test_it_is_swapped_live_and_a_replay_follows(mlp, blobs):
    make, _interval = MAKERS["one cycle"]
    run = Run(mlp(), loader(blobs), optimizer="sgd", schedule=make, epochs=EPOCHS, store=None)
    run.step(3)
    run.set(schedule="cosine")
    run.step(3)
    run.set(schedule="OneCycleLR")
    run.step(3)
    first = run.history["lr"][1].tolist()
    assert first[6:] == first[:3]  # it begins anew
    run.set(optimizer="adam")
    pulled(run)
    replay = run.replay()
    replay.wait()
    assert same(replay.model, run.model)
    assert replay.history["lr"][1].tolist() == run.history["lr"][1].tolist()


def test_a_stored_run_is_opened_with_its_scheduler(mlp, blobs, tmp_path):
    make, _interval = MAKERS["one cycle"]
    settings = {"optimizer": "sgd", "epochs": EPOCHS}
    whole = pulled(Run(mlp(), loader(blobs), schedule=make, store=None, **settings))
    run = Run(mlp(), loader(blobs), schedule=make, store=tmp_path, **settings)
    run.step(9)
    run.recorder.close()
    with pytest.raises(ValueError, match="made with schedule OneCycleLR: only you have it: give it again as schedule="):
        nbopt.open(run.id, mlp(), loader(blobs), store=tmp_path)
    with pytest.raises(ValueError, match="schedule was OneCycleLR, now it is StepLR"):
        nbopt.open(run.id, mlp(), loader(blobs), schedule=MAKERS["step"][0], store=tmp_path)
    opened = nbopt.open(run.id, mlp(), loader(blobs), schedule=make, store=tmp_path)
    assert same(pulled(opened).model, whole.model)
