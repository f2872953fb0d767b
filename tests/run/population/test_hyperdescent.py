"""Gradient descent on hyperparameters while a run trains."""

import math

import pytest
import torch

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.hyperparams import Float
from nbopt.store import writer
from nbopt.techniques.context import Slope
from nbopt.techniques.hyperdescent import move
from tests.run.population.shared import assert_same, dense, digits, model_of
from tests.run.population.test_hypergradient import smooth

__all__ = ["digits"]
pytestmark = pytest.mark.usefixtures("one_torch_thread")

OFTEN = {"hyperdescent": "lr", "hyperdescent_every": 5, "hyperdescent_steps": 4}
REFUSED = {
    **{"sparsity": 0.5, "weight_bits": 4, "codebook": 8, "activation_bits": 4, "group_lasso": 0.1, "mixup": 0.5},
    **{
        "precision": "float16",
        "micro_batch": 8,
        "input_noise": 0.1,
        "impute": "mean",
        "clip_norm": 1.0,
        "max_norm": 1.0,
    },
}


def made(digits, model=dense, **others):
    x, y = digits
    x = x.double() if model is smooth else x
    given = {"epochs": 20, "lr": 0.01, "optimizer": "sgd", "batch_size": 32, "device": "cpu", "store": None, **others}
    return nbopt.Run(model_of(model), (x, y), (x, y), **given)


def weights(run):
    return torch.cat([weight.detach().flatten() for weight in run.model.parameters()])


def moves(run):
    return [entry[:5] for entry in run.journal.changes() if entry.source == "hyperdescent"]


def loss_after(digits, values, steps):
    """Return the validation loss of a run without descent that has these rates from these steps on."""
    run = made(digits, smooth)
    for step, lr in values.items():
        run.step(step - run.step_count) if step > run.step_count else None
        run.set(lr=lr)
    run.step(steps - run.step_count) if steps > run.step_count else None
    run.set(validate_every=1)
    run.training.validation_due = True
    next(event for event in run.events() if type(event).__name__ == "Validated")
    return run.history.last("val_loss")


def test_it_moves_down_the_slope_that_finite_differences_give(digits):
    run = made(digits, smooth, **OFTEN)
    run.step(6)
    (first, _name, old, lr, _source), (second, _name, before, now, _source) = moves(run)
    assert (first, old, second, before) == (0, 0.01, 5, lr)
    width = 1e-4 * lr
    losses = [loss_after(digits, {0: lr, 5: lr + shift}, 9) for shift in (-width, 0.0, width)]
    slope, gain = (losses[2] - losses[0]) / (2 * width), loss_after(digits, {0: lr}, 5) - losses[1]
    assert math.log(now / before) == pytest.approx(-0.2 * slope * lr / gain, rel=0.01)
    assert run.slopes.of["lr"].slope == pytest.approx(slope, rel=0.01) and run.slopes.step == 5


def test_it_changes_nothing_of_the_training_but_by_its_moves(digits):
    plain, still, moved = made(digits), made(digits, **OFTEN, hyperdescent_rate=0.0), made(digits, **OFTEN)
    for run in (plain, still, moved):
        run.step(17)
    assert torch.equal(weights(still), weights(plain)) and moves(still) == []
    assert not torch.equal(weights(moved), weights(plain)) and [step for step, *_rest in moves(moved)] == [0, 5, 10, 15]
    by_hand = made(digits)
    for step, _name, _old, lr, _source in moves(moved):
        by_hand.step(step - by_hand.step_count) if step else None
        by_hand.set(lr=lr)
    by_hand.step(2)
    assert torch.equal(weights(by_hand), weights(moved))


def test_it_is_repeated_rewound_branched_and_opened_again_exactly(digits, tmp_path):
    x, y = digits
    run = made(digits, **OFTEN, store=tmp_path)
    run.step(8)
    run.set(weight_decay=0.01)
    run.step(10)
    after, made_moves = weights(run), moves(run)
    replayed, repeated = run.replay(), run.repeat(seeds=[0, 1])
    replayed.wait()
    repeated.wait()
    assert torch.equal(weights(replayed), after) and moves(replayed) == made_moves and replayed.exact
    assert_same(repeated[0], run)
    assert moves(repeated[1]) == made_moves  # the same journal, not what that seed would have led to
    branch = run.branch(at=10)
    branch.step(8)
    assert torch.equal(weights(branch), after) and moves(branch) == made_moves
    branch.step(1)
    branch.set(weight_decay=0.01)
    branch.step(3)
    assert len(moves(branch)) == len(made_moves) + 1 and branch.exact
    run.rewind(12)
    run.step(6)
    assert torch.equal(weights(run), after) and run.exact
    run.rewind(10)
    writer.flush()
    run.recorder.leave()
    opened = nbopt.open(run.id, model_of(dense), (x, y), (x, y), store=tmp_path)
    opened.step(8)
    assert torch.equal(weights(opened), after)


