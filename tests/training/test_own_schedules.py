"""Torch's schedulers and functions of the step as schedules: the weights are those of a plain loop."""

import gc
from functools import partial

import pytest
import torch
from torch.nn import functional
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

import nbopt
from nbopt import Run, RunState
from nbopt.errors import InvalidHyperparam
from tests.export import scripts
from tests.export.scripts import is_tidy

EPOCHS = 6


def loader(blobs):
    return DataLoader(TensorDataset(*blobs), batch_size=16)  # four steps an epoch


def sgd(model):
    groups = [{"params": model[0].parameters(), "lr": 0.2}, {"params": model[3].parameters()}]
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


def same(one, other):
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def pulled(run):
    for _event in run.events():
        pass
    return run


def plain(model, optimizer, scheduler, blobs, interval, epochs=EPOCHS):
    """Train as a loop of one's own does; return the rates used."""
    rates = []
    for _epoch in range(epochs):
        losses = []
        for x, y in loader(blobs):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            losses.append(loss.detach())
            if interval == "step":
                scheduler.step()
        if interval == "epoch":
            scheduler.step()
        if interval == "plateau":
            scheduler.step(sum(losses[1:], losses[0]).item() / len(losses))
    return rates


class Halving(lr_scheduler.LRScheduler):
    """A scheduler of the user's own, with a state of its own."""

    def __init__(self, optimizer):
        self.past = []
        super().__init__(optimizer)

    def get_lr(self):
        self.past.append(self.last_epoch)
        return [group["lr"] * (0.5 if len(self.past) % 3 == 0 else 1.0) for group in self.optimizer.param_groups]


def sequential(optimizer):
    parts = [lr_scheduler.ConstantLR(optimizer, 0.1, 3), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    return lr_scheduler.SequentialLR(optimizer, parts, [3])


MAKERS = {
    "one cycle": (partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=40), "step"),
    "cyclic": (partial(lr_scheduler.CyclicLR, base_lr=0.01, max_lr=0.1, step_size_up=5), "step"),
    "step": (partial(lr_scheduler.StepLR, step_size=2, gamma=0.3), "epoch"),
    "step by step": (partial(lr_scheduler.StepLR, step_size=2, gamma=0.9), "step"),
    "several steps": (partial(lr_scheduler.MultiStepLR, milestones=[2, 4]), "epoch"),
    "cosine": (partial(lr_scheduler.CosineAnnealingLR, T_max=20), "step"),
    "restarts": (partial(lr_scheduler.CosineAnnealingWarmRestarts, T_0=2), "epoch"),
    "lambda": (partial(lr_scheduler.LambdaLR, lr_lambda=lambda step: 1 / (step + 1)), "step"),
    "sequential": (sequential, "epoch"),
    "own class": (Halving, "step"),
    "plateau": (partial(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=0.9), "plateau"),
}


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


# -- functions of the step


