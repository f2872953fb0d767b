"""Mixed precision against loops written by hand with torch.autocast and GradScaler: the same, bit for bit."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbopt
from nbopt.techniques.precision.mixed import Precision
from tests.techniques.images import BATCH, KINDS, SAMPLES, batches, net, weights

pytestmark = pytest.mark.usefixtures("one_torch_thread")

LOW = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def by_hand(model, data, optimizer, schedule, steps, lose=functional.cross_entropy, parts=1, act=lambda: None):
    """Train as torch's AMP recipe has it, the precision taken from ``schedule``; return losses and scaler."""
    scaler, losses, now = torch.amp.GradScaler("cpu"), [], "float32"
    for step, (x, y) in enumerate(batches(data, steps)):
        now = schedule.get(step, now)
        optimizer.zero_grad()
        total = 0.0
        for part, target in zip(x.chunk(parts), y.chunk(parts), strict=True):
            with torch.autocast("cpu", LOW.get(now), enabled=now in LOW):
                loss = lose(model(part), target)
            loss = loss / parts if parts > 1 else loss
            (scaler.scale(loss) if now == "float16" else loss).backward()
            total += loss.item()
        if now == "float16":
            scaler.unscale_(optimizer)
        act()
        if now == "float16":
            scaler.step(optimizer)
            scaler.update()
        else:
            optimizer.step()
        losses.append(total)
    return losses, scaler


def steered(run, schedule, steps):
    for step, value in schedule.items():
        run.step(step - run.step_count) if step > run.step_count else None
        run.set(precision=value)
    run.step(steps - run.step_count)
    return run


# -- known answers


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LOW)
def test_a_loop_by_hand_does_the_same(make, images, kind, name):
    settings, optimizer = KINDS[kind]
    run, model = make(precision=name, **settings), net()
    run.step(7)
    losses, scaler = by_hand(model, images, optimizer(model.parameters()), {0: name}, 7)
    assert torch.equal(weights(run.model), weights(model))
    assert run.history["loss"][1].tolist() == losses
    assert all(weight.dtype is torch.float32 for weight in run.model.parameters())
    if name == "float16":
        assert run.training.acting.part(Precision).scaler.state_dict() == scaler.state_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_it_changes_at_the_very_next_step(make, images, kind):
    schedule = {2: "bfloat16", 4: "float16", 7: "float32", 9: "float16"}
    settings, optimizer = KINDS[kind]
    model = net()
    by_hand(model, images, optimizer(model.parameters()), schedule, 11)
    assert torch.equal(weights(steered(make(**settings), schedule, 11).model), weights(model))


