"""Steps as the unit: a run's length, its schedules and its validations, on streams without an end too."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset

import nbopt
from nbopt import Run, RunState
from nbopt.errors import InvalidHyperparam
from nbopt.techniques.plan import Plan
from nbopt.training.state import Validated
from tests.export import scripts
from tests.export.scripts import is_tidy

SIZE = 20  # of a batch; the blobs have three


class Endless(IterableDataset):
    """Samples without an end, the same each time."""

    def __iter__(self):
        for seed in itertools.count():
            generator = torch.Generator().manual_seed(seed)
            label = seed % 3
            yield torch.randn(4, generator=generator) + 3 * functional.one_hot(torch.tensor(label), 4), label


class Counted(Endless):
    """The same, ended after 60 samples without telling so."""

    def __iter__(self):
        return itertools.islice(super().__iter__(), 60)


def endless():
    return DataLoader(Endless(), batch_size=SIZE)


def pulled(run):
    for _event in run.events():
        pass
    return run


def rates(run):
    return run.history["lr"][1].tolist()


def plain(model, factor, steps, lr=0.1):
    """Train as a loop of one's own does, with torch's LambdaLR stepped after each step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    for x, y in itertools.islice(endless(), steps):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        scheduler.step()
    return model


def same(one, other):
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


FACTORS = {
    "linear": ({"schedule": "linear"}, lambda step: 1 - step / 40),
    "cosine": ({"schedule": "cosine"}, lambda step: (1 + math.cos(math.pi * step / 40)) / 2),
    "warm-up": ({"warmup_steps": 10}, lambda step: 0.01 + 0.99 * min(1.0, step / 10)),
    "both": (
        {"schedule": "linear", "warmup_steps": 10},
        lambda step: (0.01 + 0.99 * min(1.0, step / 10)) * (1 - step / 40),
    ),
}


@pytest.mark.parametrize("name", FACTORS)
def test_on_a_stream_without_an_end_the_weights_are_those_of_a_plain_loop(mlp, name):
    settings, factor = FACTORS[name]
    run = pulled(Run(mlp(), endless(), optimizer="sgd", lr=0.1, steps=40, store=None, **settings))
    assert run.end_reason or run.step_count == 40
    assert rates(run) == pytest.approx([0.1 * factor(step) for step in range(40)], rel=1e-12)
    right = plain(mlp(), factor, 40)
    if name in ("linear", "cosine", "warm-up"):  # a product of three has two orders
        assert same(run.model, right)
    for ours, theirs in zip(run.model.parameters(), right.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_one_cycle_goes_up_and_far_down_on_a_stream_without_an_end(mlp):
    found = rates(pulled(Run(mlp(), endless(), schedule="one_cycle", pct_start=0.25, lr=0.1, steps=40, store=None)))
    assert found.index(max(found)) == 10
    assert max(found) == pytest.approx(0.1)
    assert found[0] == pytest.approx(0.004)
    assert found[-1] < 0.001


def test_a_run_in_steps_ends_there_whatever_its_epochs(mlp, blobs):
    run = Run(mlp(), blobs, blobs, batch_size=SIZE, epochs=2, steps=10, store=None).fit()
    assert (run.step_count, run.epoch, run.end_reason) == (10, 3, "all 10 steps done")
    assert run.history["val_loss"][0].tolist() == [3, 6, 9, 10]
    assert run.share == 1.0
    with pytest.raises(RuntimeError, match=r"all 10 steps done\). Set steps higher to go on"):
        run.resume()
    run.set(steps=12)
    run.fit()
    assert run.step_count == 12
    run.set(steps=0, epochs=5)
    run.fit()
    assert (run.step_count, run.end_reason) == (15, "all 5 epochs done")


def test_progress_and_time_left_are_counted_in_steps(mlp, capsys):
    run = Run(mlp(), endless(), steps=40, store=None)
    assert "epoch 0, step 0/40" in repr(run)
    run.step(10)
    assert run.share == 0.25
    assert run.seconds_left == pytest.approx(3 * run.history.last("_time"))
    run.fit()
    assert "epoch 0 step 40/40" in capsys.readouterr().err


def test_early_stopping_ends_a_stream_without_an_end(mlp, blobs):
    run = Run(mlp(), endless(), blobs, steps=10_000, validate_every=5, patience=2, min_delta=1e6, store=None).fit()
    assert run.history["val_loss"][0].tolist() == [5, 10, 15]
    assert run.end_reason.startswith("stopped early")
    assert run.step_count == 15


def test_validations_stand_where_they_are_asked_for(mlp, blobs):
    run = Run(mlp(), blobs, blobs, metrics="accuracy", batch_size=SIZE, epochs=4, validate_every=5, store=None)
    events = [event.step for event in run.events() if isinstance(event, Validated)]
    assert events == [5, 10, 12]
    for name in ("val_loss", "val_accuracy", "accuracy"):
        assert run.history[name][0].tolist() == events
    at, epochs = run.history["_epoch"]
    assert dict(zip(at.tolist(), epochs.tolist(), strict=True))[5] == pytest.approx(5 / 3)


def test_the_interval_is_live_and_a_replay_follows(mlp, blobs, weights):
    run = Run(mlp(0.2), blobs, blobs, batch_size=SIZE, epochs=6, validate_every=4, schedule="plateau", store=None)
    run.set(plateau_patience=0, lr=0.5)
    run.step(6)
    run.set(validate_every=2)
    run.step(4)
    run.set(validate_every=0)
    run.fit()
    steps = run.history["val_loss"][0].tolist()
    assert steps == [4, 8, 10, 12, 15, 18]
    assert len(set(rates(run))) > 1
    twin = run.replay()
    twin.wait()
    branch = run.branch(at=7)
    branch.set(validate_every=2)
    branch.step(3)
    branch.set(validate_every=0)
    branch.fit()
    run.rewind(9)
    run.set(validate_every=2)
    run.step(1)
    run.set(validate_every=0)
    run.fit()
    for other in (twin, branch, run):
        assert torch.equal(weights(other), weights(twin))
        assert other.history["val_loss"][0].tolist() == steps
        assert other.history["val_loss"][1].tolist() == twin.history["val_loss"][1].tolist()


def test_the_end_of_an_epoch_by_a_change_is_not_validated_twice(mlp, blobs):
    x, y = (tensor[:50] for tensor in blobs)
    loader = DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=10, drop_last=True)
    run = Run(mlp(), loader, blobs, epochs=2, validate_every=2, store=None)
    run.step(4)
    run.set(batch_size=20)  # which drops the ten that are left
    run.fit()
    assert run.history["val_loss"][0].tolist() == [2, 4, 6]


