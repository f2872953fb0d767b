"""What is trained: against a loop written by hand, and early stopping against what is known."""

import copy

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

import nbopt
from nbopt import Run
from nbopt.data.noise import ORDER, derive_seed
from nbopt.training.state import Stepped, Validated


def by_hand(model, blobs, torch_class, settings, schedule, steps, batch_size, loss=functional.cross_entropy, l1=0.0):
    """Train as anyone would write it, in nbopt's order of samples; return the loss of each step."""
    x, y = blobs
    optimizer = torch_class(model.parameters(), **settings)
    losses, epoch, order = [], 0, []
    for step in range(steps):
        for group in optimizer.param_groups:
            group.update(schedule.get(step, {}))
        if not len(order):
            generator = torch.Generator().manual_seed(derive_seed(0, ORDER, epoch))
            order, epoch = torch.randperm(len(x), generator=generator), epoch + 1
        batch, order = order[:batch_size], order[batch_size:]
        optimizer.zero_grad()
        value = loss(model(x[batch]), y[batch])
        penalty = l1 * sum(weight.abs().sum() for weight in model.parameters() if weight.ndim > 1)
        (value + penalty).backward()
        optimizer.step()
        losses.append(value.item())
    return losses


CASES = {
    "sgd": (
        torch.optim.SGD,
        {"lr": 0.1, "momentum": 0.9},
        {4: {"lr": 0.01}, 6: {"momentum": 0.5}, 8: {"weight_decay": 0.1}},
    ),
    "adam": (torch.optim.Adam, {"lr": 0.01}, {4: {"lr": 0.1}, 8: {"weight_decay": 0.1}}),
    "adamw": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.2}, {4: {"lr": 0.1}, 8: {"weight_decay": 0.0}}),
    "rmsprop": (torch.optim.RMSprop, {"lr": 0.01, "momentum": 0.5}, {4: {"lr": 0.1}, 8: {"momentum": 0.9}}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_run_is_the_loop_written_by_hand_changes_included(make_run, mlp, blobs, weights, name):
    torch_class, settings, schedule = CASES[name]
    model = mlp()
    losses = by_hand(model, blobs, torch_class, settings, schedule, 14, batch_size=25)
    run = make_run(optimizer=name, batch_size=25, **settings)
    for step in (*schedule, 14):
        run.step(step - run.step_count)
        run.set(**schedule.get(step, {}))
    expected = torch.cat([value.flatten() for value in model.state_dict().values()])
    torch.testing.assert_close(weights(run), expected, rtol=1e-5, atol=1e-6)
    assert run.history["loss"][1].tolist() == pytest.approx(losses, rel=1e-5)
    if name in ("sgd", "rmsprop"):
        assert torch.equal(weights(run), expected)


def test_l1_is_the_penalty_of_the_textbook(make_run, mlp, blobs, weights):
    model = mlp()
    losses = by_hand(model, blobs, torch.optim.SGD, {"lr": 0.1}, {}, 12, batch_size=25, l1=0.05)
    run = make_run(optimizer="sgd", lr=0.1, l1=0.05, batch_size=25)
    run.step(12)
    expected = torch.cat([value.flatten() for value in model.state_dict().values()])
    torch.testing.assert_close(weights(run), expected, rtol=1e-5, atol=1e-6)
    assert run.history["loss"][1].tolist() == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "function"),
    [("mse", functional.mse_loss), ("mae", functional.l1_loss), ("huber", functional.huber_loss)],
)
@pytest.mark.parametrize("shape", [(60,), (60, 1)])
def test_regression_does_not_broadcast(make_run, blobs, name, function, shape):
    x = blobs[0]
    y = x.sum(1)
    model = nn.Linear(4, 1)
    twin = copy.deepcopy(model)
    losses = by_hand(twin, (x, y[:, None]), torch.optim.SGD, {"lr": 0.1}, {}, 10, 60, loss=function)
    run = make_run(model, train=(x, y.reshape(shape)), loss=name, optimizer="sgd", lr=0.1, batch_size=60)
    run.step(10)
    assert run.history["loss"][1].tolist() == pytest.approx(losses, rel=1e-5)


