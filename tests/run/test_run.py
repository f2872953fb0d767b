"""A run from outside: transport, states, changes, what it tells."""

import gc
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import nbopt
from nbopt import Run, RunState
from nbopt.errors import InvalidHyperparam, UnknownName
from nbopt.run.registry import live_runs

FOREVER = 10**9


def events_of(run):
    return [entry.name for entry in run.journal if entry.kind == "event"]


# -- states


def test_a_new_run_has_done_nothing(make_run):
    run = make_run(val=0.2)
    assert (run.state, run.step_count, run.epoch, run.progress, run.error) == (RunState.CREATED, 0, 0, 0.0, None)
    assert (run.optimizer, run.stopping, run.steps_per_second, run.seconds_left) == (None, None, None, None)
    assert len(run.journal) == len(run.history) == 0


def test_start_trains_in_the_background_to_the_end(make_run):
    run = make_run(epochs=3, batch_size=20)
    run.start()
    assert run.wait(60) is RunState.FINISHED
    assert (run.step_count, run.epoch, run.end_reason) == (9, 3, "all 3 epochs done")
    assert events_of(run) == ["start", "finished"]
    assert run.history["loss"][0].tolist() == list(range(9))


def test_pause_and_resume(make_run):
    run = make_run(epochs=FOREVER)
    run.start()
    run.pause()
    assert run.state is RunState.PAUSED
    steps = run.step_count
    assert steps >= 1
    assert len(run.history["loss"][1]) == steps
    run.resume()
    assert run.state is RunState.RUNNING
    run.pause()
    assert run.step_count > steps
    assert events_of(run) == ["start", "pause", "resume", "pause"]


def test_step_does_so_many_steps_and_pauses(make_run):
    run = make_run(batch_size=20, epochs=FOREVER)
    run.step()
    assert (run.step_count, run.state) == (1, RunState.PAUSED)
    run.step(5)
    assert (run.step_count, run.state) == (6, RunState.PAUSED)
    assert events_of(run) == ["step", "pause", "step", "pause"]


@pytest.mark.parametrize("n", [0, -1, 1.5, "2", True])
def test_step_needs_a_whole_number_of_at_least_one(make_run, n):
    with pytest.raises(InvalidHyperparam, match="n must be a whole number at least 1"):
        make_run().step(n)


def test_a_step_that_completes_an_epoch_sees_its_validation_through(make_run, blobs):
    run = make_run(val=blobs, batch_size=30, epochs=5)
    run.step(2)
    assert run.history["val_loss"][0].tolist() == [2]


def test_a_run_stepped_to_its_end_is_finished(make_run, blobs):
    run = make_run(val=blobs, batch_size=30, epochs=2)
    run.step(4)
    assert (run.state, run.end_reason) == (RunState.FINISHED, "all 2 epochs done")
    assert run.wait(0) is RunState.FINISHED


def test_stop_ends_a_running_run_where_it_is(make_run):
    run = make_run(epochs=FOREVER)
    run.start()
    run.stop()
    assert (run.state, run.end_reason) == (RunState.STOPPED, "stopped by hand")
    assert run.wait(0) is RunState.STOPPED


@pytest.mark.parametrize("before", ["created", "paused"])
def test_stop_works_at_rest(make_run, before):
    run = make_run(epochs=FOREVER)
    if before == "paused":
        run.step()
    run.stop()
    assert run.state is RunState.STOPPED
    run.stop()
    assert events_of(run)[-2:] == (["pause", "stopped"] if before == "paused" else ["stopped"])


def test_a_stopped_run_can_go_on(make_run):
    run = make_run(batch_size=20, epochs=2)
    run.step(2)
    run.stop()
    run.resume()
    assert run.wait(60) is RunState.FINISHED
    assert run.step_count == 6


def test_what_is_asked_of_a_run_that_has_ended_changes_nothing(make_run):
    run = make_run(epochs=1).fit()
    run.pause()
    run.stop()
    assert run.state is RunState.FINISHED
    with pytest.raises(RuntimeError, match=r"the run is complete \(all 1 epochs done\). Set epochs higher"):
        run.resume()
    with pytest.raises(RuntimeError, match="complete"):
        run.step()
    assert run.state is RunState.FINISHED