def test_a_compiled_call_stops_for_a_validation(make_tiered, blobs, compiled):
    settings = {"val": blobs, "epochs": 4, "validate_every": 7, "metrics": "accuracy"}
    run = pulled(make_tiered(**settings))
    assert any(entry.name == "switch" and entry.new["steps"] == 4 for entry in run.journal)
    eager = pulled(make_tiered(tier="eager", **settings))
    for name in ("val_loss", "accuracy"):
        assert run.history[name][0].tolist() == eager.history[name][0].tolist() == [*range(7, 60, 7), 60]
        assert run.history[name][1] == pytest.approx(eager.history[name][1], rel=1e-3)


def test_words_say_where_the_rate_stands_still(mlp):
    loader = DataLoader(Counted(), batch_size=SIZE)
    with pytest.warns(UserWarning, match="warmup, schedule: the stream has no length.*steps=.*warmup_steps="):
        run = pulled(Run(mlp(), loader, schedule="cosine", warmup=0.5, epochs=2, store=None))
    assert run.step_count == 6
    assert [entry.new for entry in run.journal if entry.name == "note"] != []


@pytest.mark.filterwarnings("error")
def test_where_the_rate_moves_nothing_is_said(mlp, blobs):
    pulled(Run(mlp(), endless(), schedule="cosine", warmup_steps=5, steps=9, store=None))
    pulled(Run(mlp(), blobs, schedule="cosine", warmup=0.5, epochs=2, batch_size=SIZE, store=None))


def test_rates_are_tried_beyond_the_run_s_length(mlp, blobs):
    run = Run(mlp(), endless(), blobs, optimizer="sgd", steps=12, warmup_steps=9, validate_every=2, store=None)
    run.step(10)
    sweep = run.find_lr(1e-4, 1e-2, 20)
    assert len(sweep.rates) == 20
    assert run.step_count == 10


def test_where_no_terminal_is_there_are_twenty_lines(mlp, monkeypatch, capsys):
    monkeypatch.setattr("nbopt.run.progress._SECONDS", 0.0)
    Run(mlp(), endless(), steps=100, store=None).fit()
    assert [line.split()[3] for line in capsys.readouterr().err.splitlines()] == [
        *(f"{step}/100" for step in range(5, 101, 5)),
        "100/100",
    ]


# -- files


