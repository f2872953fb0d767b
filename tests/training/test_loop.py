"""The loop, pulled by hand: no thread, no clock."""

import contextlib
import itertools

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from nbopt import Run
from nbopt.errors import InvalidHyperparam
from nbopt.hyperparams import Choice, Flag, Float, Text
from nbopt.techniques.base import defines
from nbopt.techniques.catalogue import PARTS
from nbopt.techniques.hyperdescent import HyperDescent
from nbopt.techniques.initialization import Initialization
from nbopt.training.state import Changed, Finished, Stepped
from tests.tries import tries

N = 20


class Rows(Dataset):
    def __len__(self):
        return N

    def __getitem__(self, index):
        return X[index], Y[index]


X = torch.arange(float(N))[:, None].expand(N, 3).clone()
Y = X[:, 0] / N
FORMS = {
    "tensors": lambda: (X, Y),
    "dataset": Rows,
    "loader": lambda: DataLoader(TensorDataset(X, Y), batch_size=3, shuffle=True),
    "loader of a dataset": lambda: DataLoader(Rows(), batch_size=3),
}


def net():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 1))


def kinds(events):
    return [type(event).__name__ for event in events]


def test_a_run_is_steps_validations_and_an_end(make_run, blobs):
    run = make_run(val=blobs, epochs=2, batch_size=25)
    epoch = ["Stepped"] * 3 + ["Evaluating", "Validated"]
    events = list(run.events())
    assert kinds(events) == [*epoch, *epoch, "Finished"]
    assert [event.step for event in events] == [0, 1, 2, 3, 3, 3, 4, 5, 6, 6, 6]
    assert events[-1].reason == "all 2 epochs done"


def test_without_validation_data_epochs_are_still_marked(make_run):
    run = make_run(epochs=1, batch_size=30, metrics="accuracy")
    assert kinds(run.events()) == ["Stepped", "Stepped", "Validated", "Finished"]
    assert run.history.names == ["loss", "accuracy"]


def test_a_large_validation_yields_between_its_parts(make_run, blobs):
    run = make_run(val=DataLoader(TensorDataset(*blobs), batch_sampler=[[0, 1], [2], [3, 4]]), epochs=1, batch_size=60)
    assert kinds(run.events()) == ["Stepped", "Evaluating", "Evaluating", "Evaluating", "Validated", "Finished"]


def test_nothing_happens_until_somebody_pulls(make_run):
    run = make_run()
    events = run.events()
    assert run.step_count == 0
    next(events)
    assert run.step_count == 1


def test_a_generator_that_was_left_is_replaced_by_another(make_run, weights):
    whole, parts = make_run(epochs=2, batch_size=25), make_run(epochs=2, batch_size=25)
    list(whole.events())
    while parts.step_count < 6:
        for _event in itertools.islice(parts.events(), 1):
            pass
    assert torch.equal(weights(whole), weights(parts))


def test_a_change_asked_for_during_a_step_waits_for_its_end(make_run):
    seen = []

    def forward(model, batch):
        if run.step_count == 1:
            run.set(batch_size=5, lr=0.5)
        seen.append((len(batch[0]), run.hyperparams["lr"]))
        return model(batch[0]), batch[1]

    run = make_run(forward=forward, batch_size=10, lr=0.1)
    events = list(itertools.islice(run.events(), 4))
    assert kinds(events) == ["Stepped", "Stepped", "Changed", "Stepped"]
    assert [entry[:4] for entry in events[2].entries] == [(2, "batch_size", 10, 5), (2, "lr", 0.1, 0.5)]
    assert seen == [(10, 0.1), (10, 0.1), (5, 0.5)]


def test_a_change_between_two_steps_acts_at_the_next(make_run):
    run = make_run(optimizer="sgd", lr=0.1, batch_size=10)
    events = run.events()
    next(events)
    run.set(lr=0.0)
    before = [p.clone() for p in run.model.parameters()]
    next(events)
    assert all(torch.equal(p, b) for p, b in zip(run.model.parameters(), before, strict=True))
    assert [entry[:4] for entry in run.journal.changes()] == [(1, "lr", 0.1, 0.0)]


def test_epochs_lowered_below_what_is_done_end_the_run_at_once(make_run):
    run = make_run(epochs=5, batch_size=30)
    events = run.events()
    for _ in range(4):
        next(events)
    assert run.epoch == 1
    run.set(epochs=1)
    assert isinstance(next(events), Finished)


def legal(spec):
    """Values of a declaration: those a control offers, and the legal ones outside."""
    if isinstance(spec, Choice):
        full = [name for name, kind in getattr(spec, "classes", {}).items() if getattr(kind, "full_batch", False)]
        return st.sampled_from([name for name in spec.options if name not in full])  # a batch there is an epoch
    if isinstance(spec, Flag):
        return st.booleans()
    if isinstance(spec, Text):
        return st.just(spec.default)
    if isinstance(spec, Float):
        low = {"min_value": spec.gt, "exclude_min": True} if spec.gt is not None else {"min_value": spec.ge}
        top = {"max_value": spec.lt, "exclude_max": True} if spec.lt is not None else {"max_value": 1e6}
        return st.one_of(st.floats(spec.low, spec.high), st.floats(**low, **top))
    return st.one_of(st.integers(spec.low, spec.high), st.integers(spec.ge, 2**63 - 1))


