"""Changes asked of a run: when they act, and which are refused."""

import pytest
import torch
from torch import nn

from nbopt import RunState
from nbopt.errors import InvalidHyperparam, UnknownName
from tests.run.test_run import FOREVER


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
