"""Fine-tuning: weights frozen and thawed in a pause. What is right comes from a loop written by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import nbopt
from nbopt import Run
from tests.training.frozen import SCHEDULE, by_hand, follow, freeze, in_order, net, same
from tests.tries import tries


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


@pytest.mark.parametrize("named", [False, True])
def test_weights_that_the_model_itself_thaws_train_in_that_step_or_are_told_of(make_run, blobs, named):
    def thaw(module, _given):
        module.calls = getattr(module, "calls", 0) + 1
        module.weight.requires_grad_(module.calls > 2)

    model, right = net(), net()
    for each in (model, right):
        each[0].weight.requires_grad_(False)
        each[0].register_forward_pre_hook(thaw)
    optimizer = torch.optim.SGD(right.parameters(), lr=0.1)
    for x, y in in_order(blobs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(right(x), y).backward()
        optimizer.step()
    given = "sgd" if named else torch.optim.SGD(model.parameters(), lr=0.1)
    run = make_run(model, in_order(blobs), optimizer=given, lr=0.1, epochs=1).fit()
    told = [entry.new for entry in run.journal if entry.name == "note"]
    assert same(model, right) is not named and ["in the middle of step 2" in text for text in told] == [True] * named
    assert [entry.step for entry in run.journal if entry.name == "tuning"] == [3]
    run.rewind(4)
    assert run.exact is not False


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
