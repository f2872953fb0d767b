"""Training to the end in one's own thread, and what a run tells of its progress and history."""

import threading
import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.overrides import BaseTorchFunctionMode
from torch.utils.data import DataLoader, TensorDataset

from nbopt import RunState
from tests import zygote
from tests.run.test_run import FOREVER

# -- fit


def test_fit_blocks_and_returns_the_run(make_run, capsys):
    run = make_run(epochs=2, batch_size=30)
    assert run.fit() is run
    assert run.state is RunState.FINISHED
    assert threading.current_thread() is threading.main_thread()
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("epoch 2/2 step 4 loss=") and last.endswith(" finished")


def test_fit_goes_on_from_where_the_run_is(make_run, weights):
    whole, parts = make_run(epochs=2, batch_size=20).fit(), make_run(epochs=2, batch_size=20)
    parts.step(4)
    parts.fit()
    assert torch.equal(weights(whole), weights(parts))


def test_ctrl_c_in_fit_pauses_the_run(make_run, weights):
    def forward(model, batch):
        if run.step_count == 3 and not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt
        return model(batch[0]), batch[1]

    interrupted = []
    run = make_run(forward=forward, epochs=2, batch_size=20)
    with pytest.raises(KeyboardInterrupt):
        run.fit()
    assert (run.state, run.step_count) == (RunState.PAUSED, 3)
    run.fit()
    assert torch.equal(weights(run), weights(make_run(epochs=2, batch_size=20).fit()))


def test_fit_waits_for_a_run_that_trains_already(make_run):
    run = make_run(epochs=20, batch_size=5)
    run.start()
    assert run.fit().state is RunState.FINISHED


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        (
            lambda: torch.autocast("cpu", torch.bfloat16),
            r'torch\.autocast\("cpu", torch\.bfloat16\) holds in this thread',
        ),
        (BaseTorchFunctionMode, "BaseTorchFunctionMode holds in this thread alone.*: call fit"),
        (lambda: torch.autograd.graph.save_on_cpu(), "saved_tensors_hooks holds in this thread"),
        (torch.inference_mode, "gradients are turned off here"),
        (lambda: torch.device("meta"), r"made on meta by default.*: torch\.set_default_device\(None\)"),
    ],
    ids=["autocast", "function", "saved", "inference", "device"],
)
def test_modes_that_another_thread_would_not_have_are_refused_before_it_is_begun(make_run, mode, told):
    run = make_run(epochs=1, batch_size=20)
    for go in (run.start, run.step):
        with mode(), pytest.raises(RuntimeError, match=told):
            go()
    assert (run.state, len(run.journal)) == (RunState.CREATED, 0)
    with torch.device("cpu"):  # where tensors are made anyway
        run.step()


def test_fit_has_the_modes_around_it_as_a_loop_there_and_what_does_not_is_not_exact(make_run, blobs, mlp):
    model, loader = mlp(), DataLoader(TensorDataset(*blobs), batch_size=20)
    run = make_run(train=loader, optimizer="sgd", lr=0.1, epochs=2)
    losses, optimizer = [], torch.optim.SGD(model.parameters(), 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        run.fit()
        for x, y in [*loader, *loader]:
            optimizer.zero_grad()
            losses.append(nn.functional.cross_entropy(model(x), y))
            losses[-1].backward()
            optimizer.step()
    assert run.history["loss"][1].tolist() == [loss.item() for loss in losses]
    assert 'torch.autocast("cpu", torch.bfloat16) is on around this training' in run.journal[0].new
    run.snapshots.forget_after(0)
    run.rewind(4)
    assert 'Why: torch.autocast("cpu", torch.bfloat16) is not on now' in run.exactness


# -- progress and history


def test_progress_speed_and_time_left(make_run):
    run = make_run(batch_size=15, epochs=4)
    run.step(6)
    assert (run.progress, run.epoch) == (1.5, 1)
    assert run.seconds_left == pytest.approx(run.history.last("_time") / 1.5 * 2.5)
    assert run.history["_epoch"][1][-1] == 1.5


def test_the_clock_leaves_pauses_out(make_run, monkeypatch):
    late = 0.0
    clock = SimpleNamespace(perf_counter=lambda: time.perf_counter() + late)
    monkeypatch.setattr("nbopt.training.loss_buffer.time", clock)
    run = make_run(batch_size=20, epochs=FOREVER)
    run.step(3)
    before = run.history.last("_time")
    late += 1000.0
    run.step(1)
    assert before <= run.history.last("_time") < before + 1000


def test_the_history_has_a_loss_for_every_step_and_a_validation_for_every_epoch(make_run, blobs):
    run = make_run(val=blobs, epochs=3, batch_size=25, metrics=["accuracy"]).fit()
    assert run.history["loss"][0].tolist() == list(range(9))
    for name in ("val_loss", "val_accuracy", "accuracy"):
        assert run.history[name][0].tolist() == [3, 6, 9]
    assert set(run.history.names) == {"loss", "val_loss", "val_accuracy", "accuracy"}


def test_the_validation_loss_is_the_mean_over_all_samples(make_run, blobs):
    val = DataLoader(TensorDataset(*blobs), batch_sampler=[list(range(50)), list(range(50, 60))])
    run = make_run(val=val, epochs=1, metrics="accuracy").fit()
    with torch.no_grad():
        output = run.model.eval()(blobs[0])
    assert run.history.last("val_loss") == pytest.approx(float(nn.functional.cross_entropy(output, blobs[1])), rel=1e-6)
    assert run.history.last("val_accuracy") == pytest.approx(float((output.argmax(1) == blobs[1]).float().mean()))


def test_validation_leaves_model_and_gradients_alone(make_run, blobs, weights):
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with_val = make_run(model, val=blobs, epochs=3, batch_size=20).fit()
    other = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    other.load_state_dict(state)
    without = make_run(other, epochs=3, batch_size=20).fit()
    assert torch.equal(weights(with_val), weights(without))


@pytest.mark.parametrize("store", ["None", "'runs'"])
def test_a_process_may_end_while_its_run_trains(tmp_path, store):
    script = f"""
import nbopt, torch
x, y = torch.randn(500, 64), torch.randint(10, (500,))
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Dropout(0.5), torch.nn.Linear(64, 10))
run = nbopt.Run(model, (x, y), val=0.2, epochs=10**9, store={store})
run.start()
"""
    done = zygote.run(script, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_series_is_empty_before_its_first_value(make_run, blobs):
    run = make_run(val=blobs, metrics=["accuracy"], store=None)
    for name in ("loss", "val_loss", "accuracy", "val_accuracy"):
        assert [len(part) for part in run.history[name]] == [0, 0]
    with pytest.raises(KeyError):
        make_run(store=None).history["val_loss"]
