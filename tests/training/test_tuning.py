"""Fine-tuning: weights frozen and thawed in a pause. What is right comes from a loop written by hand."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbopt
from nbopt import Run
from tests.training.tiered import STEPS, pull, switches
from tests.tries import tries

BATCH = 10


def net(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))


def freeze(model, layers):
    """Freeze these layers, thaw all others."""
    for number in (0, 2, 4):
        model[number].requires_grad_(number not in layers)


def by_hand(model, make, data, schedule, steps, clip=None):
    """Train in a plain loop over batches in order; ``schedule`` says which layers are frozen from a step on."""
    model = copy.deepcopy(model)
    optimizer = make(model)
    x, y = data
    for step in range(steps):
        if step in schedule:
            freeze(model, schedule[step])
        at = step * BATCH % len(x)
        optimizer.zero_grad()
        functional.cross_entropy(model(x[at : at + BATCH]), y[at : at + BATCH]).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_([weight for weight in model.parameters() if weight.requires_grad], clip)
        optimizer.step()
    return model


def in_order(data):
    return DataLoader(TensorDataset(*data), batch_size=BATCH)


def follow(run, schedule, steps):
    """Do steps, with the layers frozen by hand in pauses."""
    for step in range(steps):
        if step in schedule:
            freeze(run.model, schedule[step])
        run.step(1)
    return run


@pytest.mark.parametrize("change", [{"optimizer": "sgd"}, {"channels_last": True}, {"precision": "bfloat16"}], ids=str)
def test_what_is_frozen_and_thawed_in_one_pause_trains_on_whatever_is_changed_between(make_run, blobs, change):
    run, other = (make_run(net(), in_order(blobs), epochs=99, optimizer="adam", lr=0.1) for _each in range(2))
    for each in (run, other):
        each.step(2)
    run.model[0].requires_grad_(False)
    for each in (run, other):
        each.set(**change)
    run.model[0].requires_grad_(True)
    for each in (run, other):
        each.step(2)
    assert same(run.model, other.model)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


SCHEDULE = {0: [0, 2], 2: [0], 4: [], 6: [0, 4], 9: []}

# what the run is given, made of a model; and the same in a plain loop
GIVEN = {
    "name": (lambda model: "sgd", lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)),
    "fused": (lambda model: "adam", lambda model: torch.optim.Adam(model.parameters(), lr=0.1, fused=True)),
    "made with a state": (lambda model: "adagrad", lambda model: torch.optim.Adagrad(model.parameters(), lr=0.1)),
    "class": (lambda model: torch.optim.NAdam, lambda model: torch.optim.NAdam(model.parameters(), lr=0.1)),
    "instance": (
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
    ),
    "instance of some weights": (
        lambda model: torch.optim.AdamW([*model[0].parameters(), *model[4].parameters()], lr=0.1, fused=True),
        lambda model: torch.optim.AdamW([*model[0].parameters(), *model[4].parameters()], lr=0.1, fused=True),
    ),
    "instance that no kernel here knows": (
        lambda model: torch.optim.Adamax(model.parameters(), lr=0.1),
        lambda model: torch.optim.Adamax(model.parameters(), lr=0.1),
    ),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_layers_frozen_and_thawed_in_a_pause_train_as_in_a_plain_loop(make_run, blobs, kind):
    given, plain = GIVEN[kind]
    model = net()
    freeze(model, SCHEDULE[0])
    right = by_hand(model, plain, blobs, SCHEDULE, 14)
    values = {"momentum": 0.9} if kind == "name" else {}
    run = make_run(model, in_order(blobs), optimizer=given(model), epochs=99, lr=0.1, **values)
    follow(run, SCHEDULE, 14)
    assert same(model, right)
    told = [entry for entry in run.journal if entry.name == "tuning"]
    assert [entry.step for entry in told] == [2, 4, 6, 9]
    assert told[0].new["reason"] == "trains from here on: 2.weight, 2.bias"


@given(
    st.dictionaries(st.integers(1, 11), st.lists(st.sampled_from([0, 2, 4]), unique=True, max_size=2), max_size=5),
    st.sampled_from(sorted(GIVEN)),
    st.integers(0, 12),
)
@tries(12)
def test_whatever_is_frozen_when_replays_branches_and_rewinds_do_it_again(schedule, kind, back):
    x, y = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
    given, plain = GIVEN[kind]
    model = net()
    right = by_hand(model, plain, (x, y), schedule, 12)
    values = {"momentum": 0.9} if kind == "name" else {}
    run = Run(model, in_order((x, y)), optimizer=given(model), epochs=99, lr=0.1, store=None, **values)
    follow(run, schedule, 12)
    assert same(model, right)
    twin = run.replay()
    twin.wait()
    assert same(twin.model, right)
    branch = run.branch(back)
    run.rewind(back)
    for each in (branch, run):
        assert same(each.model, by_hand(net(), plain, (x, y), schedule, back))
        for step in range(back, 12):
            if step in schedule:
                freeze(each.model, schedule[step])
            each.step(1)
        assert same(each.model, right)


def test_a_thawed_layer_is_stored_and_opened_again(make_run, blobs, tmp_path):
    model = net()
    freeze(model, [0])
    run = make_run(model, blobs, optimizer="adam", lr=0.05, epochs=99, store=tmp_path)
    run.step(3)
    freeze(model, [2])
    run.step(3)
    run.stop()
    given = net()
    freeze(given, [0])
    again = nbopt.open(run.id, given, blobs, store=tmp_path)
    assert [weight.requires_grad for weight in given.parameters()] == [True, True, False, False, True, True]
    for each in (run, again):
        each.step(3)
    assert same(given, model)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_run_is_not_opened_with_other_weights_frozen_than_it_was_made_with(make_run, blobs, tmp_path, optimizer):
    model = net()
    freeze(model, [0])
    run = make_run(model, blobs, optimizer=optimizer, momentum=0.9, epochs=99, store=tmp_path)
    run.step(3)
    run.stop()
    with pytest.raises(ValueError, match=r"0\.weight was frozen, now it is trained"):
        nbopt.open(run.id, net(), blobs, store=tmp_path)


def test_an_instance_that_holds_other_weights_than_the_stored_one_is_refused(make_run, blobs, tmp_path):
    model = net()
    run = make_run(model, blobs, optimizer=torch.optim.Adam(model[4].parameters()), epochs=99, store=tmp_path)
    run.step(3)
    run.stop()
    given = net()
    with pytest.raises(ValueError, match="does not hold the weights that it held"):
        nbopt.open(run.id, given, blobs, optimizer=torch.optim.Adam(given.parameters()), store=tmp_path)


@pytest.mark.parametrize("frozen", [[0], []])
def test_what_was_changed_since_the_last_step_is_not_lost_in_a_copy(make_run, blobs, frozen):
    model = net()
    freeze(model, [] if frozen else [0])
    run = make_run(model, blobs, optimizer="adam", epochs=99)
    run.step(3)
    freeze(model, frozen)
    for copy_it in (lambda: run.branch(3), run.find_lr):
        with pytest.raises(RuntimeError, match=r"from here on: 0\.weight, 0\.bias"):
            copy_it()
    run.step(1)
    twin = run.branch(4)
    assert [weight.requires_grad for weight in twin.model.parameters()] == [not frozen] * 2 + [True] * 4
    assert len(run.find_lr(steps=10).losses) == 10


def test_what_was_changed_in_a_pause_before_a_rewind_is_told_and_undone(make_run, blobs):
    run = make_run(net(), blobs, optimizer="adam", epochs=99)
    run.step(4)
    freeze(run.model, [0])
    run.rewind(2)
    assert [entry.name for entry in run.journal][-2:] == ["tuning", "rewind"]
    assert all(weight.requires_grad for weight in run.model.parameters())


def test_weights_that_are_shared_go_by_one_name(make_run, blobs):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 4, bias=False)
            self.second = nn.Linear(4, 4, bias=False)
            self.second.weight = self.first.weight
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.second(self.first(x).tanh()))

    torch.manual_seed(0)
    run = make_run(Tied(), blobs, optimizer="adam", lr=0.05, epochs=99)
    run.step(3)
    run.model.second.requires_grad_(False)
    run.step(3)
    assert [entry.new["reason"] for entry in run.journal if entry.name == "tuning"] == [
        "frozen from here on: first.weight"
    ]
    twin = run.replay()
    twin.wait()
    assert same(twin.model, run.model)


def test_the_gradient_is_clipped_by_the_length_of_what_trains(make_run, blobs):
    model = net()
    right = by_hand(model, lambda m: torch.optim.SGD(m.parameters(), lr=0.5), blobs, SCHEDULE, 12, clip=0.1)
    run = make_run(model, in_order(blobs), optimizer="sgd", lr=0.5, clip_norm=0.1, epochs=99)
    assert same(follow(run, SCHEDULE, 12).model, right)


def test_weights_that_rest_are_left_alone_by_penalties_and_limits(make_run, blobs):
    model = net()
    run = make_run(model, blobs, optimizer="sgd", l1=0.1, max_norm=0.2, weight_decay=0.1, epochs=99)
    freeze(model, [0])
    before = copy.deepcopy(model[0])
    run.step(5)
    assert same(model[0], before)
    head = net()
    run = make_run(head, blobs, optimizer=torch.optim.SGD(head[4].parameters(), lr=0.1), max_norm=0.2, epochs=99)
    before = copy.deepcopy(head[0])
    run.step(5)
    assert same(head[0], before)


@pytest.mark.parametrize("name", ["lbfgs", "newton"])
def test_what_steps_all_weights_together_forgets_when_others_train(make_run, blobs, name):
    model = net()
    run = make_run(model, blobs, optimizer=name, lr=0.5, weight_decay=0.01, epochs=99)
    run.step(3)
    freeze(model, [0])
    before = copy.deepcopy(model[0])
    run.step(3)
    assert same(model[0], before)
    twin = run.replay()
    twin.wait()
    assert same(twin.model, model)


def test_a_rate_that_learns_from_the_last_update_begins_anew(make_run, blobs):
    run = make_run(net(), blobs, optimizer="sgd", schedule="hypergradient", lr=0.1, epochs=99)
    follow(run, SCHEDULE, 12)
    twin = run.replay()
    twin.wait()
    assert same(twin.model, run.model)


def test_a_compiled_step_trains_what_trains_now(make_tiered, compiled):
    run = make_tiered(net(), optimizer="sgd", lr=0.05, momentum=0.5)
    pull(run, 30)
    freeze(run.model, [0])
    before = copy.deepcopy(run.model[0])
    pull(run, 60)
    assert same(run.model[0], before)
    freeze(run.model, [])
    pull(run, 90)
    assert not same(run.model[0], before)
    assert [steps for _step, _before, steps in switches(run)] == [STEPS, 0, STEPS, 0, STEPS]
    twin = run.replay()
    twin.wait(60)
    assert same(twin.model, run.model)


def test_an_export_says_that_it_cannot_hold_what_was_done_to_the_model_by_hand(make_run, blobs):
    run = make_run(net(), blobs, epochs=99)
    run.step(3)
    freeze(run.model, [0])
    run.step(1)
    for export in (run.to_python, run.to_yaml):
        with pytest.raises(ValueError, match=r"step 3 the model itself .*: 0\.weight"):
            export()


def test_layers_frozen_while_it_trains_rest_soon(make_run, blobs):
    run = make_run(net(), blobs, optimizer="adam", epochs=10**6, store=None)
    run.start()
    freeze(run.model, [0])
    run.worker.wait(lambda: any(entry.name == "tuning" for entry in run.journal), 10)
    run.pause()
    assert [entry.new["resting"] for entry in run.journal if entry.name == "tuning"] == [
        ["model.0.weight", "model.0.bias"]
    ]


def test_a_retreat_does_not_undo_what_was_frozen_by_hand(make_run, blobs):
    model = net()
    run = make_run(model, blobs, optimizer="sgd", lr=0.1, epochs=99)
    run.step(3)
    freeze(model, [0])
    run.set(lr=1e30)
    run.step(6)
    names = [entry.name for entry in run.journal]
    assert "diverged" in names and names.count("tuning") > 1
    assert [weight.requires_grad for weight in model.parameters()] == [False, False, True, True, True, True]


def test_a_script_says_that_it_would_not_train_a_loss(make_run, blobs):
    loss = nn.CrossEntropyLoss()
    loss.scale = nn.Parameter(torch.ones(()))
    with pytest.raises(ValueError, match="the loss has weights that are trained"):
        make_run(net(), blobs, loss=loss, epochs=1).fit().to_python()