def test_delta_of_the_huber_loss_acts_at_the_next_step(make_run, blobs):
    x = blobs[0]
    y = 10 * x.sum(1, keepdim=True)
    model = nn.Linear(4, 1)
    run = make_run(model, train=(x, y), loss="huber", lr=0.0, batch_size=60)
    run.step()
    run.set(delta=5.0)
    run.step()
    with torch.no_grad():
        expected = [float(functional.huber_loss(model(x), y, delta=delta)) for delta in (1.0, 5.0)]
    assert run.history["loss"][1].tolist() == pytest.approx(expected, rel=1e-5)


def test_dropout_is_drawn_at_the_rate_set(make_run, mlp, blobs):
    shares = []
    model = mlp(dropout=0.1)
    model[1] = nn.Identity()
    model[2].register_forward_hook(lambda layer, args, output: shares.append(float((output == 0).float().mean())))
    run = make_run(model, batch_size=60, lr=0.0)
    run.step()
    run.set(dropout=0.8)
    run.step()
    run.set(dropout=0.0)
    run.step()
    assert shares == pytest.approx([0.1, 0.8, 0.0], abs=0.05)


def test_batch_normalization_and_buffers_are_trained(make_run, blobs):
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    run = make_run(model, batch_size=20, epochs=4).fit()
    assert int(model[1].num_batches_tracked) == run.step_count == 12


# -- early stopping


@pytest.fixture
def noisy(mlp):
    """Return settings of a run that soon overfits: labels of noise, and others to validate on."""
    generator = torch.Generator().manual_seed(5)
    x, y = torch.randn(80, 4, generator=generator), torch.randint(0, 3, (80,), generator=generator)
    return {"train": (x[:40], y[:40]), "val": (x[40:], y[40:]), "lr": 0.02, "batch_size": 10}


def known(make_run, mlp, noisy, epochs):
    """Train without stopping; return each validation's loss and weights."""
    run = make_run(mlp(), epochs=epochs, **noisy)
    states = [copy.deepcopy(run.model.state_dict()) for event in run.events() if isinstance(event, Validated)]
    return run.history["val_loss"][1].tolist(), states


def same(state, other):
    return all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.parametrize("patience", [1, 3, 5])
def test_a_run_stops_when_patience_is_spent_with_the_best_weights(make_run, mlp, noisy, patience):
    losses, states = known(make_run, mlp, noisy, 40)
    best, waited, stop = float("inf"), 0, 0
    while waited < patience:
        waited = 0 if losses[stop] < best else waited + 1
        best = min(best, losses[stop])
        stop += 1
    run = make_run(mlp(), epochs=40, patience=patience, **noisy).fit()
    assert run.epoch == stop
    assert run.end_reason == f"stopped early: validation loss did not improve in {patience} validations"
    assert run.stopping.best == best
    assert run.stopping.best_step == 4 * (losses.index(best) + 1)
    assert same(run.model.state_dict(), states[losses.index(best)])
    assert not same(run.model.state_dict(), states[stop - 1])
    assert [entry.name for entry in run.journal][-2:] == ["restore_best", "finished"]


def test_the_best_weights_are_restored_also_where_the_epochs_end_the_run(make_run, mlp, noisy):
    losses, states = known(make_run, mlp, noisy, 12)
    run = make_run(mlp(), epochs=12, patience=1000, **noisy).fit()
    assert same(run.model.state_dict(), states[losses.index(min(losses))])


