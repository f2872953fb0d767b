"""Eager steps on a GPU: mixed precision, memory formats, copies ahead, memory that runs out, and exact ways back."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbopt import Run
from nbopt.data.tensor_source import TensorSource


def image_net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
        )


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(320, 3, 12, 12, generator=generator), torch.arange(320) % 10


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_is_torchs_own_recipe(make_run, net, data, device, precision):
    run = make_run(optimizer="sgd", lr=0.1, batch_size=640, precision=precision)
    model = copy.deepcopy(run.model).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
    losses = []
    run.events()
    for step in range(5):
        cursor = run.training.cursor
        x, y = (part.clone() for part in cursor.peek())
        run.step(1)
        optimizer.zero_grad()
        with torch.autocast(device.type, getattr(torch, precision)):
            loss = functional.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
        assert run.step_count == step + 1
    torch.testing.assert_close(list(run.history["loss"][1]), losses, rtol=1e-5, atol=1e-6)


def test_precision_changes_on_the_way_and_back(make_run, weights):
    run = make_run()
    for precision in ("bfloat16", "float16", "float32"):
        run.set(precision=precision)
        run.step(10)
    again = run.replay()
    again.wait(60)
    assert torch.equal(weights(again), weights(run))


def test_channels_last_is_only_another_order_in_memory(make_run, images, weights):
    runs = [make_run(image_net(), images, channels_last=flag, optimizer="sgd", lr=0.01) for flag in (False, True)]
    for run in runs:
        run.step(20)
    assert runs[1].model[0].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(weights(runs[0]), weights(runs[1]), rtol=1e-3, atol=1e-4)


def test_samples_copied_ahead_are_those_that_stay_on_the_device(make_run, monkeypatch, weights):
    resident = make_run(batch_size=32)
    resident.step(50)
    monkeypatch.setattr("nbopt.training.prepare.fits", lambda nbytes, device: False)
    copied = make_run(batch_size=32)
    copied.step(50)
    source = copied.training.cursor.source
    assert isinstance(source, TensorSource) and not source.resident
    assert torch.equal(weights(resident), weights(copied))


def test_memory_that_runs_out_splits_the_batch(make_run, device, cuda_only):
    width = 4096
    data = torch.randn(8192, width), torch.arange(8192) % 10
    model = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
    run = make_run(model, data, batch_size=256, optimizer="sgd", lr=1e-3, tier="eager")
    run.step(2)
    used = torch.cuda.memory_reserved(device)
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.empty_cache()
    try:
        torch.cuda.set_per_process_memory_fraction((used + 2**26) / total, device)
        run.set(batch_size=8192)
        run.step(4)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    assert [entry.name for entry in run.journal if entry.name == "out_of_memory"]
    assert 0 < run.hyperparams["micro_batch"] < 8192
    assert run.step_count == 6


def test_the_same_seed_and_changes_give_the_same_bits(make_run, net, weights):
    ends = []
    for _run in range(2):
        run = make_run(net(dropout=0.5), val=0.2)
        run.step(30)
        run.set(lr=0.01, batch_size=128)
        run.step(30)
        ends.append(weights(run))
    assert torch.equal(*ends)


def test_replay_rewind_and_branch_are_exact(make_run, net, weights):
    run = make_run(net(dropout=0.5))
    run.step(20)
    run.set(lr=0.01)
    run.step(15)
    there = weights(run)
    run.step(25)
    branch = run.branch(at=35)
    assert torch.equal(weights(branch), there)
    again = run.replay()
    again.wait(60)
    assert torch.equal(weights(again), weights(run))
    run.rewind(35)
    assert torch.equal(weights(run), there)


def test_a_run_leaves_the_generators_of_the_user_alone(make_run, net, device, cuda_only):
    torch.cuda.manual_seed(7)
    before = torch.cuda.get_rng_state(device)
    make_run(net(dropout=0.5)).step(10)
    assert torch.equal(torch.cuda.get_rng_state(device), before)


def test_a_run_is_opened_again_where_it_was(make_run, net, data, weights, tmp_path, device):
    import nbopt

    run = make_run(net(dropout=0.3), store=tmp_path)
    run.step(40)
    run.stop()
    there, steps = weights(run), run.step_count
    opened = nbopt.open(run.id, net(dropout=0.3), data, store=tmp_path, device=device)
    assert opened.step_count == steps
    assert torch.equal(weights(opened), there)


class TwoHeads(nn.Module):
    """Returns a score for each class, and a number, by name."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Dropout(0.2))
            self.digit, self.size = nn.Linear(32, 10), nn.Linear(32, 1)

    def forward(self, x):
        h = self.body(x)
        return {"digit": self.digit(h), "size": self.size(h)}


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_several_outputs_are_trained_measured_and_repeated(data, device, weights, precision):
    x, y = data
    given = (x, {"digit": y, "size": x.norm(dim=1)})
    losses = {"digit": "cross_entropy", "size": (0.3, "mse")}
    metrics = {"digit": ["accuracy"], "size": ["mae"]}
    settings = {"metrics": metrics, "precision": precision, "batch_size": 64, "epochs": 3, "lr": 0.01}
    run = Run(TwoHeads(), given, given, losses, **settings, device=device, store=None)
    run.step(12)
    run.set(size_weight=0.1)
    run.fit()
    again = run.replay()
    again.wait(60)
    assert torch.equal(weights(again), weights(run)) and again.exact is not False
    names = ["digit_loss", "size_loss", "val_digit_loss", "val_size_loss", "digit_accuracy", "val_size_mae"]
    assert {name: again.history[name][1].tolist() for name in names} == {
        name: run.history[name][1].tolist() for name in names
    }
    total = run.history["digit_loss"][1][12:] + 0.1 * run.history["size_loss"][1][12:]
    assert total.tolist() == pytest.approx(run.history["loss"][1][12:].tolist(), rel=1e-2)
    assert run.history.last("val_digit_accuracy") > 0.5
