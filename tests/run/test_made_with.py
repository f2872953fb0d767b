"""What a run is made with."""

import gc
import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from nbopt import Run, RunState
from nbopt.run.session.registry import live_runs


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