def test_a_finished_run_trains_further_with_more_epochs(make_run, blobs):
    run = make_run(val=blobs, epochs=1, batch_size=30).fit()
    run.set(epochs=3)
    run.resume()
    assert run.wait(60) is RunState.FINISHED
    assert (run.epoch, run.step_count) == (3, 6)
    assert run.history["val_loss"][0].tolist() == [2, 4, 6]


def test_start_on_a_running_run_does_nothing(make_run):
    run = make_run(epochs=FOREVER)
    run.start()
    run.start()
    run.resume()
    assert events_of(run) == ["start"]
    run.pause()


def test_start_during_a_step_lets_the_run_go_on(make_run):
    gate = threading.Event()

    def forward(model, batch):
        assert gate.wait(60)
        return model(batch[0]), batch[1]

    run = make_run(forward=forward, epochs=FOREVER)
    run.step(2, wait=False)
    run.start(wait=False)
    gate.set()
    while run.step_count < 5:
        pass
    assert run.state is RunState.RUNNING


def test_resume_while_a_pause_is_still_asked_for_takes_it_back(make_run):
    inside, gate = threading.Event(), threading.Event()

    def forward(model, batch):
        inside.set()
        assert gate.wait(60)
        return model(batch[0]), batch[1]

    run = make_run(forward=forward, epochs=FOREVER)
    run.start(wait=False)
    inside.wait(60)
    waiting = threading.Thread(target=run.pause)
    waiting.start()
    while run.worker._pulling.goal is RunState.RUNNING:
        pass
    run.resume(wait=False)
    gate.set()
    waiting.join(60)
    assert not waiting.is_alive()
    assert run.state is RunState.RUNNING


def test_a_pause_does_not_take_back_a_stop(make_run):
    inside, gate = threading.Event(), threading.Event()

    def forward(model, batch):
        inside.set()
        assert gate.wait(60)
        return model(batch[0]), batch[1]

    run = make_run(forward=forward, epochs=FOREVER)
    run.start(wait=False)
    inside.wait(60)
    run.stop(wait=False)
    run.pause(wait=False)
    gate.set()
    assert run.wait(60) is RunState.STOPPED


def test_wait_returns_the_state_after_its_time(make_run):
    run = make_run(epochs=FOREVER)
    run.start()
    assert run.wait(0.01) is RunState.RUNNING


def test_stop_does_not_wait_for_a_long_validation(make_run, blobs):
    validating = threading.Event()

    def forward(model, batch):
        if not model.training:
            validating.set()
        return model(batch[0]), batch[1]

    val = DataLoader(TensorDataset(*blobs), batch_sampler=[[0]] * 100_000)
    run = make_run(val=val, forward=forward, epochs=5)
    run.start(wait=False)
    validating.wait(60)
    run.stop()
    assert run.state is RunState.STOPPED
    assert "val_loss" not in run.history


def test_a_validation_cut_off_by_a_stop_is_done_again(make_run, blobs):
    seen = []

    def forward(model, batch):
        if not model.training:
            seen.append(len(batch[0]))
            if len(seen) == 2:
                run.stop(wait=False)
        return model(batch[0]), batch[1]

    val = DataLoader(TensorDataset(*blobs), batch_sampler=[[0, 1], [2, 3], [4]])
    run = make_run(val=val, forward=forward, epochs=1, metrics="accuracy")
    run.start()
    assert run.wait(60) is RunState.STOPPED
    run.resume()
    assert run.wait(60) is RunState.FINISHED
    assert seen == [2, 2, 2, 2, 1]
    assert all(len(run.history[name][1]) == 1 for name in ("val_loss", "accuracy", "val_accuracy"))


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


# -- changes


def test_changes_at_rest_are_there_at_once(make_run):
    run = make_run(epochs=FOREVER)
    run.set(lr=0.5)
    assert run.hyperparams["lr"] == 0.5
    run.step(3)
    run.set(lr=0.25, batch_size=7)
    assert (run.hyperparams["lr"], run.hyperparams["batch_size"], run.pending) == (0.25, 7, frozenset())
    run.stop()
    run.set(lr=0.1)
    assert [entry[:5] for entry in run.journal.changes()] == [
        (0, "lr", 1e-3, 0.5, "code"),
        (3, "lr", 0.5, 0.25, "code"),
        (3, "batch_size", 64, 7, "code"),
        (3, "lr", 0.25, 0.1, "code"),
    ]