@pytest.mark.parametrize("name", LOW)
def test_batches_in_parts_and_parts_that_act_on_gradients(make, images, name):
    model = net()

    def clip():
        nn.utils.clip_grad_norm_(model.parameters(), 0.05)

    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    by_hand(model, images, optimizer, {0: name}, 6, parts=2, act=clip)
    run = make(precision=name, optimizer="sgd", micro_batch=BATCH // 2, clip_norm=0.05)
    run.step(6)
    # The run multiplies a part's loss by its share, by hand it is divided: by 2 that is the same.
    assert torch.equal(weights(run.model), weights(model))


@pytest.mark.parametrize("name", LOW)
@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_numbers_to_be_predicted_are_not_rounded(make, images, name, loss):
    lose = {"mse": functional.mse_loss, "mae": functional.l1_loss, "huber": functional.huber_loss}[loss]
    data = images[0], images[0].mean((1, 2, 3))
    model = net(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    by_hand(model, data, optimizer, {0: name}, 5, lose=lambda output, target: lose(output, target[:, None]))
    run = make(net(1), data, precision=name, optimizer="sgd", loss=loss)
    run.step(5)
    assert torch.equal(weights(run.model), weights(model))


@pytest.mark.parametrize("name", LOW)
def test_validation_is_in_the_same_precision_and_metrics_get_float32(make, images, name):
    seen = []

    def note(output, target):
        seen.append(output.dtype)
        return output.double().sum()

    run = make(val=images, precision=name, metrics=[note], optimizer="sgd", lr=0.0)
    run.step(SAMPLES // BATCH)
    model = net()
    with torch.no_grad(), torch.autocast("cpu", LOW[name]):
        for x, _y in batches(images, SAMPLES // BATCH):
            model(x)  # statistics of the batches
        output = model.eval()(images[0])
        loss = functional.cross_entropy(output, images[1])
    assert run.history.last("val_loss") == loss.item()
    assert run.history.last("val_note") == output.double().sum().item()
    assert set(seen) == {torch.float32}


# -- gradients that overflow


class Steep(nn.Module):
    """A model whose gradients overflow at the scale that torch begins with."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, 1)

    def forward(self, x):
        return self.linear(x) * 3


@pytest.fixture(scope="module")
def line():
    x = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(0))
    return x, x.sum(1)


def steep(make, line, **settings):
    given = {"loss": "mse", "precision": "float16", "lr": 1e-3, "optimizer": "sgd", "momentum": 0.9, **settings}
    return make(Steep(), line, **given)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_step_that_overflows_is_skipped_and_no_divergence(make, line, kind):
    model = Steep()
    settings, optimizer = KINDS[kind]
    optimizer = optimizer(model.parameters())
    for group in optimizer.param_groups:
        group["lr"] = 1e-3
    lose = lambda output, target: functional.mse_loss(output, target[:, None])  # noqa: E731
    losses, scaler = by_hand(model, line, optimizer, {0: "float16"}, 9, lose=lose)
    run = steep(make, line, **settings)
    first = weights(run.model)
    run.step(1)
    assert torch.equal(weights(run.model), first)
    run.step(8)
    assert scaler.get_scale() < 2.0**15
    assert torch.equal(weights(run.model), weights(model))
    assert run.history["loss"][1].tolist() == losses
    assert not [entry for entry in run.journal if entry.name == "diverged"]


def test_a_loss_that_is_no_number_is_a_divergence_as_ever(make, line):
    run = make(Steep(), (line[0] * 1e5, line[1]), loss="mse", precision="float16")
    with pytest.raises(FloatingPointError, match=r"loss (inf|nan) in step 0"):
        run.fit()


def test_fused_sgd_of_the_users_skips_a_first_step_unharmed(make, line):
    results = []
    for fused in (True, False):
        model = Steep()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, fused=fused)
        run = make(model, line, loss="mse", precision="float16", optimizer=optimizer)
        run.step(9)
        results.append(weights(run.model))
    torch.testing.assert_close(*results)


def test_the_scaler_comes_back_with_the_run(make, line):
    run = steep(make, line)
    run.step(12)
    scale, after = run.training.acting.part(Precision).scaling, weights(run.model)
    assert scale["scale"] < 2.0**15
    assert scale["_growth_tracker"] > 0
    for step in (0, 1, 3, 11):
        run.rewind(step)
        assert (run.training.acting.part(Precision).scaling is None) == (step == 0)
        run.step(12 - step)
        assert run.training.acting.part(Precision).scaling == scale
        assert torch.equal(weights(run.model), after)
    branch = run.branch(at=5)
    branch.step(7)
    again = run.replay()
    again.wait(60)
    for other in (branch, again):
        assert torch.equal(weights(other.model), after)
        assert other.training.acting.part(Precision).scaling == scale


def test_the_scaler_comes_back_from_the_store(make, line, tmp_path):
    run, alone = (steep(make, line, store=place) for place in (tmp_path, None))
    run.step(5)
    alone.step(12)
    run.pause()
    opened = nbopt.open(run.id, Steep(), line, store=tmp_path)
    opened.step(7)
    assert torch.equal(weights(opened.model), weights(alone.model))
    assert opened.training.acting.part(Precision).scaling == alone.training.acting.part(Precision).scaling


def test_a_sweep_of_learning_rates_leaves_the_scaler_alone(make, line):
    run, alone = steep(make, line), steep(make, line)
    for each in (run, alone):
        each.step(3)
    assert len(run.find_lr(1e-6, 10.0, 20).rates) > 3
    for each in (run, alone):
        each.step(5)
    assert torch.equal(weights(run.model), weights(alone.model))
    assert run.training.acting.part(Precision).scaling == alone.training.acting.part(Precision).scaling


def test_a_step_that_broke_off_before_its_update_is_done_again(make, line):
    run, alone = steep(make, line, clip_norm=1e6), steep(make, line, clip_norm=1e6)
    run.step(4)
    training = run.training

    def interrupt():
        raise KeyboardInterrupt

    training.acting.after_gradients.append(interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.fit()
    training.acting.refresh()
    run.step(4)
    alone.step(8)
    assert torch.equal(weights(run.model), weights(alone.model))


def test_what_the_optimizer_does_not_hold_is_unscaled_too(make, images):
    norms = []
    for name in ("float32", "float16"):
        model = net()
        held = list(model.parameters())[-2:]
        run = make(model, precision=name, optimizer=torch.optim.SGD(held, lr=0.05))
        run.step(1)
        norms.append(torch.stack([weight.grad.norm() for weight in model.parameters()]))
    torch.testing.assert_close(*norms, rtol=0.02, atol=1e-3)


# -- with other techniques


@pytest.mark.parametrize("name", LOW)
@pytest.mark.parametrize(
    "settings",
    [
        {"mixup": 0.5, "label_smoothing": 0.1},
        {"schedule": "hypergradient", "hypergradient_lr": 1e-3},
        {"schedule": "one_cycle", "l1": 1e-3, "max_norm": 1.0, "clip_value": 0.1},
        {"rotate": 10.0, "flip": 0.5, "input_noise": 0.1},
        {"loss": ["cross_entropy", "hinge"], "balance": "uncertainty", "micro_batch": 5},
    ],
)
def test_it_comes_close_to_float32_whatever_else_acts(make, images, name, settings):
    runs = [make(val=images, epochs=2, optimizer="sgd", **settings, precision=each) for each in ("float32", name)]
    for run in runs:
        run.fit()
    full, low = (run.history["loss"][1] for run in runs)
    assert full.tolist() != low.tolist()
    assert low == pytest.approx(full, rel=0.05)


@pytest.mark.parametrize("optimizer", ["lbfgs", "newton"])
def test_steps_on_all_samples_work_in_bfloat16(make, images, optimizer):
    full, low = (make(precision=each, optimizer=optimizer, lr=0.5) for each in ("float32", "bfloat16"))
    for run in (full, low):
        run.step(4)
    assert low.history["loss"][1].tolist() != full.history["loss"][1].tolist()
    assert low.history["loss"][1] == pytest.approx(full.history["loss"][1], rel=0.1)