def optimizer_settings(values):
    """What the journal's values mean for a torch parameter group."""
    kept = {"lr": values["lr"], "weight_decay": values["weight_decay"]}
    if values["optimizer"] == "adagrad":
        return {**kept, "lr_decay": values["lr_decay"]}
    if values["optimizer"] in ("adam", "adamw"):
        return {**kept, "betas": (values["beta1"], values["beta2"])}
    if values["optimizer"] == "rmsprop":
        return {**kept, "momentum": values["momentum"], "alpha": values["alpha"]}
    return {**kept, "momentum": values["momentum"], "nesterov": values["nesterov"] and values["momentum"] > 0}


def changes_batches(kind):
    return isinstance(kind, type) and (defines(kind, "change_batch") or defines(kind, "change_inputs"))


@pytest.mark.parametrize("form", FORMS)
@tries(10, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_hyperparameter_moves_at_any_step_and_the_journal_knows(form, data):
    batches = []

    def forward(model, batch):
        if model.training:
            batches.append(batch[0][:, 0].int().tolist())
        return model(batch[0] / N), batch[1]

    torch.manual_seed(0)  # early stopping goes by the losses, and so what is drawn next
    # Without the guard, which would answer diverging with changes of its own, as a descent on hyperparameters would.
    run = Run(net(), FORMS[form](), val=(X, Y), loss="mse", forward=forward, epochs=9, recover=False)
    initial = dict(run.hyperparams)
    of_batches = {name for kind in PARTS if changes_batches(kind) for name in kind.declared()}
    # The first batch in parts is done as a whole, too, to compare the gradients.
    others = {"recover", "micro_batch", *of_batches, *Initialization.declared(), *HyperDescent.declared()}
    names = sorted(initial.keys() - others)
    assert {"lr", "momentum", "beta2", "alpha", "nesterov", "dropout", "l1", "delta", "loss", "epochs"} < set(names)
    events = run.events()
    for _ in range(data.draw(st.integers(1, 30), label="steps")):
        for name in data.draw(st.lists(st.sampled_from(names), max_size=3), label="names"):
            value = data.draw(legal(run.hyperparams.spec(name)), label=name)
            with contextlib.suppress(InvalidHyperparam):  # not all go together
                run.set(**{name: value})
        event = next(event for event in events if isinstance(event, Stepped | Finished))
        if isinstance(event, Finished):
            break

        values = dict(initial)
        for entry in run.journal.changes():
            assert entry.step <= event.step
            assert entry.old == values[entry.name]
            values[entry.name] = entry.new
        assert values == dict(run.hyperparams)
        group = run.optimizer.param_groups[0]
        assert type(run.optimizer).__name__.lower() == values["optimizer"]
        expected = optimizer_settings(values)
        if run.training.acting.change_rate:  # a schedule over the base rate
            del expected["lr"]
        assert {key: group[key] for key in expected} == expected
        assert run.model[2].p == values["dropout"]
        assert len(batches[-1]) <= values["batch_size"]

    seen = [sample for batch in batches for sample in batch]
    epochs = [seen[start : start + N] for start in range(0, len(seen), N)]
    assert all(len(set(epoch)) == len(epoch) for epoch in epochs)
    assert run.epoch == len(seen) // N
    for batch, upto in zip(batches, itertools.accumulate(map(len, batches)), strict=True):
        assert upto // N == (upto - len(batch)) // N or upto % N == 0, "a batch reaches over the end of an epoch"


def test_a_changed_event_lists_all_that_waited(make_run):
    asked = iter([{"lr": 0.2}, {"lr": 0.3, "l1": 0.1}])

    def forward(model, batch):
        for changes in asked:
            run.set(**changes, source="forward")
        return model(batch[0]), batch[1]

    run = make_run(forward=forward, lr=0.1, batch_size=20)
    _stepped, changed = itertools.islice(run.events(), 2)
    assert isinstance(changed, Changed)
    assert [(e.name, e.old, e.new, e.source) for e in changed.entries] == [
        ("lr", 0.1, 0.2, "forward"),
        ("lr", 0.2, 0.3, "forward"),
        ("l1", 0.0, 0.1, "forward"),
    ]
    assert run.journal.changes() == changed.entries


def test_events_cannot_be_pulled_while_a_thread_trains(make_run):
    run = make_run(epochs=10**6)
    run.start()
    with pytest.raises(RuntimeError, match="pause it before pulling"):
        run.events()
    run.pause()
    next(run.events())