def test_what_is_asked_of_a_busy_run_is_pending_by_name_until_it_acts(make_run):
    def forward(model, batch):
        if run.step_count == 2:
            run.set(lr=0.5, l1=0.1)
            run.set(lr=0.25)
            seen.append((run.pending, run.hyperparams["lr"]))
        return model(batch[0]), batch[1]

    seen = []
    run = make_run(forward=forward, epochs=FOREVER)
    run.step(3)
    assert seen == [({"lr", "l1"}, 1e-3)]
    assert (run.pending, run.hyperparams["lr"]) == (frozenset(), 0.25)


def test_a_value_that_is_set_already_leaves_no_trace(make_run, weights):
    def train(again):
        run = make_run(epochs=2, batch_size=20, optimizer="adam", val=0.2)
        run.step(3)
        if again:
            run.set(**run.hyperparams)
        return run.fit()

    plain, again = train(False), train(True)
    assert again.journal.changes() == []
    assert torch.equal(weights(plain), weights(again))


def test_an_illegal_change_is_an_error_and_none_of_it_is_taken(make_run):
    run = make_run()
    with pytest.raises(InvalidHyperparam, match="batch_size must be a whole number at least 1; got 0"):
        run.set(lr=0.5, batch_size=0)
    with pytest.raises(UnknownName, match="unknown hyperparameter 'learning_rate'"):
        run.set(learning_rate=0.5)
    assert run.hyperparams["lr"] == 1e-3
    assert len(run.journal) == 0


def test_an_optimizer_is_swapped_with_the_shared_values_kept(make_run):
    run = make_run(optimizer="sgd", lr=0.1, momentum=0.5, weight_decay=0.01)
    run.step(2)
    run.set(optimizer="rmsprop")
    run.step(2)
    assert type(run.optimizer) is torch.optim.RMSprop
    group = run.optimizer.param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.5, 0.01)
    run.set(optimizer="adamw", beta1=0.5)
    run.step()
    assert type(run.optimizer) is torch.optim.AdamW
    assert run.optimizer.param_groups[0]["betas"] == (0.5, 0.999)


def test_the_values_of_an_optimizer_not_chosen_wait_until_it_is(make_run):
    run = make_run(optimizer="adam")
    run.set(momentum=0.7)
    assert "momentum" not in run.hyperparams.active
    run.set(optimizer="sgd")
    run.step()
    assert run.optimizer.param_groups[0]["momentum"] == 0.7
    assert "momentum" in run.hyperparams.active


def test_an_instance_swapped_out_before_the_start_is_out(make_run, mlp):
    model = mlp()
    own = torch.optim.Adam(model.parameters())
    run = make_run(model, optimizer=own)
    run.set(optimizer="sgd")
    run.step()
    assert type(run.optimizer) is torch.optim.SGD


def test_an_instance_is_the_optimizer_and_what_replaces_it_tunes_the_same_weights(make_run, mlp):
    model = mlp()
    own = torch.optim.Adam(model[3].parameters(), lr=0.1)
    frozen = model[0].weight.detach().clone()
    run = make_run(model, optimizer=own)
    run.step()
    assert run.optimizer is own
    run.set(optimizer="sgd")
    run.step()
    assert torch.equal(model[0].weight, frozen)


def test_an_optimizer_that_cannot_be_made_leaves_the_one_at_work(make_run):
    class Picky(torch.optim.SGD):
        def __init__(self, params, lr=0.1):
            if lr > 1:
                raise ValueError("picky")
            super().__init__(params, lr)

    run = make_run(optimizer=Picky)
    run.step()
    run.set(optimizer="adam", lr=2.0)
    run.step()
    with pytest.raises(ValueError, match="picky"):
        run.set(optimizer="Picky")
    assert run.hyperparams["optimizer"] == "adam"
    run.set(lr=0.5)
    run.step()
    assert type(run.optimizer) is torch.optim.Adam
    assert run.optimizer.param_groups[0]["lr"] == 0.5