CHANGES = {
    "as it is": ({}, {}),
    "in steps": ({"steps": 8}, {}),
    "often": ({"validate_every": 2}, {}),
    "both": ({"steps": 11, "validate_every": 4}, {}),
    "longer": ({"steps": 6, "validate_every": 4}, {2: {"steps": 9}, 5: {"validate_every": 0}}),
    "in epochs again": ({"steps": 50, "epochs": 3}, {4: {"steps": 0, "validate_every": 5}}),
    "patience": ({"patience": 1, "min_delta": 0.5, "validate_every": 2, "steps": 30}, {}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_script_validates_and_ends_as_the_run_did(mlp, blobs, name):
    settings, schedule = CHANGES[name]
    settings = {"epochs": 4, "batch_size": SIZE, "metrics": "accuracy", "schedule": "cosine", "lr": 0.1, **settings}
    run, initial = scripts.make(mlp(0.1), blobs, blobs, **settings)
    scripts.follow(run, schedule)
    text = run.to_python()
    measured = scripts.execute(text, initial, blobs, blobs)
    for series in ("val_loss", "accuracy", "val_accuracy"):
        assert measured[series] == run.history[series][1].tolist()
    assert len(measured["loss"]) == len(measured["val_loss"])
    assert same(run.model, initial)
    assert is_tidy(text)


def test_a_script_goes_through_a_stream_without_an_end(mlp, blobs):
    run, initial = scripts.make(mlp(0.1), endless(), blobs, steps=9, validate_every=4, schedule="linear")
    scripts.follow(run, {3: {"lr": 0.01}})
    measured = scripts.execute(run.to_python(), initial, endless(), blobs)
    assert measured["val_loss"] == run.history["val_loss"][1].tolist()
    assert same(run.model, initial)


def test_a_recipe_tells_the_length_from_where_a_run_was_left(mlp, blobs):
    run = Run(mlp(), blobs, steps=20, validate_every=4, batch_size=SIZE, store=None)
    run.step(7)
    text = run.to_yaml()
    assert "\nsteps: 7 " in text
    assert "\n  steps: 20\n" in text
    again = Run.from_yaml(text, mlp(), blobs, store=None)
    again.start()
    assert again.wait(60) is RunState.STOPPED
    assert (again.step_count, again.hyperparams["steps"], again.hyperparams["validate_every"]) == (7, 20, 4)
    assert same(again.model, run.model)
    old = Run.from_yaml("steps: 5\nhyperparameters:\n  batch_size: 20\n", mlp(), blobs, store=None)
    old.start()
    assert old.wait(60) is RunState.STOPPED
    assert (old.step_count, old.hyperparams["steps"]) == (5, 0)


def test_a_stored_run_is_opened_and_goes_on_to_its_length(mlp, blobs, tmp_path):
    settings = {"steps": 10, "validate_every": 4, "schedule": "linear", "batch_size": SIZE}
    whole = Run(mlp(), blobs, blobs, store=None, **settings).fit()
    run = Run(mlp(), blobs, blobs, store=tmp_path, **settings)
    run.step(6)
    run.recorder.close()
    opened = nbopt.open(run.id, mlp(), blobs, blobs, store=tmp_path).fit()
    assert same(opened.model, whole.model)
    assert opened.history["val_loss"][1].tolist() == whole.history["val_loss"][1].tolist()


# -- the plan alone


def plan(**values):
    made = Plan()
    vars(made).update({"epochs": 20, "steps": 0, "validate_every": 0, **values})
    return made


@pytest.mark.parametrize(
    ("values", "step", "progress", "share"),
    [
        ({}, 500, 5.0, 0.25),
        ({"epochs": 4}, 500, 5.0, 1.0),
        ({"steps": 1000}, 500, 5.0, 0.5),
        ({"steps": 100}, 500, 0.0, 1.0),
    ],
    ids=str,
)
def test_the_share_done_is_that_of_steps_or_of_epochs(values, step, progress, share):
    assert plan(**values).share(step, progress) == share


@pytest.mark.parametrize(
    "values", [{}, {"steps": 10}, {"validate_every": 4}, {"steps": 10, "validate_every": 4}], ids=str
)
def test_what_lies_ahead_is_the_next_step_to_be_validated(values):
    made = plan(**values)
    for step in range(10):
        due = next((later for later in range(step + 1, 99) if made.validates_step(later)), math.inf)
        assert made.ahead(step) == due - step


@pytest.mark.parametrize("name", ["steps", "validate_every", "warmup_steps"])
def test_they_are_whole_numbers(mlp, blobs, name):
    with pytest.raises(InvalidHyperparam, match=f"{name} must be a whole number at least 0; got -1"):
        Run(mlp(), blobs, **{name: -1})


def test_a_model_of_one_layer_is_enough():
    run = Run(nn.Linear(4, 3), endless(), steps=3, store=None).fit()
    assert run.step_count == 3