@pytest.mark.parametrize("way", ["rewind", "branch", "open"])
def test_the_best_weights_go_back_and_on_with_the_run(make_run, mlp, noisy, tmp_path, way):
    losses, states = known(make_run, mlp, noisy, 12)
    best = losses.index(min(losses))
    run = make_run(mlp(), epochs=12, patience=1000, store=tmp_path, **noisy)
    run.step(4 * best + 6)  # as much as a step after the best validation
    at = run.step_count
    run.set(patience=999)  # before a change, a snapshot is taken
    assert run.snapshots[-1].step == at > run.stopping.best_step == 4 * (best + 1)
    if way == "rewind":
        run.step(5)
        run.rewind(at)
    elif way == "branch":
        run = run.branch(at)
    else:
        run.training.best_weights.clear()  # what is stored has to do
        run = nbopt.open(run.id, mlp(), noisy["train"], noisy["val"], store=tmp_path)
    run.resume()
    run.wait(60)
    assert run.epoch == 12
    assert same(run.model.state_dict(), states[best]) and not same(states[best], states[-1])


def test_without_early_stopping_the_last_weights_stay(make_run, mlp, noisy):
    _losses, states = known(make_run, mlp, noisy, 12)
    run = make_run(mlp(), epochs=12, **noisy).fit()
    assert same(run.model.state_dict(), states[-1])


def test_early_stopping_is_switched_on_in_the_middle(make_run, mlp, noisy):
    losses, states = known(make_run, mlp, noisy, 40)
    run = make_run(mlp(), epochs=40, **noisy)
    run.step(4 * 20)
    run.set(early_stopping=True, patience=1)
    run.resume()
    run.wait(60)
    assert run.epoch == 20 or losses[20] < min(losses[:20])
    assert same(run.model.state_dict(), states[losses.index(min(losses[: run.epoch]))])


def test_patience_is_lowered_and_raised_while_the_run_trains(make_run, mlp, noisy):
    run = make_run(mlp(), epochs=200, patience=1000, **noisy)
    run.step(4 * 30)
    assert run.stopping.waited > 5
    run.set(patience=5)
    run.resume()
    run.wait(60)
    assert (run.epoch, run.stopping.left) == (30, 0)
    run.set(patience=1000)
    run.step(4 * 2)
    assert run.epoch == 32


def test_a_run_that_stopped_early_goes_on_with_patience_anew(make_run, mlp, noisy):
    run = make_run(mlp(), epochs=200, patience=2, **noisy).fit()
    first = run.epoch
    run.resume()
    run.wait(60)
    assert run.epoch >= first + 2


def test_min_delta_is_live(make_run, mlp, noisy):
    run = make_run(mlp(), epochs=200, patience=2, **noisy)
    run.set(min_delta=1e6)
    run.fit()
    assert run.epoch == 3


def test_a_validation_loss_that_is_no_number_is_never_the_best(make_run, mlp, blobs):
    def loss(output, target):
        value = functional.cross_entropy(output, target)
        return value if output.requires_grad else value * float("nan")

    run = make_run(val=blobs, loss=loss, patience=3, epochs=50).fit()
    assert run.epoch == 3
    assert run.stopping.best_step is None
    assert all(torch.isfinite(value).all() for value in run.model.state_dict().values())


def test_steps_are_numbered_from_zero_and_losses_stand_at_their_step(make_run, blobs):
    run = make_run(batch_size=20, lr=0.0, epochs=1)
    numbers = [event.step for event in run.events() if isinstance(event, Stepped)]
    assert numbers == run.history["loss"][0].tolist() == [0, 1, 2]


@pytest.mark.slow
def test_digits_are_told_apart():
    digits = load_digits()
    split = train_test_split(digits.data, digits.target, test_size=0.2, stratify=digits.target, random_state=0)
    x, x_test, y, y_test = split
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
    Run(model, (x, y), val=0.2, lr=3e-3, patience=5).fit()
    with torch.no_grad():
        predicted = model.eval()(torch.tensor(x_test, dtype=torch.float32)).argmax(1)
    assert float((predicted == torch.tensor(y_test)).float().mean()) >= 0.97