def test_swapping_the_loss_forgets_the_best_of_the_other(make_run):
    x = torch.randn(40, 4)
    run = make_run(nn.Linear(4, 1), (x, x.sum(1)), val=0.5, loss="mse", epochs=50, batch_size=20)
    run.step(2)
    best = run.stopping.best
    assert best < float("inf")
    run.set(loss="huber")
    assert run.stopping.best == float("inf")
    run.step()
    assert run.stopping.best not in (best, float("inf"))


def test_each_layer_keeps_its_own_dropout_until_one_is_set(make_run):
    model = nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 3), nn.Dropout(0.5))
    run = make_run(model)
    run.step()
    assert (model[0].p, model[2].p, run.hyperparams["dropout"]) == (0.1, 0.5, 0.5)
    run.set(dropout=0.5)
    assert (model[0].p, model[2].p) == (0.5, 0.5)
    assert [entry.name for entry in run.journal.changes()] == ["dropout"]
    run.set(dropout=0.5)
    assert len(run.journal.changes()) == 1


@pytest.mark.parametrize("when", ["constructor", "before the start", "later"])
def test_a_dropout_that_is_asked_for_is_in_the_layers(make_run, mlp, when):
    model = mlp(0.3)
    run = make_run(model, **({"dropout": 0.6} if when == "constructor" else {}))
    if when == "before the start":
        run.set(dropout=0.6)
    run.step()
    if when == "later":
        assert model[2].p == 0.3
        run.set(dropout=0.6)
    assert model[2].p == 0.6


def test_the_source_of_a_change_and_of_a_command_is_noted(make_run):
    run = make_run(epochs=FOREVER)
    run.start(source="panel")
    run.set(lr=0.5, source="search")
    run.pause(source="guard")
    run.stop(source="panel")
    sources = [(entry.name, entry.source) for entry in run.journal]
    assert sources == [("start", "panel"), ("lr", "search"), ("pause", "guard"), ("stopped", "panel")]


def test_a_metric_may_steer_its_own_run(make_run, blobs):
    def pausing(output, target):
        if output.shape == (60, 3):
            run.set(lr=0.5)
            run.pause()
        return 1.0

    run = make_run(val=blobs, metrics=pausing, epochs=FOREVER, batch_size=20)
    run.start()
    run.wait(0)
    while run.state is RunState.RUNNING:
        pass
    assert (run.state, run.step_count, run.hyperparams["lr"]) == (RunState.PAUSED, 3, 0.5)


# -- what a run is made with


def test_giving_patience_switches_early_stopping_on(make_run):
    assert make_run(val=0.2, patience=3).hyperparams["early_stopping"] is True
    assert make_run(val=0.2, min_delta=0.1).hyperparams["early_stopping"] is True
    assert make_run(val=0.2, patience=3, early_stopping=False).hyperparams["early_stopping"] is False
    assert make_run(val=0.2).hyperparams["early_stopping"] is False