def halves(step):
    return 0.5 ** (step // 5)


@pytest.mark.parametrize("function", [halves, lambda step: 1 / (1 + step)], ids=["named", "lambda"])
def test_a_function_of_the_step_is_a_lambda_lr_stepped_each_step(mlp, blobs, function, tmp_path):
    right = mlp()
    reference = torch.optim.SGD(right.parameters(), lr=0.1)
    plain(right, reference, lr_scheduler.LambdaLR(reference, function), blobs, "step")
    settings = {"optimizer": "sgd", "lr": 0.1, "epochs": EPOCHS, "schedule": function}
    run = pulled(Run(mlp(), loader(blobs), store=tmp_path, **settings))
    assert same(run.model, right)
    assert same(pulled(run.branch(at=6)).model, right)
    run.rewind(9)
    run.recorder.close()
    opened = nbopt.open(run.id, mlp(), loader(blobs), schedule=function, store=tmp_path)
    assert same(pulled(opened).model, right)


@pytest.mark.parametrize("function", [halves, lambda step: 1 / (1 + step)], ids=["named", "lambda"])
def test_a_script_holds_the_function(mlp, blobs, function):
    run, initial = scripts.make(mlp(), blobs, blobs, batch_size=16, epochs=3, schedule=function, warmup=1.0)
    scripts.follow(run, {5: {"schedule": "cosine"}, 8: {"lr": 0.01}})
    text, largest = scripts.check(run, initial, blobs, blobs)
    assert largest == 0.0
    assert is_tidy(text)


def test_a_script_says_that_it_holds_no_torch_scheduler(mlp, blobs):
    run, _initial = scripts.make(mlp(), blobs, epochs=1, schedule=MAKERS["step"][0])
    with pytest.raises(ValueError, match=r"StepLR: one of torch's schedulers, which a script does not hold: give a"):
        scripts.follow(run, {}).to_python()


def test_a_recipe_asks_for_it(mlp, blobs):
    run = pulled(Run(mlp(), blobs, schedule=halves, batch_size=16, epochs=2, store=None))
    text = run.to_yaml()
    assert "# The run was given a schedule of its own" in text
    again = Run.from_yaml(text, mlp(), blobs, schedule=halves, store=None)
    again.start()
    assert again.wait(60) is RunState.STOPPED
    assert same(again.model, run.model)


# -- what is refused


@pytest.mark.parametrize("name", MAKERS)
def test_a_scheduler_that_nobody_would_step_is_noticed(mlp, blobs, name):
    model = mlp()
    optimizer = sgd(model)
    scheduler = MAKERS[name][0](optimizer)
    kind = type(scheduler).__name__
    with pytest.raises(InvalidHyperparam, match=rf"has a scheduler, .*{kind}.*, that nobody would step"):
        Run(model, blobs, optimizer=optimizer)
    run = pulled(Run(model, blobs, optimizer=optimizer, schedule="constant", epochs=1, store=None))
    assert run.state is not RunState.FAILED
    del scheduler, run
    gc.collect()
    Run(model, blobs, optimizer=optimizer)


def test_a_second_scheduler_beside_the_one_handed_over_is_noticed(mlp, blobs):
    model = mlp()
    optimizer = sgd(model)
    handed = sequential(optimizer)
    run = Run(model, blobs, optimizer=optimizer, schedule=handed, store=None)
    del run
    other = lr_scheduler.CyclicLR(optimizer, 0.01, 0.1)
    with pytest.raises(InvalidHyperparam, match="has a scheduler, CyclicLR, that nobody would step"):
        Run(model, blobs, optimizer=optimizer, schedule=handed, store=None)
    assert other.last_epoch == 0


class PlainScheduler:
    """A scheduler of another library, no class of torch's."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def step(self):
        pass


def test_schedulers_of_other_libraries_are_noticed_too(mlp, blobs):
    model = mlp()
    optimizer = sgd(model)
    scheduler = PlainScheduler(optimizer)
    assert vars(scheduler)  # its attributes are in a dictionary now
    with pytest.raises(InvalidHyperparam, match="a scheduler, PlainScheduler, that nobody would step"):
        Run(model, blobs, optimizer=optimizer)


def over_another(mlp):
    return lr_scheduler.StepLR(torch.optim.SGD(mlp().parameters(), lr=0.1), 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (over_another, "made over another optimizer than the run has"),
        (lambda mlp: "cosin", "unknown schedule 'cosin'. Did you mean 'cosine'"),
        (lambda mlp: 3, r"unknown schedule 3\. Allowed: .*a torch scheduler, callable\(step\)"),
        (lambda mlp: lambda step: "high", "for 0 it returned 'high'"),
        (lambda mlp: lambda: 1.0, "for 0 it raised TypeError"),
        (lambda mlp: lr_scheduler.StepLR, "StepLR made with the optimizer alone raised TypeError"),
        (lambda mlp: MAKERS["lambda"][0], 'whether LambdaLR is stepped .*schedule_interval="step" or'),
    ],
    ids=["another", "typo", "number", "text", "no step", "class", "interval"],
)
def test_what_is_no_schedule_is_told_when_the_run_is_made(mlp, blobs, given, message):
    with pytest.raises(InvalidHyperparam, match=message):
        Run(mlp(), blobs, schedule=given(mlp))


def test_a_rate_beside_a_scheduler_over_the_given_optimizer_is_refused(mlp, blobs):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(InvalidHyperparam, match=r"the scheduler began with lr=0\.1.*leave lr out"):
        Run(model, blobs, optimizer=optimizer, schedule=lr_scheduler.StepLR(optimizer, 2), lr=0.2)


def test_steps_beyond_those_of_one_cycle_fail_as_in_a_plain_loop(mlp, blobs):
    make = partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=6)
    run = Run(mlp(), loader(blobs), optimizer="sgd", schedule=make, epochs=3, store=None)
    run.step(6)
    with pytest.raises(ValueError, match="total steps is 6"):
        run.step(2)
    assert run.step_count in (6, 7)
    run.set(schedule="constant")
    run.fit()
    assert (run.state, run.epoch) == (RunState.FINISHED, 3)
