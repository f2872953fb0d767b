"""Functions of the step as schedules, in scripts and recipes, and schedulers that nobody would step."""

import gc
from functools import partial

import pytest
import torch
from torch.optim import lr_scheduler

import nbopt
from nbopt import Run, RunState
from nbopt.errors import InvalidHyperparam
from tests.export import scripts
from tests.export.scripts import is_tidy
from tests.training.schedulers import EPOCHS, MAKERS, loader, plain, pulled, same, sequential, sgd

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


@pytest.mark.parametrize(
    "kind", [partial(lr_scheduler.CosineAnnealingLR, T_max=4), partial(lr_scheduler.StepLR, step_size=2)]
)
def test_what_a_scheduler_counts_in_a_run_of_steps_is_asked(mlp, blobs, kind):
    with pytest.raises(InvalidHyperparam, match=r'told in steps: nothing tells whether .*="step" or'):
        Run(mlp(), blobs, schedule=kind, store=None, steps=40)
    Run(mlp(), blobs, schedule=kind, store=None, steps=40, schedule_interval="step")


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