def test_what_cannot_act_is_told_with_the_reason(make_run, blobs):
    with pytest.warns(UserWarning, match="dropout: the model has no dropout layer"):
        run = make_run(nn.Linear(4, 3), dropout=0.5)
    assert run.inert["patience"] == "there is no validation loss without val"
    with pytest.warns(UserWarning, match="patience: there is no validation loss"):
        make_run(patience=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = make_run(val=0.2, dropout=0.5, patience=3)
    assert run.inert.keys() == {"channels_last"}
    with pytest.warns(UserWarning, match="channels_last: the model has no weights of four dimensions"):
        make_run(channels_last=True)


def test_a_loader_s_batch_size_is_taken_over_and_stays_live(make_run, blobs):
    loader = DataLoader(TensorDataset(*blobs), batch_size=7, shuffle=True)
    sizes = []

    def forward(model, batch):
        sizes.append(len(batch[0]))
        return model(batch[0]), batch[1]

    run = make_run(train=loader, forward=forward)
    assert run.hyperparams["batch_size"] == 7
    run.step()
    run.set(batch_size=11)
    run.step()
    assert sizes == [7, 11]
    assert make_run(train=loader, batch_size=5).hyperparams["batch_size"] == 5


def test_the_batches_of_a_stream_are_its_own(make_run, blobs):
    class Stream(IterableDataset):
        def __iter__(self):
            return zip(*blobs, strict=True)

    sizes = []

    def forward(model, batch):
        sizes.append(len(batch[0]))
        return model(batch[0]), batch[1]

    train, val = DataLoader(Stream(), batch_size=25), DataLoader(Stream(), batch_size=60)
    run = make_run(train=train, val=val, forward=forward, epochs=2).fit()
    assert sizes == [25, 25, 10, 60] * 2
    assert (run.epoch, run.step_count) == (2, 6)
    assert run.inert["batch_size"] == "the DataLoader makes the batches"


def test_batches_of_any_shape_work_with_forward(make_run, mlp, blobs):
    x, y = blobs
    data = [{"a": x[i, :2], "b": x[i, 2:], "label": y[i]} for i in range(60)]

    class Records(torch.utils.data.Dataset):
        def __len__(self):
            return 60

        def __getitem__(self, index):
            return data[index]

    def forward(model, batch):
        return model(torch.cat([batch["a"], batch["b"]], 1)), batch["label"]

    dicts = make_run(train=Records(), val=Records(), forward=forward, epochs=2, metrics="accuracy").fit()
    plain = make_run(val=blobs, epochs=2, metrics="accuracy").fit()
    assert dicts.history.last("val_loss") == pytest.approx(plain.history.last("val_loss"))
    assert dicts.history.last("val_accuracy") == plain.history.last("val_accuracy")


def test_a_fraction_holds_out_a_stratified_part(make_run, blobs):
    seen = {True: [], False: []}

    def forward(model, batch):
        seen[model.training].append(batch)
        return model(batch[0]), batch[1]

    make_run(val=0.2, forward=forward, epochs=1).fit()
    train, val = (torch.cat([y for _x, y in seen[training]]) for training in (True, False))
    assert torch.bincount(train).tolist() == [16, 16, 16]
    assert torch.bincount(val).tolist() == [4, 4, 4]


def test_validation_follows_a_loader_s_sampler(make_run, blobs):
    seen = []

    def forward(model, batch):
        if not model.training:
            seen.extend(batch[0][:, 0].tolist())
        return model(batch[0]), batch[1]

    chosen = torch.utils.data.SubsetRandomSampler([50, 7, 33])
    make_run(val=DataLoader(TensorDataset(*blobs), sampler=chosen), forward=forward, epochs=2).fit()
    assert sorted(seen) == sorted(blobs[0][[50, 7, 33], 0].tolist() * 2)


def test_names_and_ids(make_run):
    run = make_run(name="wide")
    other = make_run()
    assert (run.name, other.name) == ("wide", f"Sequential {other.id[:4]}")
    assert run.id != other.id
    assert repr(run) == "<Run 'wide': created, epoch 0/20, step 0>"
    assert run._repr_mimebundle_() == {"text/plain": repr(run)}


def test_live_runs_lists_runs_until_they_are_gone(mlp, blobs):
    run = Run(mlp(), blobs)
    assert run in live_runs()
    name = run.name
    del run
    gc.collect()
    assert name not in [other.name for other in live_runs()]


def test_watchers_hear_of_every_change_until_they_leave(make_run):
    run, heard = make_run(), []
    wake = lambda: heard.append(run.state)  # noqa: E731
    run.watch(wake)
    run.set(lr=0.5)
    assert len(heard) == 1
    run.step()
    assert RunState.RUNNING in heard and RunState.PAUSED in heard
    run.unwatch(wake)
    count = len(heard)
    run.set(lr=0.25)
    assert len(heard) == count


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
    path = {**os.environ, "PYTHONPATH": str(Path(nbopt.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=path, capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_series_is_empty_before_its_first_value(make_run, blobs):
    run = make_run(val=blobs, metrics=["accuracy"], store=None)
    for name in ("loss", "val_loss", "accuracy", "val_accuracy"):
        assert [len(part) for part in run.history[name]] == [0, 0]
    with pytest.raises(KeyError):
        make_run(store=None).history["val_loss"]
