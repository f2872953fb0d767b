"""Schedules against torch's own, and against what their papers say."""

import itertools
import math

import pytest
import torch
from torch import nn

from nbopt import Run
from nbopt.techniques.schedules.choice import SCHEDULES
from tests.export import scripts
from tests.export.scripts import is_tidy

pytestmark = pytest.mark.usefixtures("one_torch_thread")

STEPS, EPOCHS = 4, 6  # steps an epoch


def data(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4 * STEPS, 3, generator=generator), torch.randn(4 * STEPS, 1, generator=generator)


def make(model=None, val=None, **settings):
    settings = {"optimizer": "sgd", "lr": 0.1, "batch_size": 4, "epochs": EPOCHS, "recover": False, **settings}
    if model is None:
        torch.manual_seed(0)
        model = nn.Linear(3, 1)
    return Run(model, data(), val, loss="mse", store=None, **settings)


def rates(run):
    for _event in run.events():
        pass
    return run.history["lr"][1].tolist()


def torchs(make_scheduler, each_epoch=False):
    """Return the rates that one of torch's schedulers gives to each step."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = make_scheduler(optimizer)
    found = []
    for step in range(STEPS * EPOCHS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if not each_epoch or (step + 1) % STEPS == 0:
            scheduler.step()
    return found


def test_step_decay_is_torch_s():
    theirs = torchs(lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.3), each_epoch=True)
    assert rates(make(schedule="step", step_size=2.0, step_gamma=0.3)) == pytest.approx(theirs)


def test_exponential_decay_is_torch_s():
    theirs = torchs(lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8 ** (1 / STEPS)))
    assert rates(make(schedule="exponential", exponential_gamma=0.8)) == pytest.approx(theirs)


def test_cosine_is_torch_s():
    theirs = torchs(lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS * EPOCHS, 0.01))
    assert rates(make(schedule="cosine", final_share=0.1)) == pytest.approx(theirs)


def test_warm_up_is_torch_s():
    theirs = torchs(lambda optimizer: torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, 1.0, 2 * STEPS))
    assert rates(make(warmup=2.0)) == pytest.approx(theirs)


def test_one_cycle_is_torch_s():
    kind = SCHEDULES["one_cycle"]
    part = kind()
    part.__dict__.update(final_share=4e-6)
    count = 10_000
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, count, cycle_momentum=False)
    for step in range(count):  # torch's peak is one step earlier, and its end too
        ours = part.change_rate(0.1, step, step / count, step / count)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-4)
        optimizer.step()
        if step < count - 1:
            scheduler.step()


def test_plateau_is_torch_s():
    run = make(schedule="plateau", plateau_patience=1, plateau_factor=0.3, lr=1.2, epochs=20, val=data(1))
    ours = rates(run)[::STEPS]
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.2)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=1, eps=0.0)
    theirs = []
    for loss in run.history["val_loss"][1]:
        theirs.append(optimizer.param_groups[0]["lr"])
        scheduler.step(loss)
    assert ours == pytest.approx(theirs)
    assert ours[-1] < ours[0]


def test_without_validation_the_plateau_is_that_of_the_training_loss():
    run = make(schedule="plateau", plateau_patience=0, lr=1.2, epochs=20)
    ours = rates(run)[::STEPS]
    means = run.history["loss"][1].reshape(-1, STEPS).mean(1)
    lowest, rate, expected = math.inf, 1.2, []
    for mean in means:
        expected.append(rate)
        rate, lowest = (rate, mean) if mean < lowest * (1 - 1e-4) else (rate / 2, lowest)
    assert ours == pytest.approx(expected)


def test_the_bold_driver_goes_by_the_epochs_before():
    run = make(schedule="bold_driver", bold_up=1.2, bold_down=0.4, lr=0.6, epochs=15)
    ours = rates(run)[::STEPS]
    means = run.history["loss"][1].reshape(-1, STEPS).mean(1)
    rate, expected = 0.6, [0.6]
    for before, now in itertools.pairwise(means):
        expected.append(rate)
        rate *= 1.2 if now < before else 0.4
    assert ours == pytest.approx(expected)
    assert {round(b / a, 3) for a, b in itertools.pairwise(ours[1:])} == {1.2, 0.4}


@pytest.mark.parametrize("level", [3.0, 0.0, -3.0])
def test_a_plateau_is_one_at_any_level(level):
    part = SCHEDULES["plateau"]()
    part.plateau_patience = 1
    for _epoch in range(7):
        part.after_epoch(level)
    assert part.scale == 0.5**3


@pytest.mark.parametrize(("factor", "cuts"), [(1 - 1e-5, 3), (1 - 1e-3, 0)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_loss_has_to_fall_by_a_share_of_its_size(sign, factor, cuts):
    part = SCHEDULES["plateau"]()
    part.plateau_patience = 1
    for epoch in range(7):
        part.after_epoch(sign * factor ** (sign * epoch))
    assert part.scale == 0.5**cuts


def test_the_bold_driver_is_faster_while_a_negative_loss_falls():
    part = SCHEDULES["bold_driver"]()
    for loss in (-1.0, -2.0, -3.0, -2.5):
        part.after_step(torch.tensor(loss))
        part.after_epoch(None)
    assert part.scale == pytest.approx(1.05 * 1.05 * 0.5)


def test_hypergradient_descent_is_the_paper_s_for_sgd():
    ours = rates(make(schedule="hypergradient", hypergradient_lr=0.001))
    torch.manual_seed(0)
    model, (x, y) = nn.Linear(3, 1), data()
    order = make(nn.Linear(3, 1))
    order.events()
    rate, before, expected = 0.1, None, []
    for _epoch in range(EPOCHS):
        cursor = order.training.cursor
        for _step in range(STEPS):
            batch = cursor.peek()
            cursor.advance()
            gradient = torch.autograd.grad(nn.functional.mse_loss(model(batch[0]), batch[1]), model.parameters())
            flat = torch.cat([item.flatten() for item in gradient])
            if before is not None:  # equation 5
                rate += 0.001 * float(flat @ before)
            expected.append(rate)
            before = flat
            with torch.no_grad():
                for weight, item in zip(model.parameters(), gradient, strict=True):
                    weight -= rate * item
    assert len(x) == len(y) == 4 * STEPS
    assert ours == pytest.approx(expected, rel=1e-4)


def test_hypergradient_descent_is_the_paper_s_for_adam():
    run = make(schedule="hypergradient", hypergradient_lr=1e-3, optimizer="adam", lr=0.01)
    run.step(2)
    training = run.training
    state = [training.torch_optimizer.state[weight] for weight in run.model.parameters()]
    # equation 8: the derivative of the update by the rate
    direction = [
        -(item["exp_avg"] / (1 - 0.9**2)) / ((item["exp_avg_sq"] / (1 - 0.999**2)).sqrt() + 1e-8) for item in state
    ]
    batch = training.cursor.peek()
    gradient = torch.autograd.grad(nn.functional.mse_loss(run.model(batch[0]), batch[1]), run.model.parameters())
    slope = sum(float((g * d).sum()) for g, d in zip(gradient, direction, strict=True))
    run.step(1)
    used = run.optimizer.param_groups[0]["lr"]
    training.flush()
    before = run.history["lr"][1][-2]
    assert used == pytest.approx(before - 1e-3 * slope, rel=1e-4)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_base_rate_stays_a_control(name):
    run = make(schedule=name, warmup=1.0)
    run.step(6)
    before = run.optimizer.param_groups[0]["lr"]
    other = make(schedule=name, warmup=1.0)
    other.step(6)
    for each in (run, other):
        each.step(1)
    rewound = run.optimizer.param_groups[0]["lr"]
    run.rewind(6)
    run.set(lr=0.2)
    run.step(1)
    assert run.optimizer.param_groups[0]["lr"] > 1.5 * rewound
    assert before > 0


def test_back_to_constant_the_rate_is_the_base_rate():
    run = make(schedule="cosine", warmup=3.0)
    run.step(2)
    assert run.optimizer.param_groups[0]["lr"] < 0.1
    run.set(schedule="constant", warmup=0.0)
    run.step(1)
    assert run.optimizer.param_groups[0]["lr"] == 0.1


def test_groups_keep_their_proportion():
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    own = torch.optim.SGD([{"params": [model.weight], "lr": 0.1}, {"params": [model.bias], "lr": 0.01}], lr=1.0)
    run = make(model, optimizer=own, schedule="cosine")
    run.step(12)
    first, second = (group["lr"] for group in own.param_groups)
    assert first == pytest.approx(10 * second)
    assert first < 0.1


def test_a_swap_says_what_it_carried_over():
    run = make(schedule="bold_driver", epochs=20)
    run.step(3 * STEPS)
    scale = run.training.acting.state["schedule"]["scale"]
    run.set(schedule="plateau")
    run.step(1)
    assert scale != 1.0
    assert run.training.acting.state["schedule"]["scale"] == scale
    assert [entry.new for entry in run.journal if entry.name == "carried"] == [
        "kept: scale, total, count; dropped: previous"
    ]


# -- as a script

PLANS = {
    "as it is": {},
    "swapped": {
        5: {"schedule": "bold_driver", "bold_up": 1.3},
        10: {"schedule": "constant"},
        13: {"schedule": "plateau", "plateau_patience": 0},
        15: {"lr": 0.05, "epochs": 7},
    },
}


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_script_follows_the_schedule(name, plan):
    torch.manual_seed(0)
    run, initial = scripts.make(
        nn.Linear(3, 1), data(), data(1), loss="mse", schedule=name, warmup=1.0, optimizer="sgd", lr=0.1, batch_size=4
    )
    run.set(epochs=EPOCHS)
    text, largest = scripts.check(scripts.follow(run, PLANS[plan]), initial, data(), data(1))
    assert largest == 0.0
    assert is_tidy(text)


def test_a_plain_run_s_script_knows_no_schedule():
    run = make(epochs=1).fit()
    assert not {"schedule", "Warmup", "rate"} & set(run.to_python().replace(".", " ").split())