def test_a_recipe_decides_again(digits):
    run = made(digits, **OFTEN)
    run.step(12)
    assert "schedule:" not in run.to_yaml()
    again = nbopt.Run.from_yaml(run.to_yaml(), model_of(dense), digits, digits, store=None).fit()
    assert torch.equal(weights(again), weights(run)) and moves(again) == moves(run)


def test_it_is_started_and_stopped_at_any_time(digits):
    run = made(digits)
    run.step(7)
    run.set(hyperdescent="lr and weight_decay", hyperdescent_every=4, hyperdescent_steps=2)
    run.step(4)
    run.set(hyperdescent="off")
    run.step(10)
    assert [(step, name) for step, name, *_rest in moves(run)] in (
        [(8, "lr")],
        [(8, "lr"), (8, "weight_decay")],
    )


def test_calls_of_several_steps_end_where_it_moves(digits):
    run = made(digits, **OFTEN)
    run.step(7)
    assert run.training.proposals.steps_ahead() == run.training.tiers.planned() == 3
    run.set(hyperdescent="off")
    assert run.training.tiers.planned() == math.inf


def test_what_it_cannot_do_is_said_before_the_first_step(digits):
    with pytest.raises(InvalidHyperparam, match="no formula to differentiate the steps of rmsprop"):
        made(digits, **OFTEN, optimizer="rmsprop")
    run = made(digits, **OFTEN)
    with pytest.raises(InvalidHyperparam, match="hyperdescent: there is no formula"):
        run.set(optimizer="lbfgs")
    with pytest.raises(InvalidHyperparam, match="hyperdescent does not work with mixup, precision, whose steps"):
        made(digits, **OFTEN, mixup=0.5, precision="float16")
    for name, value in REFUSED.items():
        with pytest.raises(InvalidHyperparam, match=f"hyperdescent does not work with {name}, whose steps"):
            run.set(**{name: value})
    assert run.step_count == len(run.journal) == 0
    clipped = made(digits, clip_norm=1.0)
    with pytest.raises(InvalidHyperparam, match="turn one of them off"):
        clipped.set(hyperdescent="lr")
    clipped.set(hyperdescent="lr", clip_norm=0.0)
    with pytest.warns(UserWarning, match="hyperdescent: there is no validation loss without val"):
        nbopt.Run(model_of(dense), digits, hyperdescent="lr", store=None)


def test_what_it_cannot_do_later_is_told_and_the_run_goes_on(digits):
    run = made(digits, **OFTEN)
    run.step(7)
    hook = run.model.register_forward_hook(lambda *_given: None)
    with pytest.warns(UserWarning, match="hyperdescent changed nothing at step 10: .* hooks on"):
        run.step(5)
    hook.remove()
    run.step(4)
    assert run.step_count == 16 and [step for step, *_rest in moves(run)] == [0, 5, 15]


def test_a_member_of_a_population_descends_as_a_run_does(digits):
    x, y = digits
    settings = {"epochs": 3, "batch_size": 32, "optimizer": "sgd", "device": "cpu", **OFTEN}
    population = nbopt.Population(model_of(dense), (x, y), (x, y), lr=[0.01, 0.1], **settings).fit()
    for member, lr in zip(population, (0.01, 0.1), strict=True):
        run = nbopt.Run(model_of(dense), (x, y), (x, y), lr=lr, store=None, **settings).fit()
        assert len(moves(member)) == len(moves(run)) and moves(member)[0][:3] == moves(run)[0][:3]
        assert member.hyperparams["lr"] == pytest.approx(run.hyperparams["lr"], rel=2e-3)
    alone = population.run(0, store=None)
    assert moves(alone) == moves(population[0])


@pytest.mark.parametrize(
    ("value", "slope", "expected"),
    [
        (0.01, -100.0, 0.02),  # to twice as much at most
        (0.01, 100.0, 0.005),
        (2e-6, 1e9, 1e-6),
        (1e-6, 1e9, 0.0),  # below the lowest there is 0
        (0.0, -1.0, 1e-6),
        (0.0, 1.0, 0.0),
        (0.8, -1e9, 1.0),
        (3.0, -1e9, 3.0),  # beyond what the control offers it goes no further
        (0.01, -0.05, 0.01 * math.exp(0.5 * math.log(2))),
        (0.01, math.nan, 0.01),
    ],
)
def test_a_move_keeps_within_what_the_control_offers(value, slope, expected):
    spec = Float(0.0, low=1e-6, high=1.0, log=True, zero=True, ge=0.0)
    assert move(Slope(value, slope, 0.001, spec), 1.0) == pytest.approx(expected, rel=5e-4)


def test_a_move_on_a_linear_scale_is_a_part_of_the_range():
    spec = Float(0.5, low=0.0, high=2.0)
    assert move(Slope(0.5, -0.01, 0.1, spec), 0.2) == pytest.approx(0.5 + 0.1 * 0.2 * 2)
    assert move(Slope(0.1, 1e9, 0.1, spec), 0.2) == 0.0
